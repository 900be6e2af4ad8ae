package redistest

import (
	"database/sql"
	"encoding/json"
	"errors"
	"math"
	"math/big"
	"reflect"
	"strings"
	"testing"
	"time"

	"dirtystreams"
)

type Address struct {
	Street string
	Floors []int
}

type Audit struct {
	ChangedBy string `dirty:"changed_by"`
}

// Everything has a field of each type.
type Everything struct {
	ID       string
	Text     string `dirty:"text"`
	Bytes    []byte
	Int      int64
	Small    int8
	Uint     uint64
	Float    float64
	Single   float32
	Flag     bool
	Decimal  string `dirty:",decimal:2"`
	Big      *big.Int
	Number   json.Number
	Time     time.Time
	Date     time.Time `dirty:",date"`
	Datetime time.Time `dirty:",datetime"`
	Address  Address
	Tags     map[string]any
	Raw      json.RawMessage
	Any      any
	Pointer  *int
	Null     sql.NullString
	NullTime sql.NullTime
	Left     string `dirty:"-"`
	Audit
	unexported int
}

func everything() Everything {
	five := 5
	return Everything{
		ID: "a", Text: "héllo\n\x00", Bytes: []byte("bytes"), Int: math.MinInt64, Small: -128, Uint: math.MaxUint64,
		Float: 0.1, Single: 1.5, Flag: true, Decimal: "10.50", Big: new(big.Int).Exp(big.NewInt(10), big.NewInt(30), nil),
		Number: "12345678901234567.89", Time: time.Date(2026, 1, 2, 3, 4, 5, 600, time.UTC),
		Date: time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC), Datetime: time.Date(2026, 1, 2, 3, 4, 5, 500e6, time.UTC),
		Address: Address{Street: "x \"<>& y", Floors: []int{1, 2}}, Tags: map[string]any{"a": nil, "b": []any{1.5, true}},
		Raw: json.RawMessage(`[1,"x"]`), Any: "bWU=", Pointer: &five, Null: sql.NullString{String: "", Valid: true},
		NullTime: sql.NullTime{Time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Valid: true},
		Audit:    Audit{ChangedBy: "me"},
	}
}

func declareEverything() *dirtystreams.Entity[Everything] {
	return dirtystreams.MustEntity[Everything](dirtystreams.Declaration{
		Key: "everything", Streams: []dirtystreams.Stream{{Key: "all", Payload: "IMAGES"}, {Key: "changes", Payload: "FULL"}},
	})
}

func TestEveryTypeComesBackAsItWasFlushed(t *testing.T) {
	entity := declareEverything()
	b := on(t, shared, entity)
	empty := Everything{ID: "empty", Decimal: "0", Number: "0", Raw: json.RawMessage("null")}
	hostile := everything()
	hostile.ID, hostile.Text, hostile.Bytes = "\xff:\n\x00 é", "\xfe\xff", []byte{0, 0xff, '"'}
	hostile.Audit.ChangedBy = "bWU=" // looks like base64
	for _, want := range []Everything{everything(), empty, hostile} {
		if got := b.flush(want, &want); !reflect.DeepEqual(got, []dirtystreams.Effect{"insert", "none"}) {
			t.Fatal(got)
		}
		found, err := entity.Get(b.ctx, b.Client, want.ID, "nobody")
		if err != nil || found[1] != nil {
			t.Fatal(found, err)
		}
		same(t, "DIRTY.GET", *found[0], want)
	}
	var scanned []string
	b.must(nil, entity.Scan(b.ctx, b.Client, func(one *Everything) error {
		scanned = append(scanned, one.ID)
		return nil
	}))
	if len(scanned) != 3 {
		t.Fatal(scanned)
	}

	changed := hostile
	changed.Int, changed.Pointer, changed.Bytes, changed.Flag = 7, nil, []byte{0xfd}, false
	b.flush(changed, entity.Delete(changed))
	for _, stream := range []string{"all", "changes"} {
		events := read[Everything](b, stream)
		if len(events) != 5 {
			t.Fatal(len(events))
		}
		same(t, stream+" insert", *events[0].New, everything())
		same(t, stream+" insert, hostile", *events[2].New, hostile)
		if events[0].Old != nil || events[4].New != nil || events[3].EntityID != hostile.ID || events[3].New.ID != hostile.ID {
			t.Fatal(events)
		}
		update := events[3]
		if update.Old.Int != math.MinInt64 || update.New.Int != 7 || update.New.Pointer != nil || *update.Old.Pointer != 5 ||
			string(update.New.Bytes) != "\xfd" || update.New.Flag || !update.Old.Flag {
			t.Error("the update is ", update.Old, update.New)
		}
		if !update.Changed("Int") || update.Changed("Uint") || update.Has("Uint") != (stream == "all") {
			t.Error("the update tells of ", update.Changes)
		}
		if stream == "changes" {
			if change := update.Changes["Pointer"]; change.Old != 5 || change.New != nil {
				t.Error("the change is ", change)
			}
			same(t, "delete", *events[4].Old, changed)
		}
	}
}

