package redistest

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"dirtystreams"
)

func TestStatsAndPendingTellOfReaders(t *testing.T) {
	b := on(t, shared, users())
	if stats, err := b.Stats(b.ctx, "user-changes"); err != nil || stats.Length != 0 || stats.FirstID != "" || len(stats.Readers) != 0 {
		t.Fatalf("%+v %v", stats, err)
	}
	b.mailer(dirtystreams.Group{Order: "ENTITY", Claim: 90 * time.Second, MaxDeliveries: 5, Where: []string{"OPS", "IU"}, Revision: 2})
	b.must(b.DeclareCursor(b.ctx, dirtystreams.Cursor{Stream: "user-changes", Name: "copy", From: "0", Shard: [2]int{1, 3}}))
	b.flush(User{ID: 1, Name: "a"}, User{ID: 1, Name: "b"}, User{ID: 2, Name: "c"})
	b.do("DIRTY.CONSUME user-changes GROUP mailer m1 COUNT 2")
	stats, err := b.Stats(b.ctx, "user-changes")
	b.must(nil, err)
	group, cursor := stats.Reader("mailer"), stats.Reader("copy")
	if stats.Length != 3 || stats.FirstID == "" || stats.LastID <= stats.FirstID || stats.Reader("none") != nil || len(stats.Readers) != 2 {
		t.Errorf("%+v", stats)
	}
	if group.Kind != "group" || group.Order != "ENTITY" || group.Claim != 90*time.Second || group.MaxDeliveries != 5 || group.Revision != 2 ||
		sprint(group.Where) != "[OPS IU]" || group.Lag != 1 || group.Held != 2 || group.HeldKeys != 1 || group.Delivered != 2 ||
		group.LowestPendingID != stats.FirstID || group.Paused || len(group.Consumers) != 1 {
		t.Errorf("%+v", group)
	}
	if c := group.Consumers[0]; c.Name != "m1" || c.Pending != 2 || c.Idle < 0 || c.Waiting {
		t.Errorf("%+v", c)
	}
	if cursor.Kind != "cursor" || cursor.Shard != [2]int64{1, 3} || cursor.Phase != "stream" || cursor.Lag != 3 {
		t.Errorf("%+v", cursor)
	}
	b.must(b.Fail(b.ctx, "user-changes", "mailer", "m1", "no template", time.Hour, stats.FirstID))
	pending, err := b.Pending(b.ctx, "user-changes", "mailer", "", 0)
	b.must(nil, err)
	if len(pending) != 2 || pending[0].State != "delayed" || pending[0].Error != "no template" || pending[0].Failures != 1 || pending[0].Idle != -1 ||
		time.Until(pending[0].Due) < time.Minute || !reflect.DeepEqual(pending[0].Key, []string{"user", "1"}) ||
		pending[1].State != "queued" || !pending[1].Due.IsZero() {
		t.Errorf("%+v", pending)
	}
	if rest, err := b.Pending(b.ctx, "user-changes", "mailer", pending[0].ID, 1); err != nil || len(rest) != 1 || rest[0].ID != pending[1].ID {
		t.Errorf("%+v %v", rest, err)
	}
}

func TestAGroupIsPausedResumedAndForgotten(t *testing.T) {
	b := on(t, shared, users())
	b.mailer(dirtystreams.Group{})
	for _, paused := range []bool{true, false} {
		change := b.Resume
		if paused {
			change = b.Pause
		}
		b.must(nil, change(b.ctx, "user-changes", "mailer"))
		if stats, err := b.Stats(b.ctx, "user-changes"); err != nil || stats.Reader("mailer").Paused != paused {
			t.Errorf("paused is not %v: %+v %v", paused, stats, err)
		}
	}
	for _, there := range []bool{true, false} {
		if was, err := b.Forget(b.ctx, "user-changes", "GROUP", "mailer"); was != there || err != nil {
			t.Error(was, err)
		}
	}
	if err := b.Pause(b.ctx, "user-changes", "mailer"); !errors.Is(err, dirtystreams.NoReader) {
		t.Error(err)
	}
}

func TestDeferredFlushesAreListedCommittedAndAborted(t *testing.T) {
	const n = 4
	member := dirtystreams.MustEntity[User](dirtystreams.Declaration{Key: "member", Partitions: n,
		Streams: []dirtystreams.Stream{{Key: "member-changes"}}})
	b := on(t, shared, member)
	var ids []string
	for _, token := range []string{"tx-1", "tx-2", "tx-3"} {
		_, err := b.FlushWith(b.ctx, dirtystreams.FlushOptions{Defer: token}, dirtystreams.All([]User{{ID: 1}, {ID: 2}, {ID: 3}})...)
		b.must(nil, err)
	}
	waiting, err := member.Deferred(b.ctx, b.Client, 0, 0)
	b.must(nil, err)
	for _, flush := range waiting {
		for _, operation := range flush.Operations {
			if flush.Key != dirtystreams.PartitionKey("member", dirtystreams.Partition(operation.ID, n), n) || !flush.Readable || flush.Age < 0 {
				t.Errorf("%+v", flush)
			}
			ids = append(ids, operation.Op+" "+operation.ID)
		}
	}
	if len(ids) != 9 {
		t.Error(ids)
	}
	if late, err := member.Deferred(b.ctx, b.Client, time.Hour, 5); err != nil || len(late) != 0 {
		t.Error(late, err)
	}
	if count, err := member.Abort(b.ctx, b.Client, "tx-2"); err != nil || int(count) != len(waiting)/3 {
		t.Error(count, err, len(waiting))
	}
	effects, err := member.Commit(b.ctx, b.Client, "tx-1", "tx-2", "tx-3")
	if want := "[[insert insert insert] [] [none none none]]"; err != nil || sprint(effects) != want || effects[1] != nil {
		t.Error(effects, err)
	}
	// A token that a later version has written stays.
	b.do("HSET member{0}@deferred tx-9 text")
	if waiting, err = member.Deferred(b.ctx, b.Client, 0, 0); err != nil || len(waiting) != 1 || waiting[0].Readable || waiting[0].Token != "tx-9" {
		t.Error(waiting, err)
	}
}

