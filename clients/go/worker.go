package dirtystreams

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log"
	"net"
	"os"
	"strconv"
	"sync"
	"time"
)

// Worker handles the events of a group, which must have been declared, until its context is cancelled.
//
// An event is acknowledged when its handler has returned nil. If it returns an error, the event comes again after a
// while, and later events of the same key (ORDER of the group) are passed over: they come after it. While handlers run,
// the worker says HOLD, so the group's CLAIM may be shorter than a handler takes. Outages are waited out.
//
// Events are delivered at least once: a handler may get an event twice, after an outage or a crash.
type Worker[T any] struct {
	Client *Client
	Stream string
	Group  string
	// Handle handles one event. Its context is cancelled when another consumer has the event, not when the worker is
	// told to end.
	Handle func(ctx context.Context, event *Event[T]) error

	// Partitions is the number of partitions of the entity type. Each has a goroutine that waits for its events.
	Partitions int
	// Only are the partitions that this worker reads, if not all.
	Only []int
	// Consumers is the number of consumers at each stream, 1 by default. Several handle the events of different keys
	// at the same time, if Concurrency lets them.
	Consumers int
	// Concurrency is the number of handlers that run at the same time, by default as many as there are consumers at
	// one stream. Partitions take turns, event by event, in the order in which they come.
	Concurrency int

	// Count is how many events one call takes at most, 100 by default.
	Count int
	// Block is how long one call waits, a second by default. The Redis client must wait longer. A worker that is told
	// to end does so when its call returns.
	Block time.Duration
	// Backoff is the time after which an event comes again whose first delivery failed, a second by default; it doubles
	// with each delivery, up to MaxBackoff, a minute by default.
	Backoff, MaxBackoff time.Duration
	// Fatal tells errors of the handler after which the event dies at once, besides those of [Fatal].
	Fatal func(error) bool
	// Missed is told how many events were trimmed or deleted unread, -1 if the number is unknown. By default it is logged.
	Missed func(stream string, count int64)
	// UntilIdle ends the worker when there is nothing for it to do; for tests and jobs.
	UntilIdle bool
	// Logf is told of failures, dead events, outages and lost events; log.Printf by default.
	Logf func(format string, arguments ...any)
}