// same compares all but what a type cannot tell apart: nil and what a null is read as.
func same(t *testing.T, what string, got, want Everything) {
	t.Helper()
	if got.Big == nil != (want.Big == nil) || got.Big != nil && got.Big.Cmp(want.Big) != 0 {
		t.Errorf("%s: %v, not %v", what, got.Big, want.Big)
	}
	if want.Decimal == "0" {
		want.Decimal = "0.00"
	}
	got.Big, want.Big, got.Raw, want.Raw = nil, nil, nil, nil
	got.Address.Floors, want.Address.Floors = append([]int{}, got.Address.Floors...), append([]int{}, want.Address.Floors...)
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s:\n%+v, not\n%+v", what, got, want)
	}
}

// read is a stream to its head.
func read[T any](b *bench, stream string) []*dirtystreams.Event[T] {
	b.Helper()
	var events []*dirtystreams.Event[T]
	f := &dirtystreams.Follower[T]{Client: b.Client, Stream: stream, UntilHead: true, Count: 2}
	f.Handle = batches(func(batch *dirtystreams.Batch[T]) error {
		events = append(events, batch.Events...)
		return nil
	})
	b.must(nil, f.Run(b.ctx))
	return events
}

func TestEventsOfAnyEntityAreMapsAndBecomeStructs(t *testing.T) {
	entity := declareEverything()
	b := on(t, shared, entity)
	b.flush(everything())
	b.do("XADD changes 9999999999999-1 what ever")
	hostile := everything()
	hostile.ID = "\xff"
	_, err := b.FlushWith(b.ctx, dirtystreams.FlushOptions{Meta: map[string]string{"m": "\xfe"}}, hostile)
	b.must(nil, err)
	events := read[dirtystreams.Fields](b, "changes")
	if events[0].Old != nil || (*events[0].New)["Int"] != json.Number("-9223372036854775808") || (*events[0].New)["text"] != "héllo\n\x00" {
		t.Error(events[0].New)
	}
	if !reflect.DeepEqual(events[1].Entry, []string{"what", "ever"}) || events[1].Op != "" {
		t.Error(events[1])
	}
	if events[2].Meta["m"] != "\xfe" || events[2].EntityID != "\xff" || (*events[2].New)["text"] != hostile.Text {
		t.Error(events[2])
	}
	typed, err := dirtystreams.As[Everything](events[2])
	if err != nil {
		t.Fatal(err)
	}
	same(t, "As", *typed.New, hostile)
}

type User struct {
	ID     int64
	Name   string
	Status string
	Age    *int
}

