package redistest

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"reflect"
	"sort"
	"strings"
	"testing"
	"time"

	"dirtystreams"
)

// What FluxaORM's first generation has of its own, in the shapes that its structs show.
type (
	Reference[T any]  uint64
	References[T any] []uint64
	Struct[T any]     struct{ value *T }
	Level             string
	Flag              string
	RefEntity         struct{ ID uint32 }
	Doc               struct {
		A string
		B int
	}
)

func (s Struct[T]) MarshalJSON() ([]byte, error)     { return json.Marshal(s.value) }
func (s *Struct[T]) UnmarshalJSON(text []byte) error { return json.Unmarshal(text, &s.value) }

type Deep struct {
	N int32 `orm:"dirty=DeepWatch"`
}

type Sub struct {
	Color string `orm:"dirty=SubWatch"`
	Size  uint16
	Deep  Deep
}

type Base struct {
	Origin string `orm:"dirty=OriginWatch"`
}

// StoryEntity is the struct of tests/vectors/fluxaorm-v1-story.json, as the library's program had it.
type StoryEntity struct {
	ID     uint64 `orm:"dirty=All,Added:add,Changed:edit,Removed:delete,AddDel:add|delete"`
	U      uint
	U8     uint8 `orm:"dirty=U8Watch,Both"`
	U16    uint16
	U32    uint32
	U64    uint64
	I      int
	I8     int8
	I16    int16
	I32    int32
	I64    int64
	UP     *uint
	U8P    *uint8
	U64P   *uint64
	IP     *int
	I64P   *int64
	Str    string `orm:"dirty=StrWatch,Both"`
	StrReq string `orm:"required"`
	StrMax string `orm:"length=max"`
	Bool   bool
	BoolP  *bool

	F32     float32
	F32Dec  float32 `orm:"decimal=9,2"`
	F32Prec float32 `orm:"precision=2"`
	F64     float64
	F64Dec  float64 `orm:"decimal=20,3"`
	F64Prec float64 `orm:"precision=2"`
	F64Uns  float64 `orm:"unsigned"`
	F32P    *float32
	F64P    *float64
	F64PDec *float64 `orm:"decimal=10,2"`

	Day     time.Time
	At      time.Time `orm:"time"`
	DayP    *time.Time
	AtP     *time.Time `orm:"time"`
	Blob    []byte
	Enum    Level
	EnumReq Level `orm:"required"`
	Set     []Flag
	SetReq  []Flag `orm:"required"`
	Ref     Reference[RefEntity]
	RefReq  Reference[RefEntity] `orm:"required"`
	Refs    References[RefEntity]
	Json    Struct[Doc]
	Sub     Sub
	Tagged  Sub    `orm:"dirty=TaggedWatch"`
	Arr     [2]int `orm:"dirty=ArrWatch"`
	ArrStr  [2]string
	ArrF    [2]float64
	Base
	Ignored chan int `orm:"ignore"`
}

func pointer[T any](value T) *T { return &value }

// storyEntity is step 4 of the story: all attributes are set.
func storyEntity() StoryEntity {
	day := func(day, hour, minute, second int) time.Time {
		return time.Date(2026, 1, day, hour, minute, second, 0, time.UTC)
	}
	return StoryEntity{
		ID: 102, U: 1, U8: 2, U16: 3, U32: 4, U64: 5, I: -1, I8: -2, I16: -3, I32: -4, I64: -5, UP: pointer(uint(6)),
		U8P: pointer(uint8(7)), U64P: pointer(uint64(8)), IP: pointer(-6), I64P: pointer(int64(-7)), Str: "héllo",
		StrReq: "required", StrMax: "long text", Bool: true, BoolP: pointer(true), F32: 1.5, F32Dec: 1.25, F32Prec: 1.5, F64: 1.5,
		F64Dec: 1.5, F64Prec: 1.5, F64Uns: 1.5, F32P: pointer(float32(2.5)), F64P: pointer(2.5), F64PDec: pointer(2.5),
		Day: day(2, 0, 0, 0), At: day(2, 3, 4, 5), DayP: pointer(day(3, 0, 0, 0)), AtP: pointer(day(3, 4, 5, 6)),
		Blob: []byte("blob"), Enum: "mid", EnumReq: "high", Set: []Flag{"a", "c"}, SetReq: []Flag{"b"}, Ref: 8, RefReq: 7,
		Refs: References[RefEntity]{7, 8}, Json: Struct[Doc]{&Doc{"x", 9}}, Sub: Sub{"red", 10, Deep{-11}},
		Tagged: Sub{"green", 12, Deep{13}}, Arr: [2]int{1, -1}, ArrStr: [2]string{"x", ""}, ArrF: [2]float64{0.5, 0},
		Base: Base{"moon"},
	}
}

