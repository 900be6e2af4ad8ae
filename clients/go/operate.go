package dirtystreams

import (
	"context"
	"strconv"
	"strings"
	"time"
)

// StreamStats is a stream and its readers, as DIRTY.STATS tells them.
type StreamStats struct {
	Length, Bytes int64
	// OldestEvent is the age of the first entry, or 0.
	OldestEvent time.Duration
	// FirstID is empty if the stream is.
	FirstID, LastID string
	// Dead is the number of entries of the dead stream.
	Dead    int64
	Readers []ReaderStats
}

// Reader is the reader of this name, or nil.
func (s StreamStats) Reader(name string) *ReaderStats {
	for i := range s.Readers {
		if s.Readers[i].Name == name {
			return &s.Readers[i]
		}
	}
	return nil
}

// ReaderStats is a reader of a stream. The manual of DIRTY.STATS describes the elements; one that a reader of its kind does
// not have is 0 or empty.
type ReaderStats struct {
	Name string
	// Kind is group, cursor or native.
	Kind string
	Lag  int64
	// OldestUnread is the age of the first unread entry, 0 if there is none.
	OldestUnread time.Duration
	// Missed is the number of events that the reader can no longer get and was not told of, -1 if it is unknown.
	Missed   int64
	Position string
	// Consumers are those of a group.
	Consumers []ConsumerStats

	// The settings that DIRTY.READER declared. Shard[1] is 0 without SHARD.
	Dead     string
	MinAge   time.Duration
	Where    []string
	Revision int64
	Shard    [2]int64
	// Phase is snapshot or stream, for a cursor.
	Phase         string
	Order         string
	Claim         time.Duration
	MaxPending    int64
	MaxDeliveries int64
	OnDead        string

	// The counters since the reader was created.
	Delivered, Redelivered, Acknowledged, Failed, Died, Rejected, MissedTotal, Bytes int64

	// The state of a group: events that it has read and not finished, and keys that wait.
	Pending, Held, Queued, Due, HeldKeys, ParkedKeys int64
	LowestPendingID                                  string
	Stalled, Paused                                  bool
	// Turn is the consumer that has the turn in ORDER STREAM, or empty.
	Turn string
}

// ConsumerStats is a consumer of a group.
type ConsumerStats struct {
	Name string
	// Pending is the number of events that it holds.
	Pending int64
	// Idle is the time since its last call, -1 if it is unknown, as on a replica.
	Idle    time.Duration
	Waiting bool
}

// PendingEvent is an event that a group has not finished, as DIRTY.PENDING tells it.
type PendingEvent struct {
	ID string
	// State is held, delayed, free, queued or parked.
	State string
	// Consumer holds the event, or the one that it waits for; empty if nobody does.
	Consumer string
	// Idle is the time since it was delivered or held, -1 if nobody holds it.
	Idle time.Duration
	// Due is when it comes to whichever consumer asks; zero if it waits for other events.
	Due                  time.Time
	Deliveries, Failures int64
	// Error is the message of the last failure.
	Error string
	// Key is the entity's name and id in ORDER ENTITY, and the value in ORDER META; else nil.
	Key []string
}

// DeferredFlush is a flush that waits for its COMMIT, as DIRTY.DEFERRED tells it.
type DeferredFlush struct {
	// Key is the declaration's key, with the partition.
	Key   string
	Token string
	// Readable is false if this version of the module cannot read the flush; only Key and Token are known then.
	Readable   bool
	Age        time.Duration
	Operations []DeferredOperation
}

// DeferredOperation is an operation of a [DeferredFlush], such as SNAPSHOT 42.
type DeferredOperation struct{ Op, ID string }

// told reads the elements of a reply that is a map, and keeps the first error.
type told struct {
	elements map[string]any
	err      error
}

func tellOf(reply any) *told {
	elements, err := asMap(reply)
	return &told{elements, err}
}

func (t *told) text(name string) string {
	value, ok := t.elements[name]
	if !ok || value == nil || t.err != nil {
		return ""
	}
	text, err := asText(value)
	t.err = err
	return text
}

// number is an integer or a boolean, or `otherwise` if it is null or not there.
func (t *told) number(name string, otherwise int64) int64 {
	value, ok := t.elements[name]
	if !ok || value == nil || t.err != nil {
		return otherwise
	}
	number, err := asInt(value)
	t.err = err
	return number
}

func (t *told) count(name string) int64 { return t.number(name, 0) }

func (t *told) flag(name string) bool { return t.number(name, 0) == 1 }

func (t *told) span(name string, otherwise int64) time.Duration {
	if ms := t.number(name, -1); ms >= 0 {
		return time.Duration(ms) * time.Millisecond
	}
	return time.Duration(otherwise)
}

