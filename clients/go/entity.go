package dirtystreams

import (
	"context"
	"fmt"
	"reflect"
	"sort"
	"strconv"
	"time"
)

// Declaration is what DIRTY.DECLARE takes besides the fields, which a struct gives. The manual of DIRTY.DECLARE
// describes the options; one that is left at its zero value is not sent.
type Declaration struct {
	// Key is the key of the declaration; without one it is the name of the struct.
	Key  string
	Name string
	// Prefix is what the keys of snapshots begin with. It may not be given with Partitions.
	Prefix string
	// Revision must rise with each change of the declaration, if it is given.
	Revision   uint64
	Stateless  bool
	Version    string
	Tombstone  time.Duration
	SoftDelete string
	Streams    []Stream
	// Types are types of fields that the struct does not have.
	Types map[string]string
	// Pools are the logical databases that the pool codes of FluxaORM's tags stand for.
	Pools map[string]int
	// Partitions is n to declare the type n times, with keys `user{0}`, `user{1}` … and streams of the same tags, for a
	// cluster. An entity's partition is [Partition] of its id.
	Partitions int
}

// Stream is one STREAM of a declaration.
type Stream struct {
	Key    string
	Ops    string
	Fields []string
	// MaxLen is the argument of MAXLEN: "100000", or "~ 100000" for approximately this number.
	MaxLen      string
	OnFull      string
	MaxAge      time.Duration
	Payload     string
	Format      string
	IDField     string
	SafeNumbers bool
	// DB is the logical database of the stream, if it is another one than the declaration's.
	DB *int
}

// Entity is an entity type whose entities are structs of type T.
type Entity[T any] struct{ schema *schema }

// NewEntity makes an entity type of a struct.
//
// The field tagged `dirty:",id"`, or else the one named ID, is the entity's id. Each other exported field is a field of
// the entity; the tag `dirty:"name,option"` gives it another name, and `dirty:"-"` leaves it out. A pointer that is nil
// is null. These types of Go have a type of the module:
//
//	ints, uints, floats, bool   int, uint, float, bool
//	string, []byte              string
//	time.Time                   time; date or datetime by this option in the tag
//	encoding.TextMarshaler      string; any other type by an option, such as decimal:2
//	sql.NullInt64 and so on     as what they hold
//	struct, map, slice          json
//
// Options are the types of TYPES, and version and softdelete for the fields of VERSION and SOFTDELETE. Embedded
// structs give their fields. A string with the option decimal holds a decimal with all its digits.
//
// A struct with tags of FluxaORM (`orm:"dirtyStream=…"`, `orm:"dirty=…"`) is declared with them: TAGS gets the tags
// unchanged, and fields have the names and types that the library gives them.
func NewEntity[T any](declaration Declaration) (*Entity[T], error) {
	schema, err := newSchema(reflect.TypeOf((*T)(nil)).Elem(), declaration)
	if err != nil {
		return nil, fmt.Errorf("dirtystreams: %w", err)
	}
	return &Entity[T]{schema}, nil
}

// MustEntity is [NewEntity] for package variables: it panics if the struct cannot be declared.
func MustEntity[T any](declaration Declaration) *Entity[T] {
	entity, err := NewEntity[T](declaration)
	if err != nil {
		panic(err)
	}
	return entity
}

func (e *Entity[T]) entitySchema() *schema { return e.schema }

// Key is the declaration's key, without a partition.
func (e *Entity[T]) Key() string { return e.schema.key }

// Snapshot is the whole state of an entity. Flushing a struct as it is means the same.
func (e *Entity[T]) Snapshot(entity T) Operation {
	return e.schema.whole("SNAPSHOT", reflect.ValueOf(entity))
}

// Insert is the whole state of a new entity.
func (e *Entity[T]) Insert(entity T) Operation {
	return e.schema.whole("INSERT", reflect.ValueOf(entity))
}

// Seed stores the whole state of an entity without publishing it.
func (e *Entity[T]) Seed(entity T) Operation { return e.schema.whole("SEED", reflect.ValueOf(entity)) }

// Update stores these fields of the struct, by their names in the entity; without names, all. With VERSION, the version
// is sent in any case.
func (e *Entity[T]) Update(entity T, fields ...string) Operation {
	return e.schema.update(reflect.ValueOf(entity), fields)
}

// Change publishes the difference between two states of an entity of a Stateless type.
func (e *Entity[T]) Change(old, new T) Operation {
	return e.schema.change(reflect.ValueOf(old), reflect.ValueOf(new))
}

// Delete deletes an entity. It takes the id, or the struct, whose version is then sent, too.
func (e *Entity[T]) Delete(idOrEntity any) Operation { return e.schema.remove(idOrEntity) }

// Touch publishes an update without changes. It takes the id, or the struct.
func (e *Entity[T]) Touch(idOrEntity any) Operation { return e.schema.touch(idOrEntity) }

