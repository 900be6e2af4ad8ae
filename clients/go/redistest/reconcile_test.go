package redistest

import (
	"errors"
	"strings"
	"testing"

	"dirtystreams"
)

func TestARunMakesRedisEqualToTheRows(t *testing.T) {
	for _, partitions := range []int{0, 3} {
		entity := dirtystreams.MustEntity[User](dirtystreams.Declaration{Key: "user", Partitions: partitions,
			Streams: []dirtystreams.Stream{{Key: "user-changes", Payload: "FULL"}}})
		b := on(t, shared, entity)
		for id := int64(1); id <= 30; id++ {
			b.flush(entity.Seed(User{ID: id, Name: "old"}))
		}
		// In the database 1 was changed, 2 deleted, 31 inserted; 3 is saved while the run reads.
		rows := func(send func(User) error) error {
			b.flush(User{ID: 3, Name: "newest"})
			for id := int64(1); id <= 31; id++ {
				row := User{ID: id, Name: "old"}
				switch id {
				case 1:
					row.Name = "new"
				case 2:
					continue
				}
				if err := send(row); err != nil {
					return err
				}
			}
			return nil
		}
		found, err := entity.Reconcile(b.ctx, b.Client, dirtystreams.ReconcileOptions{Batch: 7}, rows)
		if want := (dirtystreams.Reconciled{Same: 27, Repaired: 2, Newer: 1, Scanned: 31, Missing: 1, Deleted: 1}); err != nil || found != want {
			t.Errorf("%+v %v", found, err)
		}
		found, err = entity.Reconcile(b.ctx, b.Client, dirtystreams.ReconcileOptions{}, rows)
		if err != nil || found.Repaired != 0 || found.Same != 29 {
			t.Errorf("%+v %v", found, err)
		}
		all, err := entity.Get(b.ctx, b.Client, 1, 2, 3, 31)
		if err != nil || all[0].Name != "new" || all[1] != nil || all[2].Name != "newest" || all[3] == nil {
			t.Error(all, err)
		}
	}
}

func TestARunThatFailsIsAborted(t *testing.T) {
	user := users()
	b := on(t, shared, user)
	for id := int64(1); id <= 30; id++ {
		b.flush(user.Seed(User{ID: id}))
	}
	b.do("DEL user")
	broken := errors.New("the database is away")
	nothing := func(func(User) error) error { return nil }
	for i := 0; i < 2; i++ {
		// A run that was not aborted would refuse the next one.
		if _, err := user.Reconcile(b.ctx, b.Client, dirtystreams.ReconcileOptions{}, func(func(User) error) error { return broken }); err != broken {
			t.Error(err)
		}
		if _, err := user.Reconcile(b.ctx, b.Client, dirtystreams.ReconcileOptions{MaxDelete: "50%"}, nothing); !errors.Is(err, dirtystreams.Limit) {
			t.Error(err)
		}
	}
	b.do("DIRTY.RECONCILE user BEGIN another")
	if _, err := user.Reconcile(b.ctx, b.Client, dirtystreams.ReconcileOptions{}, nothing); !errors.Is(err, dirtystreams.Exists) ||
		!strings.Contains(err.Error(), "another") {
		t.Error(err)
	}
	b.do("DIRTY.RECONCILE user ABORT another")
	found, err := user.Reconcile(b.ctx, b.Client, dirtystreams.ReconcileOptions{MaxDelete: "100%"}, nothing)
	if err != nil || found.Deleted != 30 {
		t.Error(found, err)
	}
}