func users() *dirtystreams.Entity[User] {
	return dirtystreams.MustEntity[User](dirtystreams.Declaration{Key: "user", Streams: []dirtystreams.Stream{
		{Key: "user-changes", Payload: "FULL"},
		{Key: "user-status", Fields: []string{"Status"}, Ops: "NONE", MaxLen: "~ 1000", OnFull: "KEEP", MaxAge: time.Hour},
	}})
}

type Order struct {
	Number  string `dirty:",id"`
	Total   string `dirty:"total,decimal:2"`
	Rev     int    `dirty:"rev,version"`
	Deleted bool   `dirty:"deleted,softdelete"`
}

func orders() *dirtystreams.Entity[Order] {
	return dirtystreams.MustEntity[Order](dirtystreams.Declaration{Key: "order", Name: "Order", Tombstone: time.Minute,
		Revision: 3, Streams: []dirtystreams.Stream{{Key: "order-changes"}}})
}

func TestEachOperationHasItsEffect(t *testing.T) {
	user, order := users(), orders()
	b := on(t, shared, user, order)
	alice := User{ID: 1, Name: "Alice", Status: "active"}
	banned := alice
	banned.Status, banned.Name = "banned", "not sent"
	got := b.flush(alice, &alice, user.Update(banned, "Status"), user.Touch(1), user.Delete(banned), user.Delete("1"),
		user.Seed(alice), user.Insert(alice), Order{Number: "o1", Total: "5", Rev: 2}, Order{Number: "o1", Total: "5", Rev: 1},
		Order{Number: "o1", Total: "6.00", Rev: 2}, Order{Number: "o1", Total: "5.00", Rev: 3, Deleted: true},
		order.Update(Order{Number: "o1", Total: "7", Rev: 4}, "total"), order.Delete(Order{Number: "o2", Rev: 1}))
	want := "insert none update touch delete none seed none insert stale conflict delete hidden none"
	if effects := strings.Trim(strings.Join(strings.Fields(sprint(got)), " "), "[]"); effects != want {
		t.Errorf("%s, not %s", effects, want)
	}
	flushed, err := b.FlushWith(b.ctx, dirtystreams.FlushOptions{Meta: map[string]string{"who": "admin", "a": "b"}}, banned)
	if err != nil || len(flushed) != 1 || flushed[0].Effect != dirtystreams.EffectUpdate || len(flushed[0].Changed) != 2 ||
		flushed[0].Events["user-changes"] == "" || flushed[0].Events["user-status"] == "" {
		t.Errorf("%+v %v", flushed, err)
	}
	events := read[User](b, "user-changes")
	last := events[len(events)-1]
	if last.Meta["who"] != "admin" || last.Old.Status != "active" || last.New.Status != "banned" {
		t.Error(last)
	}
	versions := read[Order](b, "order-changes")
	if versions[0].Entity != "Order" || versions[0].Version != 2 {
		t.Error(versions[0])
	}
	for _, refused := range []struct {
		code dirtystreams.Code
		op   any
	}{
		{dirtystreams.Exists, user.Insert(alice)},
		{dirtystreams.NoEntity, user.Update(User{ID: 99})},
		{dirtystreams.BadValue, Order{Number: "o3", Total: "1.234", Rev: 1}},
	} {
		_, err := b.Flush(b.ctx, refused.op)
		var told *dirtystreams.Error
		if !errors.Is(err, refused.code) || !errors.As(err, &told) || told.Command != "DIRTY.FLUSH" || told.Message == "" {
			t.Errorf("%s: %v", refused.code, err)
		}
	}
	for _, entity := range []any{struct{}{}, nil, 5, (*User)(nil), dirtystreams.Operation{}, user.Update(alice, "nothing"),
		user.Change(alice, banned), user.Delete(1.5), user.Delete(nil)} {
		if _, err := b.Flush(b.ctx, entity); err == nil || !strings.HasPrefix(err.Error(), "dirtystreams: ") {
			t.Errorf("%v was flushed: %v", entity, err)
		}
	}
}