// story is what the library wrote.
type story struct {
	Entities map[string]struct{ Tags [][2]string }
	Steps    []struct {
		Step    int
		Entries []struct {
			Streams []string
			Action  string
			Entity  string
			ID      string
			Hex     string `json:"s_hex"`
		}
	}
}

func readStory(t *testing.T) story {
	t.Helper()
	raw, err := os.ReadFile("../../../tests/vectors/fluxaorm-v1-story.json")
	if err != nil {
		t.Fatal(err)
	}
	var told story
	if err := json.Unmarshal(raw, &told); err != nil {
		t.Fatal(err)
	}
	return told
}

func TestAStructOfTheFirstGenerationIsPublishedAsTheLibraryDoes(t *testing.T) {
	told := readStory(t)
	entity := dirtystreams.MustEntity[StoryEntity](dirtystreams.Declaration{Key: "story", Name: "main.StoryEntity"})
	b := on(t, shared, entity)
	least := StoryEntity{ID: 101, RefReq: 7, StrReq: "r", EnumReq: "low", SetReq: []Flag{"a"}}
	for step, insert := range map[int]StoryEntity{3: least, 4: storyEntity()} {
		want := told.Steps[step-1]
		if want.Step != step {
			t.Fatal("the steps are not in order")
		}
		flushed, err := b.FlushWith(b.ctx, dirtystreams.FlushOptions{}, entity.Insert(insert))
		b.must(nil, err)
		var streams []string
		for _, stream := range want.Entries[0].Streams {
			if flushed[0].Events[stream] == "" {
				t.Errorf("step %d: nothing came to %s: %v", step, stream, flushed[0].Events)
			}
			streams = append(streams, stream)
		}
		if len(flushed[0].Events) != len(streams) {
			t.Errorf("step %d: %v, not %v", step, flushed[0].Events, streams)
		}
		got := lastEntry(b, "dirty_All")
		if got["action"] != want.Entries[0].Action || got["entity"] != want.Entries[0].Entity || got["id"] != want.Entries[0].ID {
			t.Errorf("step %d: %v", step, got)
		}
		raw, _ := hex.DecodeString(want.Entries[0].Hex)
		sameBind(t, step, unpacked(t, []byte(got["s"])), unpacked(t, raw))
	}
	found, err := entity.Get(b.ctx, b.Client, 102)
	if err != nil || !reflect.DeepEqual(*found[0], storyEntity()) {
		t.Errorf("%+v %v", found[0], err)
	}
	changed := storyEntity()
	changed.Sub.Color, changed.Str = "blue", ""
	b.flush(changed)
	// A struct that has a tag itself hides those of its fields.
	changed.Tagged.Color, changed.Tagged.Deep.N = "blue", 14
	b.flush(changed)
	if n := sprint(b.do("XLEN dirty_DeepWatch")); n != "0" {
		t.Error("a hidden tag has published ", n)
	}
	events := read[StoryEntity](b, "dirty_SubWatch")
	if len(events) != 1 || events[0].New.Sub.Color != "blue" || events[0].New.Str != "" || !events[0].Changed("Str") {
		t.Errorf("%+v", events)
	}
	info := pairs(b.do("DIRTY.INFO story"))
	if n := len(info["streams"].([]any)); n != 13 {
		t.Error("the tags declare ", n)
	}
}

// sameBind compares what the library wrote with what the module wrote, key by key.
func sameBind(t *testing.T, step int, got, want map[string]any) {
	t.Helper()
	for name, value := range want {
		if fmt.Sprint(got[name]) != fmt.Sprint(value) {
			t.Errorf("step %d, %s: %v (%T), and the library wrote %v (%T)", step, name, got[name], got[name], value, value)
		}
	}
	for name := range got {
		if _, ok := want[name]; !ok {
			t.Errorf("step %d: the library wrote no %s", step, name)
		}
	}
}

// lastEntry is the last entry of a stream.
func lastEntry(b *bench, stream string) map[string]string {
	b.Helper()
	entries := b.do("XREVRANGE " + stream + " + - COUNT 1").([]any)
	fields := map[string]string{}
	for name, value := range pairs(entries[0].([]any)[1]) {
		fields[name] = text(value)
	}
	return fields
}

