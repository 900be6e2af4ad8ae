package dirtystreams

import (
	"context"
	"errors"
	"strconv"
	"time"
)

// Batch is what a [Follower] hands over: all events up to a position.
type Batch[T any] struct {
	Stream string
	Events []*Event[T]
	// More is false at the head of the stream.
	More bool
	// Position is the place after these events. A program that reads without a cursor stores it with its own data.
	Position string
	// Begin is true in the batch with which the entities of a snapshot begin: forget what you had before it, or compare.
	// Phase is "snapshot" until the last page, which has "stream"; later batches have nothing.
	Begin bool
	Phase string
}

// Follower reads a stream in order: through a cursor, which must have been declared, or from a position that the program
// keeps (DIRTY.READ).
//
// A batch is acknowledged when its handler has returned nil. Outages are waited out, and the reader goes on from its
// last acknowledgement, so a batch may come twice.
type Follower[T any] struct {
	Client *Client
	Stream string
	// Handle takes a batch, which may have no events. Its context is not cancelled when the follower is told to end.
	Handle func(ctx context.Context, batch *Batch[T]) error

	// Cursor is the cursor's name; without one the program keeps the position.
	Cursor string
	// Position is where to begin without a cursor: "0", "$", a position, or a time in ms. With Partitions, Positions
	// has those of the single streams, as Batch.Stream names them.
	Position  string
	Positions map[string]string
	// Where are the words after WHERE, without a cursor.
	Where []string

	// Snapshot are the keys of the declarations that the cursor began with, without partitions. If events were missed,
	// the cursor gets their entities again: a batch has Begin.
	Snapshot []string
	// Missed is told how many events were trimmed or deleted unread, -1 if the number is unknown. It may return nil to
	// go on all the same. Without it, Run returns a *[MissedError], unless there is a Snapshot to begin again with.
	Missed func(stream string, count int64) error

	// Partitions is the number of partitions of the entity type; each has a goroutine. Handlers run one at a time.
	Partitions int
	// Only are the partitions that are read, if not all.
	Only []int

	// Count is how many events one call takes at most, 100 by default.
	Count int
	// Block is how long one call waits, a second by default. The Redis client must wait longer.
	Block time.Duration
	// UntilHead ends the follower at the head of the stream.
	UntilHead bool
	// Logf is told of outages; log.Printf by default.
	Logf func(format string, arguments ...any)
}

// Run hands over batches until the context is cancelled; then it acknowledges what was handled, and returns nil. It
// returns the error of a handler, whose batch comes again, and errors that waiting does not mend.
func (f *Follower[T]) Run(ctx context.Context) error {
	if f.Client == nil || f.Handle == nil {
		return errors.New("dirtystreams: a Follower requires Client and Handle")
	}
	switch {
	case f.Cursor != "" && (f.Position != "" || len(f.Positions) > 0 || len(f.Where) > 0):
		return errors.New("dirtystreams: Position, Positions and Where are for a Follower without a Cursor; DeclareCursor takes From and Where")
	case f.Cursor == "" && len(f.Snapshot) > 0:
		return errors.New("dirtystreams: a Follower with a Snapshot requires a Cursor that was declared with it")
	}
	known, err := schemaFor[T](f.Client)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	turn := make(chan struct{}, 1)
	only := f.Only
	if only == nil {
		for partition := 0; partition < atLeastOne(f.Partitions); partition++ {
			only = append(only, partition)
		}
	}
	var loops []func() error
	for i, stream := range partitioned(f.Stream, f.Partitions, only) {
		r := &following[T]{Follower: f, stream: stream, turn: turn, known: known,
			snapshot: inPartition(f.Snapshot, only[i], f.Partitions), from: f.Position}
		if position, ok := f.Positions[stream]; ok {
			r.from = position
		}
		if r.from == "" {
			r.from = "0"
		}
		loops = append(loops, func() error { return r.run(ctx) })
	}
	return together(cancel, loops)
}