// Run handles events until the context is cancelled; then it finishes the handler in hand, acknowledges, leaves the
// group, and returns nil. It returns an error that waiting does not mend, such as NOREADER.
func (w *Worker[T]) Run(ctx context.Context) error {
	if w.Client == nil || w.Handle == nil {
		return errors.New("dirtystreams: a Worker requires Client and Handle")
	}
	known, err := schemaFor[T](w.Client)
	if err != nil {
		return err
	}
	consumers := atLeastOne(w.Consumers)
	concurrency := w.Concurrency
	if concurrency < 1 {
		concurrency = consumers
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	turns := make(chan struct{}, concurrency)
	var loops []func() error
	for _, stream := range partitioned(w.Stream, w.Partitions, w.Only) {
		for i := 0; i < consumers; i++ {
			l := &loop[T]{Worker: w, stream: stream, consumer: consumerName(), turns: turns, known: known}
			loops = append(loops, func() error { return l.run(ctx) })
		}
	}
	return together(cancel, loops)
}

// together runs the functions at the same time, and cancels all when one fails.
func together(cancel func(), loops []func() error) error {
	ended := make(chan error, len(loops))
	for _, loop := range loops {
		loop := loop
		go func() { ended <- loop() }()
	}
	var first error
	for range loops {
		if err := <-ended; err != nil && first == nil {
			first = err
			cancel()
		}
	}
	return first
}

func atLeastOne(n int) int {
	if n < 1 {
		return 1
	}
	return n
}

// consumerName is a name that no other process has, nor this one after a restart.
func consumerName() string {
	host, err := os.Hostname()
	if err != nil {
		host = "host"
	}
	random := make([]byte, 6)
	if _, err := rand.Read(random); err != nil {
		panic(err)
	}
	return fmt.Sprintf("%s-%d-%s", host, os.Getpid(), hex.EncodeToString(random))
}

// detached is a context with the values of another one, which does not end with it.
type detached struct{ context.Context }

func (detached) Deadline() (time.Time, bool) { return time.Time{}, false }
func (detached) Done() <-chan struct{}       { return nil }
func (detached) Err() error                  { return nil }

// replyTimeout is how long a call may take besides BLOCK.
const replyTimeout = 10 * time.Second

// calling is a context for one call, which ends in order also when the reader is told to end.
func calling(ctx context.Context, block time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(detached{ctx}, block+replyTimeout)
}

// outage waits longer and longer while Redis is away.
type outage struct{ wait time.Duration }

const minOutage, maxOutage = 50 * time.Millisecond, 5 * time.Second

// over waits after an error. It returns the error if waiting does not mend it, and false if the context has ended.
func (o *outage) over(ctx context.Context, err error, logf func(string, ...any)) (bool, error) {
	if !IsOutage(err) {
		return false, err
	}
	if o.wait == 0 {
		o.wait = minOutage
		logf("dirtystreams: Redis is away: %v%s", err, hint(err))
	} else if o.wait *= 2; o.wait > maxOutage {
		o.wait = maxOutage
	}
	timer := time.NewTimer(o.wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true, nil
	case <-ctx.Done():
		return false, nil
	}
}

// hint tells of a frequent mistake: the Redis client waits for a reply shorter than BLOCK.
func hint(err error) string {
	var network net.Error
	if errors.As(err, &network) && network.Timeout() && !errors.Is(err, context.DeadlineExceeded) {
		return " (the Redis client's read time-out must be longer than Block)"
	}
	return ""
}

func (o *outage) ended() { o.wait = 0 }

func logger(logf func(string, ...any)) func(string, ...any) {
	if logf == nil {
		return log.Printf
	}
	return logf
}

func orDefault(d, otherwise time.Duration) time.Duration {
	if d <= 0 {
		return otherwise
	}
	return d
}

// state is how far the loop is with an event.
type state int

const (
	waiting state = iota
	running
	done  // handled, and not yet acknowledged
	ended // acknowledged, failed, passed over, or lost to another consumer
)

// item is an event that the loop holds.
type item struct {
	wire    wireEvent
	id      string
	key     string
	ordered bool

	state  state
	lost   bool
	cancel context.CancelFunc // of the running handler
}

// loop is one consumer of one stream.
type loop[T any] struct {
	*Worker[T]
	stream   string
	consumer string
	turns    chan struct{}
	known    *schema
	outage   outage

	mutex sync.Mutex
	items []*item
}

func (l *loop[T]) logf(format string, arguments ...any) { logger(l.Logf)(format, arguments...) }

func (l *loop[T]) run(ctx context.Context) error {
	err := l.consume(ctx)
	// Whatever it was, what is done is acknowledged, and the rest goes to others at once.
	leaving, cancel := calling(ctx, 0)
	defer cancel()
	if ids := l.ids(done); len(ids) > 0 {
		if _, ackErr := l.Client.Ack(leaving, l.stream, l.Group, l.consumer, ids...); ackErr != nil && err == nil {
			l.logf("dirtystreams: the last events of %q were not acknowledged and come again: %v", l.stream, ackErr)
		}
	}
	if _, leaveErr := l.Client.Leave(leaving, l.stream, l.Group, l.consumer); leaveErr != nil && err == nil {
		l.logf("dirtystreams: %q was not left, its events come again after CLAIM: %v", l.stream, leaveErr)
	}
	return err
}

// consume reads and handles until the context ends.
func (l *loop[T]) consume(ctx context.Context) error {
	var known settings
	var read time.Time // when `known` was read; zero if it may have changed
	repeated := false
	for ctx.Err() == nil {
		var batch batch
		var err error
		if time.Since(read) > time.Minute {
			call, cancel := calling(ctx, 0)
			known, err = l.Client.settings(call, l.stream, l.Group)
			cancel()
			read = time.Now()
		}
		if err == nil {
			batch, err = l.next(ctx)
		}
		if err != nil {
			read, repeated = time.Time{}, true
			if again, err := l.outage.over(ctx, err, l.logf); !again {
				return err
			}
			continue
		}
		l.outage.ended()
		l.acknowledged(batch.notHeld, repeated)
		if len(batch.notHeld) > 0 {
			read = time.Time{}
		}
		repeated = false
		if batch.missed != 0 {
			l.missed(batch.missed)
		}
		if len(batch.events) == 0 && !batch.more && l.UntilIdle {
			return nil
		}
		l.take(batch.events, known)
		if err := l.handleAll(ctx, known); err != nil {
			return err
		}
		if l.late() {
			// Perhaps CLAIM is shorter now.
			read = time.Time{}
		}
	}
	return nil
}

// late reports whether an event of the batch has gone to another consumer.
func (l *loop[T]) late() bool {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	for _, item := range l.items {
		if item.lost {
			return true
		}
	}
	return false
}

func (l *loop[T]) missed(count int64) {
	if l.Missed != nil {
		l.Missed(l.stream, count)
		return
	}
	l.logf("%v", &MissedError{l.stream, count})
}

// next acknowledges what is done and reads the next events. PENDING brings those of a lost reply, which this consumer
// holds without knowing it, also if the Redis client has sent the command again by itself; else it changes nothing,
// since nothing is held then.
func (l *loop[T]) next(ctx context.Context) (batch, error) {
	block := orDefault(l.Block, time.Second)
	words := []any{"DIRTY.CONSUME", l.stream, "GROUP", l.Group, l.consumer}
	if ids := l.ids(done); len(ids) > 0 {
		words = counted(append(words, "ACK"), ids...)
	}
	words = append(words, "PENDING", "COUNT", strconv.Itoa(orCount(l.Count)), "JSON")
	if l.UntilIdle {
		block = 0
	} else {
		words = append(words, "BLOCK", milliseconds(block))
	}
	call, cancel := calling(ctx, block)
	defer cancel()
	return l.Client.batch(call, words)
}

func orCount(count int) int {
	if count < 1 {
		return 100
	}
	return count
}

// acknowledged ends the events that were done. Those that were not held have gone to another consumer, or were
// acknowledged by a call whose reply was lost.
func (l *loop[T]) acknowledged(notHeld []string, repeated bool) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	for _, item := range l.items {
		if item.state == done {
			item.state = ended
		}
	}
	if !repeated {
		for _, id := range notHeld {
			l.logf("dirtystreams: event %s of %q was handled too late: another consumer has got it, too", id, l.stream)
		}
	}
}