// unpacked is a MessagePack map of what Bind has: nil, bool, integers, floats and texts.
func unpacked(t *testing.T, raw []byte) map[string]any {
	t.Helper()
	at := 0
	take := func(n int) []byte {
		at += n
		return raw[at-n : at]
	}
	number := func(n int) uint64 {
		var value uint64
		for _, b := range take(n) {
			value = value<<8 | uint64(b)
		}
		return value
	}
	value := func() any {
		switch b := number(1); {
		case b < 0x80:
			return b
		case b >= 0xe0:
			return int64(int8(b))
		case b >= 0xa0 && b < 0xc0:
			return string(take(int(b - 0xa0)))
		case b == 0xc0:
			return nil
		case b == 0xc2 || b == 0xc3:
			return b == 0xc3
		case b == 0xcb:
			return math.Float64frombits(number(8))
		case b >= 0xcc && b <= 0xcf:
			return number(1 << (b - 0xcc))
		case b >= 0xd0 && b <= 0xd3:
			bits := 8 << (b - 0xd0)
			return int64(number(bits/8)<<(64-bits)) >> (64 - bits)
		case b == 0xd9 || b == 0xda:
			return string(take(int(number(int(b - 0xd8)))))
		default:
			t.Fatalf("unknown byte %x", b)
			return nil
		}
	}
	n := number(1)
	if n == 0xde {
		n = number(2)
	} else {
		n -= 0x80
	}
	bind := map[string]any{}
	for ; n > 0; n-- {
		name := value().(string)
		bind[name] = value()
	}
	if at != len(raw) {
		t.Fatal("bytes are left")
	}
	return bind
}

// Account has tags of the second generation, one in a pool of its own.
type Account struct {
	ID      uint64 `orm:"dirtyStream=Accounts,AccountStatus//ID,Audit/audit/D" json:"id"`
	Name    string `orm:"required"`
	Status  string `orm:"required;enum=active,banned;dirtyStream=AccountStatus"`
	Balance float64
	Created time.Time
	Note    *string
}

func TestAStructOfTheSecondGenerationIsPublishedByItsTags(t *testing.T) {
	entity := dirtystreams.MustEntity[Account](dirtystreams.Declaration{Pools: map[string]int{"audit": 3},
		Streams: []dirtystreams.Stream{{Key: "Accounts", MaxLen: "1000"}}})
	if entity.Key() != "Account" {
		t.Fatal(entity.Key())
	}
	b := on(t, shared, entity)
	created := time.Date(2026, 1, 2, 4, 4, 5, 999, time.FixedZone("", 3600))
	one := Account{ID: 7, Name: "Bob", Status: "active", Balance: 1234567.5, Created: created}
	renamed, banned := one, one
	renamed.Name = "Rob"
	banned.Name, banned.Status = "Rob", "banned"
	for _, step := range []struct {
		entity any
		want   string
	}{
		{one, "AccountStatus Accounts"}, {renamed, "Accounts"}, {banned, "AccountStatus Accounts"},
		{entity.Delete(one), "AccountStatus Accounts Audit"},
	} {
		flushed, err := b.FlushWith(b.ctx, dirtystreams.FlushOptions{}, step.entity)
		b.must(nil, err)
		var streams []string
		for stream := range flushed[0].Events {
			streams = append(streams, stream)
		}
		sort.Strings(streams)
		if got := strings.Join(streams, " "); got != step.want {
			t.Errorf("%v went to %s, not %s", step.entity, got, step.want)
		}
	}
	events := read[Account](b, "Accounts")
	if len(events) != 4 || events[0].Entity != "Account" || events[1].Old.Name != "Bob" || events[1].New.Name != "Rob" {
		t.Fatalf("%+v", events)
	}
	streamsOf := pairs(b.do("DIRTY.INFO Account"))["streams"].([]any)
	first := pairs(streamsOf[0])
	if text(first["format"]) != "FLUXAORM2" || text(first["maxlen"]) != "= 1000" || len(streamsOf) != 3 {
		t.Error(streamsOf)
	}
	found, err := entity.Get(b.ctx, b.Client, 7)
	if err != nil || found[0] != nil {
		t.Error(found, err)
	}
	b.flush(one)
	found, err = entity.Get(b.ctx, b.Client, 7)
	if err != nil || !found[0].Created.Equal(created.Truncate(time.Second)) || found[0].Balance != 1234567.5 || found[0].Note != nil {
		t.Errorf("%+v %v", found[0], err)
	}
}

// Post has the fake-delete column.
type Post struct {
	ID         uint64 `orm:"dirty=Posts"`
	Title      string
	FakeDelete bool
}

