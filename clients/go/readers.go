package dirtystreams

import (
	"context"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// Group declares a group of readers: the options of DIRTY.READER, which its manual describes. One that is left at its
// zero value is not sent.
type Group struct {
	Stream, Name string
	// From is where a new group begins: "0", "$", an id, a time in ms, or "GROUP name" to take over a native group.
	From string
	// Order is NONE, ENTITY, STREAM or "META name".
	Order string
	// Claim is the time after which the events of a silent consumer go to others.
	Claim time.Duration
	// MaxPending bounds the events that one consumer holds.
	MaxPending int
	// MaxDeliveries is the number of deliveries after which an event dies; without it none does.
	MaxDeliveries int
	// Dead is the key of the dead stream, by default the stream's with ":dead" behind it.
	Dead string
	// OnDead is SKIP, or PARK to let later events of a dead one's key wait for Redrive or Discard.
	OnDead string
	// MinAge is how old events must be to be delivered.
	MinAge time.Duration
	// Where are the words after WHERE: {"OPS", "IU", "ENTITY", "user"}.
	Where []string
	// Revision must rise with each change of the settings, if it is given.
	Revision uint64
	// Partitions declares the group at each of the n streams of an entity type with partitions.
	Partitions int
}

// Cursor declares a cursor: the options of DIRTY.READER, which its manual describes.
type Cursor struct {
	Stream, Name string
	// From is where a new cursor begins: "0", "$", an id, a position, or a time in ms.
	From string
	// Snapshot are the keys of declarations whose entities the cursor gets first, in place of From.
	Snapshot []string
	// Shard restricts it to the shard Shard[0] of Shard[1].
	Shard [2]int
	// Dead, MinAge, Where and Revision are those of a [Group].
	Dead     string
	MinAge   time.Duration
	Where    []string
	Revision uint64
	// Partitions declares the cursor at each of the n streams of an entity type with partitions.
	Partitions int
}

// DeclareGroup declares a group. It reports whether the settings were applied: false means that the server keeps those
// of a higher revision.
func (c *Client) DeclareGroup(ctx context.Context, group Group) (bool, error) {
	words := []any{"GROUP", group.Name}
	words = start(words, group.From)
	if group.Order != "" {
		words = appended(append(words, "ORDER"), strings.SplitN(group.Order, " ", 2)...)
	}
	words = option(words, "CLAIM", milliseconds(group.Claim))
	words = option(words, "MAXPENDING", positive(group.MaxPending))
	words = option(words, "MAXDELIVERIES", positive(group.MaxDeliveries))
	words = option(words, "DEAD", group.Dead)
	words = option(words, "ONDEAD", group.OnDead)
	return c.declareReader(ctx, group.Stream, group.Partitions, group.MinAge, group.Where, group.Revision,
		func(int) []any { return words })
}

// DeclareCursor declares a cursor, and reports what [Client.DeclareGroup] does.
func (c *Client) DeclareCursor(ctx context.Context, cursor Cursor) (bool, error) {
	return c.declareReader(ctx, cursor.Stream, cursor.Partitions, cursor.MinAge, cursor.Where, cursor.Revision,
		func(partition int) []any {
			words := []any{"CURSOR", cursor.Name}
			if len(cursor.Snapshot) > 0 {
				words = counted(append(words, "FROM", "SNAPSHOT"), inPartition(cursor.Snapshot, partition, cursor.Partitions)...)
			} else {
				words = start(words, cursor.From)
			}
			if cursor.Shard[1] > 0 {
				words = append(words, "SHARD", strconv.Itoa(cursor.Shard[0]), strconv.Itoa(cursor.Shard[1]))
			}
			return option(words, "DEAD", cursor.Dead)
		})
}

func inPartition(keys []string, partition, n int) []string {
	named := make([]string, len(keys))
	for i, key := range keys {
		named[i] = PartitionKey(key, partition, n)
	}
	return named
}

func (c *Client) declareReader(ctx context.Context, stream string, partitions int, minAge time.Duration, where []string,
	revision uint64, settings func(partition int) []any) (bool, error) {
	applied := true
	for partition, stream := range partitioned(stream, partitions, nil) {
		words := append([]any{"DIRTY.READER", stream}, settings(partition)...)
		words = option(words, "MINAGE", milliseconds(minAge))
		if len(where) > 0 {
			words = appended(append(words, "WHERE"), where...)
		}
		if revision > 0 {
			words = append(words, "REVISION", strconv.FormatUint(revision, 10))
		}
		ok, err := c.applied(ctx, words)
		if err != nil {
			return false, err
		}
		applied = applied && ok
	}
	return applied, nil
}

func start(words []any, from string) []any {
	if from == "" {
		return words
	}
	return appended(append(words, "FROM"), strings.SplitN(from, " ", 2)...)
}

func option(words []any, name, value string) []any {
	if value == "" {
		return words
	}
	return append(words, name, value)
}

func positive(n int) string {
	if n < 1 {
		return ""
	}
	return strconv.Itoa(n)
}

// Ack acknowledges events of a group, and returns the ids that the consumer did not hold.
func (c *Client) Ack(ctx context.Context, stream, group, consumer string, ids ...string) (notHeld []string, err error) {
	return c.texts(ctx, appended([]any{"DIRTY.ACK", stream, "GROUP", group, consumer}, ids...))
}

// AckCursor moves a cursor to a position, and reports whether it moved.
func (c *Client) AckCursor(ctx context.Context, stream, cursor, position string) (bool, error) {
	moved, err := c.integer(ctx, "DIRTY.ACK", stream, "CURSOR", cursor, position)
	return moved == 1, err
}

// Fail gives events back that come again after the delay, and returns what became of each: retry, dead or not-held.
func (c *Client) Fail(ctx context.Context, stream, group, consumer, message string, delay time.Duration, ids ...string) ([]string, error) {
	words := []any{"DIRTY.FAIL", stream, "GROUP", group, consumer, message, "DELAY", strconv.FormatInt(delay.Milliseconds(), 10)}
	return c.texts(ctx, appended(words, ids...))
}

// FailFatal lets events die at once.
func (c *Client) FailFatal(ctx context.Context, stream, group, consumer, message string, ids ...string) ([]string, error) {
	return c.texts(ctx, appended([]any{"DIRTY.FAIL", stream, "GROUP", group, consumer, message, "FATAL"}, ids...))
}

// Hold says that a consumer still works on events, and returns the ids that it does not hold.
func (c *Client) Hold(ctx context.Context, stream, group, consumer string, ids ...string) (notHeld []string, err error) {
	return c.texts(ctx, appended([]any{"DIRTY.HOLD", stream, "GROUP", group, consumer}, ids...))
}

// Leave removes a consumer, and returns how many events it held, which others get now.
func (c *Client) Leave(ctx context.Context, stream, group, consumer string) (int64, error) {
	return c.integer(ctx, "DIRTY.LEAVE", stream, "GROUP", group, consumer)
}

// Seek moves a group (kind "GROUP") or a cursor (kind "CURSOR") to another place in its stream.
func (c *Client) Seek(ctx context.Context, stream, kind, name, to string) error {
	_, err := c.Do(ctx, "DIRTY.SEEK", stream, kind, name, to)
	return err
}

// SeekSnapshot lets a cursor begin with the entities of these declarations again.
func (c *Client) SeekSnapshot(ctx context.Context, stream, cursor string, keys ...string) error {
	_, err := c.Do(ctx, counted([]any{"DIRTY.SEEK", stream, "CURSOR", cursor, "SNAPSHOT"}, keys...)...)
	return err
}

// Redrive brings dead events back to their group, and lets failed ones come at once: all, or those that the selector
// names, such as {"ENTITY", "user", "42"}. It returns how many come back.
func (c *Client) Redrive(ctx context.Context, stream, group string, selector ...string) (int64, error) {
	return c.selected(ctx, "DIRTY.REDRIVE", stream, group, selector)
}

// Discard removes dead events for good: all, or those that the selector names. It returns how many.
func (c *Client) Discard(ctx context.Context, stream, group string, selector ...string) (int64, error) {
	return c.selected(ctx, "DIRTY.DISCARD", stream, group, selector)
}

func (c *Client) selected(ctx context.Context, command, stream, group string, selector []string) (int64, error) {
	if len(selector) == 0 {
		selector = []string{"ALL"}
	}
	return c.integer(ctx, appended([]any{command, stream, "GROUP", group}, selector...)...)
}

func (c *Client) integer(ctx context.Context, words ...any) (int64, error) {
	reply, err := c.Do(ctx, words...)
	if err != nil {
		return 0, err
	}
	return asInt(reply)
}

func (c *Client) texts(ctx context.Context, words []any) ([]string, error) {
	reply, err := c.Do(ctx, words...)
	if err != nil {
		return nil, err
	}
	return asTexts(reply)
}

func noGroup(stream, group string) error {
	return &Error{Code: NoReader, Message: fmt.Sprintf("there is no group %q on %q", group, stream), Command: "DIRTY.STATS"}
}

// key is what ORDER keeps in order: of two events with one key, the later one waits for the earlier one.
func (s settings) key(wire wireEvent) (key string, ordered bool) {
	switch s.order {
	case "STREAM":
		return "", true
	case "ENTITY":
		return string(wire.Entity) + "\x00" + string(wire.EntityID), wire.Op != ""
	case "META":
		value, ok := wire.Meta[s.meta]
		return string(value), ok
	}
	return "", false
}

// batch is a reply of DIRTY.CONSUME or DIRTY.READ.
type batch struct {
	events   []wireEvent
	missed   int64 // -1 if the number is unknown
	more     bool
	notHeld  []string
	position string
	phase    string
	begin    bool
}

func (c *Client) batch(ctx context.Context, words []any) (batch, error) {
	reply, err := c.Do(ctx, words...)
	if err != nil {
		return batch{}, err
	}
	parts, err := asMap(reply)
	if err != nil {
		return batch{}, err
	}
	var b batch
	texts, err := asTexts(parts["events"])
	if err != nil {
		return batch{}, err
	}
	for _, text := range texts {
		wire, err := parseWire(text)
		if err != nil {
			return batch{}, err
		}
		b.events = append(b.events, wire)
	}
	b.missed = -1
	if missed := parts["missed"]; missed != nil {
		if b.missed, err = asInt(missed); err != nil {
			return batch{}, err
		}
	}
	more, err := asInt(parts["more"])
	if err != nil {
		return batch{}, err
	}
	b.more = more == 1
	if b.notHeld, err = asTexts(parts["not-held"]); err != nil {
		return batch{}, err
	}
	if position, ok := parts["position"]; ok {
		if b.position, err = asText(position); err != nil {
			return batch{}, err
		}
	}
	if phase, ok := parts["phase"]; ok {
		if b.phase, err = asText(phase); err != nil {
			return batch{}, err
		}
	}
	if begin, ok := parts["begin"]; ok {
		one, err := asInt(begin)
		if err != nil {
			return batch{}, err
		}
		b.begin = one == 1
	}
	return b, nil
}

// schemaFor is how events of T are read: as the client declares it, or else as the struct says; nil for [Fields].
func schemaFor[T any](client *Client) (*schema, error) {
	goType := reflect.TypeOf((*T)(nil)).Elem()
	if goType == reflect.TypeOf(Fields(nil)) {
		return nil, nil
	}
	if known := client.ofType(goType); known != nil {
		return known, nil
	}
	known, err := schemaOf(goType)
	if err != nil {
		return nil, fmt.Errorf("dirtystreams: %w", err)
	}
	return known, nil
}