func TestALostDeclarationIsDeclaredAgain(t *testing.T) {
	user := users()
	b := on(t, shared, user)
	b.do("DEL user")
	if got := b.flush(User{ID: 1}); got[0] != dirtystreams.EffectInsert {
		t.Error(got)
	}
	order := orders()
	if applied, err := b.Declare(b.ctx, order); !applied || err != nil {
		t.Fatal(applied, err)
	}
	b.do("DIRTY.DECLARE order REVISION 4 STREAM order-changes")
	if applied, err := b.Declare(b.ctx, order); applied || err != nil {
		t.Error("an older revision was applied", err)
	}
}

type Visit struct {
	ID   int
	Page string
	From *string
	Ms   int
	Data map[string]int
}

func TestAStatelessTypeTakesOldAndNew(t *testing.T) {
	visit := dirtystreams.MustEntity[Visit](dirtystreams.Declaration{Key: "visit", Stateless: true,
		Streams: []dirtystreams.Stream{{Key: "visits", Payload: "FULL"}}})
	b := on(t, shared, visit)
	from := "x"
	one, two, three := Visit{ID: 1, Page: "/"}, Visit{ID: 1, Page: "/a", Ms: 5}, Visit{ID: 1, Page: "/a", Ms: 5, From: &from, Data: map[string]int{"a": 1}}
	got := b.flush(visit.Insert(one), visit.Change(one, two), visit.Change(two, two), visit.Change(two, three), visit.Delete(three))
	if sprint(got) != "[insert update none update delete]" {
		t.Fatal(got)
	}
	events := read[Visit](b, "visits")
	if update := events[2]; update.Old.From != nil || *update.New.From != "x" || update.New.Data["a"] != 1 || update.Changed("Page") {
		t.Error(update.Changes)
	}
	once := dirtystreams.FlushOptions{Once: "token", OnceFor: time.Minute}
	for i := 0; i < 2; i++ {
		_, err := b.FlushWith(b.ctx, once, visit.Insert(Visit{ID: 2}))
		b.must(nil, err)
	}
	if n := len(read[Visit](b, "visits")); n != 5 {
		t.Error(n)
	}
}

func TestAFlushIsDeferredDryOrAcknowledges(t *testing.T) {
	user := users()
	b := on(t, shared, user)
	for _, n := range []int64{1, 2} {
		var entities []any
		for id := int64(0); id < n; id++ {
			entities = append(entities, User{ID: id})
		}
		flushed, err := b.FlushWith(b.ctx, dirtystreams.FlushOptions{Defer: "tx"}, entities...)
		if err != nil || flushed[n-1].Effect != dirtystreams.EffectDeferred {
			t.Fatal(flushed, err)
		}
		b.do("DIRTY.ABORT user tx")
	}
	flushed, err := b.FlushWith(b.ctx, dirtystreams.FlushOptions{DryRun: true}, User{ID: 1})
	if id, ok := flushed[0].Events["user-changes"]; err != nil || !ok || id != "" {
		t.Error(flushed, err)
	}
	b.flush(User{ID: 1})
	b.must(b.DeclareGroup(b.ctx, dirtystreams.Group{Stream: "user-changes", Name: "g", From: "0"}))
	held := text(pairs(b.do("DIRTY.CONSUME user-changes GROUP g c JSON"))["events"].([]any)[0])
	id := strings.Split(held, `"`)[3]
	ack := dirtystreams.FlushOptions{Ack: &dirtystreams.Ack{Stream: "user-changes", Group: "g", Consumer: "c", IDs: []string{id}}}
	if flushed, err := b.FlushWith(b.ctx, ack, User{ID: 2}); err != nil || flushed[0].Effect != "insert" {
		t.Error(flushed, err)
	}
	if _, err := b.FlushWith(b.ctx, ack, User{ID: 2, Name: "x"}); !errors.Is(err, dirtystreams.NotHeld) {
		t.Error(err)
	}
}