func TestTheFakeDeleteColumnIsSOFTDELETE(t *testing.T) {
	entity := dirtystreams.MustEntity[Post](dirtystreams.Declaration{Key: "post"})
	b := on(t, shared, entity)
	got := b.flush(Post{ID: 1, Title: "Hi"}, Post{ID: 1, Title: "Hi", FakeDelete: true}, Post{ID: 1, Title: "Hi"})
	if sprint(got) != "[insert delete insert]" {
		t.Error(got)
	}
	if last := lastEntry(b, "dirty_Posts"); last["entity"] != "redistest.Post" || last["action"] != "edit" {
		t.Error(last)
	}
}

func TestConsumeSingleTakesTurnsAndConsumeManyShares(t *testing.T) {
	entity := dirtystreams.MustEntity[Post](dirtystreams.Declaration{Key: "post"})
	b := on(t, shared, entity)
	b.must(b.DeclareGroup(b.ctx, dirtystreams.Group{Stream: "dirty_Posts", Name: "many", From: "0", Order: "ENTITY", Claim: time.Hour}))
	b.must(b.DeclareGroup(b.ctx, dirtystreams.Group{Stream: "dirty_Posts", Name: "single", From: "0", Order: "STREAM", Claim: time.Hour}))
	for id := uint64(1); id <= 4; id++ {
		b.flush(Post{ID: id})
	}
	var fail error
	seen := &lines{}
	consumer := func(name string, make func(handle func([]*dirtystreams.Event[Post]) error) (*dirtystreams.Consumer[Post], error)) *dirtystreams.Consumer[Post] {
		made, err := make(func(events []*dirtystreams.Event[Post]) error {
			for _, event := range events {
				seen.add("%s %d", name, event.New.ID)
			}
			return fail
		})
		b.must(nil, err)
		return made
	}
	single := func(handle func([]*dirtystreams.Event[Post]) error) (*dirtystreams.Consumer[Post], error) {
		return dirtystreams.ConsumeSingle(b.ctx, b.Client, "dirty_Posts", "single", handle)
	}
	many := func(handle func([]*dirtystreams.Event[Post]) error) (*dirtystreams.Consumer[Post], error) {
		return dirtystreams.ConsumeMany(b.ctx, b.Client, "dirty_Posts", "many", handle)
	}
	if _, err := dirtystreams.ConsumeSingle(b.ctx, b.Client, "dirty_Posts", "many", func([]*dirtystreams.Event[Post]) error { return nil }); err == nil ||
		!strings.Contains(err.Error(), "ORDER ENTITY") {
		t.Error("a group that is not in ORDER STREAM was taken: ", err)
	}
	if _, err := dirtystreams.ConsumeMany(b.ctx, b.Client, "dirty_Posts", "none", func([]*dirtystreams.Event[Post]) error { return nil }); !errors.Is(err, dirtystreams.NoReader) {
		t.Error(err)
	}

	s1, s2 := consumer("s1", single), consumer("s2", single)
	fail = errors.New("broken")
	if err := s1.Consume(b.ctx, 1, 0); !errors.Is(err, fail) {
		t.Error(err)
	}
	fail = nil
	b.must(nil, s2.Consume(b.ctx, 10, 0))
	b.must(nil, s1.Consume(b.ctx, 2, time.Second))
	b.must(nil, s2.Consume(b.ctx, 10, 0))
	b.must(nil, s1.Cleanup(b.ctx))
	b.must(nil, s2.Consume(b.ctx, 10, 0))
	b.must(nil, s2.Consume(b.ctx, 10, 50*time.Millisecond))
	if want := "s1 1; s1 1; s1 2; s2 3; s2 4"; seen.String() != want {
		t.Errorf("%s, not %s", seen, want)
	}

	seen.all = nil
	m1, m2 := consumer("m1", many), consumer("m2", many)
	fail = errors.New("broken")
	if err := m1.Consume(b.ctx, 3, 0); !errors.Is(err, fail) {
		t.Error(err)
	}
	fail = nil
	b.must(nil, m2.Consume(b.ctx, 3, 0))
	b.must(nil, m1.Hold(b.ctx))
	b.must(nil, m1.Cleanup(b.ctx))
	b.must(nil, m2.Consume(b.ctx, 10, 0))
	if want := "m1 1; m1 2; m1 3; m2 4; m2 1; m2 2; m2 3"; seen.String() != want {
		t.Errorf("%s, not %s", seen, want)
	}
	b.flush(Post{ID: 5}, Post{ID: 6})
	b.do("XTRIM dirty_Posts MAXLEN 1")
	var missed *dirtystreams.MissedError
	if err := m2.Consume(b.ctx, 10, 0); !errors.As(err, &missed) || !seen.has("m2 6") {
		t.Error(err, seen)
	}
}
