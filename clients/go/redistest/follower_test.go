package redistest

import (
	"errors"
	"strings"
	"testing"

	"dirtystreams"
)

// copies keeps names by id, as a projection does.
type copies struct {
	names  map[string]string
	begins int
	seen   []string
}

func (c *copies) apply(batch *dirtystreams.Batch[User]) error {
	if batch.Begin {
		c.begins++
		c.names = map[string]string{}
	}
	for _, event := range batch.Events {
		c.seen = append(c.seen, string(event.Op)+" "+event.EntityID)
		if event.New == nil {
			delete(c.names, event.EntityID)
			continue
		}
		if event.Has("Name") {
			c.names[event.EntityID] = event.New.Name
		}
	}
	return nil
}

func TestAFollowerGetsTheEntitiesFirstAndBeginsAgainWhenItMissed(t *testing.T) {
	user := users()
	b := on(t, shared, user)
	for id := int64(1); id <= 30; id++ {
		b.flush(User{ID: id, Name: "old"})
	}
	cursor := dirtystreams.Cursor{Stream: "user-changes", Name: "directory", Snapshot: []string{"user"}, Revision: 1}
	for i := 0; i < 2; i++ {
		if applied, err := b.DeclareCursor(b.ctx, cursor); !applied || err != nil {
			t.Fatal(applied, err)
		}
	}
	c := &copies{}
	f := &dirtystreams.Follower[User]{Client: b.Client, Stream: "user-changes", Cursor: "directory", Snapshot: []string{"user"},
		UntilHead: true, Handle: batches(c.apply), Logf: b.log.add, Count: 10}
	b.must(nil, f.Run(b.ctx))
	if len(c.names) != 30 || c.begins != 1 || !strings.HasPrefix(c.seen[0], "read ") {
		t.Fatal(c)
	}
	b.flush(User{ID: 1, Name: "new"}, user.Delete(2))
	b.must(nil, f.Run(b.ctx))
	if len(c.names) != 29 || c.names["1"] != "new" || c.begins != 1 {
		t.Fatal(c)
	}
	b.flush(user.Delete(3), user.Delete(4), User{ID: 31, Name: "x"})
	b.do("XTRIM user-changes MAXLEN 1")
	b.must(nil, f.Run(b.ctx))
	if len(c.names) != 28 || c.begins != 2 {
		t.Fatal(c)
	}
	f.Snapshot = nil
	b.flush(user.Delete(5), user.Delete(6))
	b.do("XTRIM user-changes MAXLEN 1")
	var missed *dirtystreams.MissedError
	if err := f.Run(b.ctx); !errors.As(err, &missed) || missed.Count != 1 {
		t.Fatal(err)
	}
	f.Missed = func(_ string, count int64) error { return nil }
	b.must(nil, f.Run(b.ctx))
	b.must(nil, f.Run(b.ctx))
	if len(c.names) != 27 {
		t.Fatal(c.names)
	}
}

func TestABatchWhoseHandlerFailsComesAgainAndIsAcknowledgedAtTheEnd(t *testing.T) {
	b := on(t, shared, users())
	b.must(b.DeclareCursor(b.ctx, dirtystreams.Cursor{Stream: "user-changes", Name: "audit", From: "0"}))
	b.flush(User{ID: 1}, User{ID: 2})
	c := &copies{names: map[string]string{}}
	broken := errors.New("the database is away")
	f := &dirtystreams.Follower[User]{Client: b.Client, Stream: "user-changes", Cursor: "audit", Logf: b.log.add}
	f.Handle = batches(func(batch *dirtystreams.Batch[User]) error {
		c.apply(batch)
		if len(c.seen) == 2 {
			return broken
		}
		return nil
	})
	if err := f.Run(b.ctx); !errors.Is(err, broken) {
		t.Fatal(err)
	}
	r := b.background(f.Run)
	b.patiently("the cursor has moved", func() bool { return sprint(b.group("user-changes", "audit")["lag"]) == "0" })
	b.do("CLIENT KILL TYPE normal SKIPME yes")
	b.patiently("the connection is new", func() bool { _, err := b.Do(b.ctx, "PING"); return err == nil })
	b.flush(User{ID: 3})
	b.patiently("the third is read", func() bool { return sprint(b.group("user-changes", "audit")["lag"]) == "0" })
	b.must(nil, r.end())
	if got := strings.Join(c.seen, ", "); got != "insert 1, insert 2, insert 1, insert 2, insert 3" {
		t.Error(got)
	}
	f.Cursor = "nobody"
	if err := f.Run(b.ctx); !errors.Is(err, dirtystreams.NoReader) {
		t.Error(err)
	}
}

func TestAProgramKeepsItsPositionItself(t *testing.T) {
	b := on(t, shared, users())
	b.flush(User{ID: 1}, User{ID: 2}, users().Delete(1))
	position := ""
	c := &copies{names: map[string]string{}}
	f := &dirtystreams.Follower[User]{Client: b.Client, Stream: "user-changes", UntilHead: true, Count: 1, Where: []string{"OPS", "D"}}
	f.Handle = batches(func(batch *dirtystreams.Batch[User]) error {
		position = batch.Position
		return c.apply(batch)
	})
	b.must(nil, f.Run(b.ctx))
	b.flush(users().Delete(2))
	f.Position = position
	b.must(nil, f.Run(b.ctx))
	if got := strings.Join(c.seen, ", "); got != "delete 1, delete 2" {
		t.Error(got)
	}
	f.Position = "99999999999999-1/0"
	if err := f.Run(b.ctx); !errors.Is(err, dirtystreams.NoPosition) {
		t.Error(err)
	}
}

func TestAFollowerReadsAllPartitions(t *testing.T) {
	entity := dirtystreams.MustEntity[User](dirtystreams.Declaration{Key: "member", Partitions: 3,
		Streams: []dirtystreams.Stream{{Key: "member-changes", Payload: "FULL"}}})
	b := on(t, shared, entity)
	b.must(b.DeclareCursor(b.ctx, dirtystreams.Cursor{Stream: "member-changes", Name: "all", Snapshot: []string{"member"}, Partitions: 3}))
	for id := int64(0); id < 20; id++ {
		b.flush(User{ID: id, Name: "n"})
	}
	c := map[string]*copies{}
	f := &dirtystreams.Follower[User]{Client: b.Client, Stream: "member-changes", Cursor: "all", Partitions: 3, UntilHead: true,
		Snapshot: []string{"member"}}
	f.Handle = batches(func(batch *dirtystreams.Batch[User]) error {
		if c[batch.Stream] == nil {
			c[batch.Stream] = &copies{names: map[string]string{}}
		}
		return c[batch.Stream].apply(batch)
	})
	b.must(nil, f.Run(b.ctx))
	all := 0
	for _, one := range c {
		all += len(one.names)
	}
	if all != 20 || len(c) != 3 {
		t.Error(all, c)
	}
	c = map[string]*copies{}
	f.Cursor, f.Snapshot, f.Only = "", nil, []int{2}
	b.must(nil, f.Run(b.ctx))
	if len(c) != 1 || c["member-changes{2}"] == nil {
		t.Error(c)
	}
}