// A mistake of the program is told at once, and no event fails by it.
func TestAReaderThatCannotWorkDoesNotBegin(t *testing.T) {
	b := on(t, shared, users())
	b.mailer(dirtystreams.Group{Order: "STREAM"})
	b.flush(User{ID: 1})
	type nameless struct{ Name string }
	_, nilHandler := dirtystreams.ConsumeMany[User](b.ctx, b.Client, "user-changes", "mailer", nil)
	_, noStruct := dirtystreams.ConsumeSingle(b.ctx, b.Client, "user-changes", "mailer", func([]*dirtystreams.Event[int]) error { return nil })
	follow := func(f dirtystreams.Follower[User]) error {
		f.Client, f.Stream, f.UntilHead = b.Client, "user-changes", true
		f.Handle = batches(func(*dirtystreams.Batch[User]) error { return nil })
		return f.Run(b.ctx)
	}
	b.must(b.DeclareCursor(b.ctx, dirtystreams.Cursor{Stream: "user-changes", Name: "copy", From: "0"}))
	for what, err := range map[string]error{
		"a cursor with WHERE":       follow(dirtystreams.Follower[User]{Cursor: "copy", Where: []string{"OPS", "D"}}),
		"a cursor with a position":  follow(dirtystreams.Follower[User]{Cursor: "copy", Position: "$"}),
		"a snapshot without cursor": follow(dirtystreams.Follower[User]{Snapshot: []string{"user"}}),
		"a worker of no struct": (&dirtystreams.Worker[int]{Client: b.Client, Stream: "user-changes", Group: "mailer",
			Handle: events(func(*dirtystreams.Event[int]) error { return nil })}).Run(b.ctx),
		"a follower of a struct without an id": (&dirtystreams.Follower[nameless]{Client: b.Client, Stream: "user-changes",
			Handle: batches(func(*dirtystreams.Batch[nameless]) error { return nil })}).Run(b.ctx),
		"a consumer without a handler": nilHandler,
		"a consumer of no struct":      noStruct,
	} {
		if err == nil || !strings.HasPrefix(err.Error(), "dirtystreams: ") {
			t.Errorf("%s: %v", what, err)
		}
	}
	if group := b.group("user-changes", "mailer"); sprint(group["delivered"], group["failed"]) != "0 0" {
		t.Error(group)
	}
}

func TestAnEventThatDoesNotFitIsNotInAConsumersWayForEver(t *testing.T) {
	b := on(t, shared, users())
	b.mailer(dirtystreams.Group{Order: "ENTITY"})
	b.do("DIRTY.FLUSH user SNAPSHOT notanumber 0")
	b.flush(User{ID: 7})
	var handled []int64
	consumer, err := dirtystreams.ConsumeMany(b.ctx, b.Client, "user-changes", "mailer", func(events []*dirtystreams.Event[User]) error {
		for _, event := range events {
			handled = append(handled, event.New.ID)
		}
		return nil
	})
	b.must(nil, err)
	if err := consumer.Consume(b.ctx, 10, 0); err == nil || !strings.Contains(err.Error(), "notanumber") {
		t.Error(err)
	}
	b.must(nil, consumer.Consume(b.ctx, 10, 0))
	pending, err := b.Pending(b.ctx, "user-changes", "mailer", "", 10)
	if err != nil || len(pending) != 1 || pending[0].Failures != 1 || !strings.Contains(pending[0].Error, "notanumber") || sprint(handled) != "[7]" {
		t.Error(pending, err, handled)
	}
	b.must(nil, consumer.Cleanup(b.ctx))
}

func TestAConsumerGivesAnEventBack(t *testing.T) {
	b := on(t, shared, users())
	b.mailer(dirtystreams.Group{Claim: time.Hour})
	b.flush(User{ID: 1}, User{ID: 2})
	var consumer *dirtystreams.Consumer[User]
	consumer, err := dirtystreams.ConsumeMany(b.ctx, b.Client, "user-changes", "mailer", func(events []*dirtystreams.Event[User]) error {
		b.must(nil, consumer.Fail(b.ctx, events[0], dirtystreams.Fatal(errors.New("no address")), 0))
		return consumer.Fail(b.ctx, events[1], errors.New("busy"), time.Hour)
	})
	b.must(nil, err)
	b.must(nil, consumer.Consume(b.ctx, 10, 0))
	pending, err := b.Pending(b.ctx, "user-changes", "mailer", "", 10)
	if err != nil || len(pending) != 1 || pending[0].State != "delayed" || pending[0].Error != "busy" {
		t.Errorf("%+v %v", pending, err)
	}
	if dead := read[User](b, "user-changes:dead"); len(dead) != 1 || dead[0].Dead.Error != "no address" || dead[0].Dead.Consumer != consumer.Name() {
		t.Error(dead)
	}
}