func (t *told) array(name string) []any {
	if t.err != nil {
		return nil
	}
	array, err := asArray(t.elements[name])
	t.err = err
	return array
}

func (t *told) texts(name string) []string {
	if t.err != nil || t.elements[name] == nil {
		return nil
	}
	texts, err := asTexts(t.elements[name])
	t.err = err
	return texts
}

// Stats tells the size of a stream, and the settings, progress and counters of its readers.
func (c *Client) Stats(ctx context.Context, stream string) (StreamStats, error) {
	reply, err := c.Do(ctx, "DIRTY.STATS", stream)
	if err != nil {
		return StreamStats{}, err
	}
	t := tellOf(reply)
	stats := StreamStats{Length: t.count("length"), Bytes: t.count("bytes"), OldestEvent: t.span("oldest-event-ms", 0),
		FirstID: t.text("first-id"), LastID: t.text("last-id"), Dead: t.count("dead")}
	for _, reader := range t.array("readers") {
		read, err := readerStats(reader)
		if err != nil {
			return StreamStats{}, err
		}
		stats.Readers = append(stats.Readers, read)
	}
	return stats, t.err
}

func readerStats(reply any) (ReaderStats, error) {
	t := tellOf(reply)
	stats := ReaderStats{
		Name: t.text("name"), Kind: t.text("kind"), Lag: t.count("lag"), OldestUnread: t.span("oldest-unread-ms", 0),
		Missed: t.number("missed", -1), Position: t.text("position"),
		Dead: t.text("dead"), MinAge: t.span("min-age-ms", 0), Where: t.texts("where"), Revision: t.count("revision"),
		Phase: t.text("phase"), Order: t.text("order"), Claim: t.span("claim-ms", 0), MaxPending: t.count("max-pending"),
		MaxDeliveries: t.count("max-deliveries"), OnDead: t.text("on-dead"),
		Delivered: t.count("delivered"), Redelivered: t.count("redelivered"), Acknowledged: t.count("acknowledged"),
		Failed: t.count("failed"), Died: t.count("died"), Rejected: t.count("rejected"), MissedTotal: t.count("missed-total"),
		Bytes: t.count("bytes"), Pending: t.count("pending"), Held: t.count("held"), Queued: t.count("queued"),
		Due: t.count("due"), HeldKeys: t.count("held-keys"), ParkedKeys: t.count("parked-keys"),
		LowestPendingID: t.text("lowest-pending-id"), Stalled: t.flag("stalled"), Paused: t.flag("paused"), Turn: t.text("turn"),
	}
	shard := t.array("shard")
	for i := 0; i < len(shard) && i < len(stats.Shard); i++ {
		var err error
		if stats.Shard[i], err = asInt(shard[i]); err != nil {
			return stats, err
		}
	}
	for _, consumer := range t.array("consumers") {
		one := tellOf(consumer)
		stats.Consumers = append(stats.Consumers, ConsumerStats{one.text("name"), one.count("pending"), one.span("idle-ms", -1),
			one.flag("waiting")})
		if one.err != nil {
			return stats, one.err
		}
	}
	return stats, t.err
}

// Pending lists events that a group has not finished, at most count after the id `after`, which may be empty for the
// first page.
func (c *Client) Pending(ctx context.Context, stream, group, after string, count int) ([]PendingEvent, error) {
	words := option([]any{"DIRTY.PENDING", stream, "GROUP", group}, "AFTER", after)
	reply, err := c.Do(ctx, append(words, "COUNT", strconv.Itoa(orCount(count)))...)
	if err != nil {
		return nil, err
	}
	array, err := asArray(reply)
	if err != nil {
		return nil, err
	}
	events := make([]PendingEvent, len(array))
	for i, element := range array {
		t := tellOf(element)
		events[i] = PendingEvent{ID: t.text("id"), State: t.text("state"), Consumer: t.text("consumer"), Idle: t.span("idle-ms", -1),
			Deliveries: t.count("deliveries"), Failures: t.count("failures"), Error: t.text("error")}
		if due := t.number("due-ms", -1); due >= 0 {
			events[i].Due = time.UnixMilli(due)
		}
		switch key := t.elements["key"].(type) {
		case nil:
		case []any:
			events[i].Key = t.texts("key")
		default:
			text, err := asText(key)
			if err != nil {
				return nil, err
			}
			events[i].Key = []string{text}
		}
		if t.err != nil {
			return nil, t.err
		}
	}
	return events, nil
}

// Pause stops the delivery of events to a group.
func (c *Client) Pause(ctx context.Context, stream, group string) error {
	_, err := c.Do(ctx, "DIRTY.PAUSE", stream, "GROUP", group, "ON")
	return err
}

// Resume ends what [Client.Pause] began.
func (c *Client) Resume(ctx context.Context, stream, group string) error {
	_, err := c.Do(ctx, "DIRTY.PAUSE", stream, "GROUP", group, "OFF")
	return err
}