// Get returns the snapshots of entities, nil for those that do not exist.
func (e *Entity[T]) Get(ctx context.Context, client *Client, ids ...any) ([]*T, error) {
	texts := make([]string, len(ids))
	places := map[string][]int{} // by the declaration's key
	for i, id := range ids {
		var err error
		if texts[i], err = e.schema.idText(id); err != nil {
			return nil, fmt.Errorf("dirtystreams: %w", err)
		}
		key := e.schema.keyOf(texts[i])
		places[key] = append(places[key], i)
	}
	entities := make([]*T, len(ids))
	for _, key := range sortedKeys(places) {
		words := []any{"DIRTY.GET", key, "RAW"}
		for _, place := range places[key] {
			words = append(words, texts[place])
		}
		reply, err := client.Do(ctx, words...)
		if err != nil {
			return nil, err
		}
		found, err := asArray(reply)
		if err != nil || len(found) != len(places[key]) {
			return nil, malformedError{"expected a snapshot for each id"}
		}
		for i, place := range places[key] {
			if found[i] == nil {
				continue
			}
			if entities[place], err = e.stored(texts[place], found[i]); err != nil {
				return nil, err
			}
		}
	}
	return entities, nil
}

// Scan calls a function with each snapshot, until the end or an error. What it promises is what DIRTY.SCAN does: an
// entity that is stored all the time comes at least once.
func (e *Entity[T]) Scan(ctx context.Context, client *Client, each func(entity *T) error) error {
	for _, key := range partitioned(e.schema.key, e.schema.partitions, nil) {
		for cursor := "0"; ; {
			reply, err := client.Do(ctx, "DIRTY.SCAN", key, cursor, "COUNT", "500", "RAW")
			if err != nil {
				return err
			}
			page, err := asArray(reply)
			if err != nil || len(page) != 2 {
				return malformedError{"expected a page of DIRTY.SCAN"}
			}
			if cursor, err = asText(page[0]); err != nil {
				return err
			}
			if err := e.page(page[1], each); err != nil {
				return err
			}
			if cursor == "0" {
				break
			}
		}
	}
	return nil
}

func (e *Entity[T]) page(page any, each func(entity *T) error) error {
	pairs, err := asArray(page)
	if err != nil {
		return err
	}
	for _, pair := range pairs {
		pair, err := asArray(pair)
		if err != nil || len(pair) != 2 {
			return malformedError{"expected an id and a snapshot"}
		}
		id, err := asText(pair[0])
		if err != nil {
			return err
		}
		entity, err := e.stored(id, pair[1])
		if err != nil {
			return err
		}
		if err := each(entity); err != nil {
			return err
		}
	}
	return nil
}

func (e *Entity[T]) stored(id string, snapshot any) (*T, error) {
	texts, err := asMap(snapshot)
	if err != nil {
		return nil, err
	}
	entity := new(T)
	value := reflect.ValueOf(entity).Elem()
	if err := e.schema.setID(value, id); err != nil {
		return nil, err
	}
	for name, reply := range texts {
		text, err := asText(reply)
		if err != nil {
			return nil, err
		}
		if err := e.schema.set(value, name, text); err != nil {
			return nil, err
		}
	}
	return entity, nil
}

// declaration is DIRTY.DECLARE for a partition.
func (s *schema) declaration(partition int) []any {
	d := s.declared
	words := []any{"DIRTY.DECLARE", PartitionKey(s.key, partition, s.partitions)}
	option := func(name, value string) {
		if value != "" {
			words = append(words, name, value)
		}
	}
	option("NAME", d.Name)
	option("PREFIX", d.Prefix)
	if d.Revision > 0 {
		option("REVISION", strconv.FormatUint(d.Revision, 10))
	}
	if d.Stateless {
		words = append(words, "STATELESS")
	}
	option("VERSION", d.Version)
	option("TOMBSTONE", milliseconds(d.Tombstone))
	option("SOFTDELETE", d.SoftDelete)
	if len(s.types) > 0 {
		words = append(words, "TYPES", strconv.Itoa(len(s.types)/2))
		words = appended(words, s.types...)
	}
	for _, stream := range d.Streams {
		words = append(words, "STREAM", PartitionKey(stream.Key, partition, s.partitions))
		words = stream.options(words)
	}
	if len(s.tags) > 0 {
		words = append(words, "TAGS", strconv.Itoa(len(s.tags)/2))
		words = appended(words, s.tags...)
	}
	for _, code := range sortedKeys(d.Pools) {
		words = append(words, "POOL", code, strconv.Itoa(d.Pools[code]))
	}
	return words
}

func (stream Stream) options(words []any) []any {
	option := func(name, value string) {
		if value != "" {
			words = append(words, name, value)
		}
	}
	option("OPS", stream.Ops)
	if len(stream.Fields) > 0 {
		words = counted(append(words, "FIELDS"), stream.Fields...)
	}
	if stream.MaxLen != "" {
		words = append(words, "MAXLEN")
		if stream.MaxLen[0] == '~' || stream.MaxLen[0] == '=' {
			words = append(words, stream.MaxLen[:1])
		}
		words = append(words, trimmedNumber(stream.MaxLen))
	}
	option("ONFULL", stream.OnFull)
	option("MAXAGE", milliseconds(stream.MaxAge))
	option("PAYLOAD", stream.Payload)
	option("FORMAT", stream.Format)
	option("IDFIELD", stream.IDField)
	if stream.SafeNumbers {
		words = append(words, "SAFENUMBERS")
	}
	if stream.DB != nil {
		option("DB", strconv.Itoa(*stream.DB))
	}
	return words
}

func trimmedNumber(text string) string {
	for text != "" && (text[0] == '~' || text[0] == '=' || text[0] == ' ') {
		text = text[1:]
	}
	return text
}

// milliseconds is a duration as an argument, rounded up, or the empty text for none.
func milliseconds(d time.Duration) string {
	if d <= 0 {
		return ""
	}
	return strconv.FormatInt(int64((d+time.Millisecond-1)/time.Millisecond), 10)
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	return keys
}