func (l *loop[T]) ids(states ...state) []string {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	var ids []string
	for _, item := range l.items {
		for _, state := range states {
			if item.state == state && !item.lost {
				ids = append(ids, item.id)
			}
		}
	}
	return ids
}

func (l *loop[T]) take(events []wireEvent, known settings) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.items = l.items[:0]
	for _, wire := range events {
		taken := &item{wire: wire}
		if wire.ID != nil {
			taken.id = string(*wire.ID)
		}
		taken.key, taken.ordered = known.key(wire)
		l.items = append(l.items, taken)
	}
}

// handleAll handles the events of a batch, while another goroutine holds them.
func (l *loop[T]) handleAll(ctx context.Context, known settings) error {
	if len(l.items) == 0 {
		return nil
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		l.hold(ctx, known.claim/3, stop)
	}()
	defer func() {
		close(stop)
		<-stopped
	}()
	for _, item := range l.items {
		select {
		case l.turns <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
		err := l.handle(ctx, item)
		<-l.turns
		if err != nil || ctx.Err() != nil {
			return err
		}
	}
	return nil
}

// hold tells Redis that the events are being worked on, and acknowledges what is done, until it is stopped.
func (l *loop[T]) hold(ctx context.Context, every time.Duration, stop chan struct{}) {
	if every <= 0 {
		return
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-stop:
			return
		case <-ticker.C:
		}
		call, cancel := calling(ctx, 0)
		if ids := l.ids(done); len(ids) > 0 {
			if notHeld, err := l.Client.Ack(call, l.stream, l.Group, l.consumer, ids...); err == nil {
				l.settled(ids, notHeld)
			}
		}
		if ids := l.ids(waiting, running); len(ids) > 0 {
			if notHeld, err := l.Client.Hold(call, l.stream, l.Group, l.consumer, ids...); err == nil {
				l.lose(notHeld)
			}
		}
		cancel()
	}
}