// Forget removes a group (kind "GROUP") or a cursor (kind "CURSOR") with all its state, and reports whether there was one.
func (c *Client) Forget(ctx context.Context, stream, kind, name string) (bool, error) {
	count, err := c.integer(ctx, "DIRTY.FORGET", stream, kind, name)
	return count == 1, err
}

// Commit carries out the flushes that wait under these tokens (Defer), each in all partitions. It returns the effects of each
// token's operations, nil for a token under which nothing waits any more. A partition is one unit.
//
// A flush that this version of the module cannot read has the effect "unreadable", and goes on waiting.
func (e *Entity[T]) Commit(ctx context.Context, client *Client, tokens ...string) ([][]Effect, error) {
	effects := make([][]Effect, len(tokens))
	for _, key := range partitioned(e.schema.key, e.schema.partitions, nil) {
		reply, err := client.Do(ctx, appended([]any{"DIRTY.COMMIT", key}, tokens...)...)
		if err != nil {
			return effects, err
		}
		flushes, err := asArray(reply)
		if err != nil || len(flushes) != len(tokens) {
			return effects, malformedError{"expected a reply for each token"}
		}
		for i, flush := range flushes {
			if flush == nil {
				continue
			}
			outcomes, err := asArray(flush)
			if err != nil {
				return effects, err
			}
			for _, outcome := range outcomes {
				// With WITHEVENTS an outcome begins with its effect.
				if parts, ok := outcome.([]any); ok && len(parts) > 0 {
					outcome = parts[0]
				}
				text, err := asText(outcome)
				if err != nil {
					return effects, err
				}
				effects[i] = append(effects[i], Effect(text))
			}
		}
	}
	return effects, nil
}

// Abort drops the flushes that wait under these tokens, in all partitions, and returns how many there were.
func (e *Entity[T]) Abort(ctx context.Context, client *Client, tokens ...string) (int64, error) {
	total := int64(0)
	for _, key := range partitioned(e.schema.key, e.schema.partitions, nil) {
		count, err := client.integer(ctx, appended([]any{"DIRTY.ABORT", key}, tokens...)...)
		if err != nil {
			return total, err
		}
		total += count
	}
	return total, nil
}

// Deferred lists the flushes that have waited at least minAge for their COMMIT, at most count of each partition, or all
// with a count of 0.
func (e *Entity[T]) Deferred(ctx context.Context, client *Client, minAge time.Duration, count int) ([]DeferredFlush, error) {
	var flushes []DeferredFlush
	for _, key := range partitioned(e.schema.key, e.schema.partitions, nil) {
		words := option([]any{"DIRTY.DEFERRED", key}, "MINAGE", milliseconds(minAge))
		reply, err := client.Do(ctx, option(words, "COUNT", positive(count))...)
		if err != nil {
			return flushes, err
		}
		array, err := asArray(reply)
		if err != nil {
			return flushes, err
		}
		for _, element := range array {
			flush, err := deferredFlush(key, element)
			if err != nil {
				return flushes, err
			}
			flushes = append(flushes, flush)
		}
	}
	return flushes, nil
}

func deferredFlush(key string, reply any) (DeferredFlush, error) {
	parts, err := asArray(reply)
	if err != nil || len(parts) != 4 {
		return DeferredFlush{}, malformedError{"expected a token, an age, a number and operations"}
	}
	flush := DeferredFlush{Key: key}
	if flush.Token, err = asText(parts[0]); err != nil || parts[1] == nil {
		return flush, err
	}
	age, err := asInt(parts[1])
	if err != nil {
		return flush, err
	}
	flush.Readable, flush.Age = true, time.Duration(age)*time.Millisecond
	operations, err := asArray(parts[3])
	for _, operation := range operations {
		pair, err := asTexts(operation)
		if err != nil || len(pair) != 2 {
			return flush, malformedError{"expected an operation and an id"}
		}
		flush.Operations = append(flush.Operations, DeferredOperation{pair[0], pair[1]})
	}
	return flush, err
}

// settings are what a reader must know of its group.
type settings struct {
	claim time.Duration
	// order is NONE, ENTITY, STREAM or META, and meta the name of META.
	order, meta string
}

// settings are those of a group. It is a NOREADER if there is no such group.
func (c *Client) settings(ctx context.Context, stream, group string) (settings, error) {
	stats, err := c.Stats(ctx, stream)
	if err != nil {
		return settings{}, err
	}
	for _, reader := range stats.Readers {
		if reader.Name == group && reader.Kind == "group" {
			found := settings{claim: reader.Claim}
			found.order, found.meta, _ = strings.Cut(reader.Order, " ")
			return found, nil
		}
	}
	return settings{}, noGroup(stream, group)
}