// following reads one stream.
type following[T any] struct {
	*Follower[T]
	stream   string
	snapshot []string
	turn     chan struct{}
	known    *schema
	outage   outage

	handled string // the position to acknowledge
	from    string // without a cursor, where to go on
}

func (f *following[T]) run(ctx context.Context) error {
	err := f.read(ctx)
	if f.Cursor == "" || f.handled == "" {
		return err
	}
	leaving, cancel := calling(ctx, 0)
	defer cancel()
	if _, ackErr := f.Client.AckCursor(leaving, f.stream, f.Cursor, f.handled); ackErr != nil && err == nil {
		logger(f.Logf)("dirtystreams: the last events of %q were not acknowledged and come again: %v", f.stream, ackErr)
	}
	return err
}

func (f *following[T]) read(ctx context.Context) error {
	for ctx.Err() == nil {
		batch, err := f.next(ctx)
		if err != nil {
			if again, err := f.outage.over(ctx, err, logger(f.Logf)); !again {
				return err
			}
			continue
		}
		f.outage.ended()
		f.handled = ""
		if batch.missed != 0 {
			skip, err := f.missed(ctx, batch.missed)
			if err != nil {
				return err
			}
			if skip {
				continue
			}
		}
		if err := f.handle(ctx, batch); err != nil {
			return err
		}
		if f.UntilHead && !batch.more && batch.phase != "snapshot" {
			return nil
		}
	}
	return nil
}

// missed decides what happens after events that nobody can get any more: whether this batch is left out.
func (f *following[T]) missed(ctx context.Context, count int64) (skip bool, err error) {
	if f.Missed != nil {
		if err := f.Missed(f.stream, count); err != nil {
			return false, err
		}
	}
	if f.Cursor == "" || len(f.snapshot) == 0 {
		if f.Missed == nil {
			err = &MissedError{f.stream, count}
		}
		return false, err
	}
	for {
		call, cancel := calling(ctx, 0)
		err := f.Client.SeekSnapshot(call, f.stream, f.Cursor, f.snapshot...)
		cancel()
		if err == nil {
			f.outage.ended()
			return true, nil
		}
		if again, err := f.outage.over(ctx, err, logger(f.Logf)); !again {
			return true, err
		}
	}
}

func (f *following[T]) next(ctx context.Context) (batch, error) {
	var words []any
	if f.Cursor != "" {
		words = []any{"DIRTY.CONSUME", f.stream, "CURSOR", f.Cursor}
		words = option(words, "ACK", f.handled)
	} else {
		words = []any{"DIRTY.READ", f.stream, "FROM", f.from}
	}
	words = append(words, "COUNT", strconv.Itoa(orCount(f.Count)), "JSON")
	var block time.Duration
	if !f.UntilHead {
		block = orDefault(f.Block, time.Second)
		words = append(words, "BLOCK", milliseconds(block))
	}
	if f.Cursor == "" && len(f.Where) > 0 {
		words = appended(append(words, "WHERE"), f.Where...)
	}
	call, cancel := calling(ctx, block)
	defer cancel()
	return f.Client.batch(call, words)
}

// handle hands a batch over, unless it tells nothing.
func (f *following[T]) handle(ctx context.Context, read batch) error {
	batch := &Batch[T]{Stream: f.stream, More: read.more, Position: read.position, Begin: read.begin, Phase: read.phase}
	for _, wire := range read.events {
		event, err := typedEvent[T](wire, f.stream, f.known)
		if err != nil {
			return err
		}
		batch.Events = append(batch.Events, event)
	}
	moved := read.position != f.from
	if len(batch.Events) > 0 || batch.Begin || batch.Phase != "" || (f.Cursor == "" && moved) {
		select {
		case f.turn <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
		err := f.Handle(detached{ctx}, batch)
		<-f.turn
		if err != nil {
			return err
		}
	}
	f.handled = read.position
	f.from = read.position
	return nil
}