// settled ends events that were acknowledged while others are handled.
func (l *loop[T]) settled(ids, notHeld []string) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	acknowledged := set(ids)
	for _, item := range l.items {
		if item.state == done && acknowledged[item.id] {
			item.state = ended
		}
	}
	for _, id := range notHeld {
		l.logf("dirtystreams: event %s of %q was handled too late: another consumer has got it, too", id, l.stream)
	}
}

// lose marks events that another consumer has: they are passed over, or their handler is told.
func (l *loop[T]) lose(ids []string) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	lost := set(ids)
	for _, item := range l.items {
		if !lost[item.id] || item.state == done || item.state == ended {
			continue
		}
		item.lost = true
		if item.cancel != nil {
			item.cancel()
		}
	}
}

func set(texts []string) map[string]bool {
	all := make(map[string]bool, len(texts))
	for _, text := range texts {
		all[text] = true
	}
	return all
}

// begin marks an event as running, or reports that it must not be handled.
func (l *loop[T]) begin(item *item, cancel context.CancelFunc) bool {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if item.state != waiting {
		return false
	}
	if item.lost {
		item.state = ended
		return false
	}
	item.state, item.cancel = running, cancel
	return true
}

// finish marks an event as handled, and reports whether this consumer still had it.
func (l *loop[T]) finish(item *item, failed bool) bool {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	item.cancel = nil
	item.state = done
	if failed || item.lost {
		item.state = ended
	}
	if failed && item.ordered {
		// The group gives these back with the failed one.
		for _, later := range l.items {
			if later.state == waiting && later.ordered && later.key == item.key {
				later.state = ended
			}
		}
	}
	return !item.lost
}

// handle calls the handler with one event, and tells the group if it fails.
func (l *loop[T]) handle(ctx context.Context, item *item) error {
	handling, cancel := context.WithCancel(detached{ctx})
	defer cancel()
	if !l.begin(item, cancel) {
		return nil
	}
	event, err := typedEvent[T](item.wire, l.stream, l.known)
	if err == nil {
		err = l.Handle(handling, event)
	}
	if held := l.finish(item, err != nil); !held {
		l.logf("dirtystreams: event %s of %q was handled too late: another consumer has got it, too", item.id, l.stream)
		return nil
	}
	if err == nil {
		return nil
	}
	l.logf("dirtystreams: event %s of %q failed: %v", item.id, l.stream, err)
	return l.fail(ctx, item, err)
}

func (l *loop[T]) fail(ctx context.Context, item *item, why error) error {
	for {
		var fates []string
		var err error
		call, cancel := calling(ctx, 0)
		if isFatal(why) || (l.Fatal != nil && l.Fatal(why)) {
			fates, err = l.Client.FailFatal(call, l.stream, l.Group, l.consumer, why.Error(), item.id)
		} else {
			fates, err = l.Client.Fail(call, l.stream, l.Group, l.consumer, why.Error(), l.delay(item.wire.Deliveries), item.id)
		}
		cancel()
		if err == nil {
			l.outage.ended()
			if len(fates) == 1 && fates[0] == "dead" {
				l.logf("dirtystreams: event %s of %q is dead", item.id, l.stream)
			}
			return nil
		}
		if again, err := l.outage.over(ctx, err, l.logf); !again {
			return err
		}
	}
}

// delay is the time after which an event comes again that was delivered so often.
func (l *loop[T]) delay(deliveries int) time.Duration {
	delay, limit := orDefault(l.Backoff, time.Second), orDefault(l.MaxBackoff, time.Minute)
	for ; deliveries > 1 && delay < limit; deliveries-- {
		delay *= 2
	}
	if delay > limit {
		return limit
	}
	return delay
}
