package redistest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"dirtystreams"
	"dirtystreams/internal/testserver"
)

// mailer declares the group mailer of user-changes.
func (b *bench) mailer(group dirtystreams.Group) {
	b.Helper()
	group.Stream, group.Name, group.From = "user-changes", "mailer", "0"
	b.must(b.DeclareGroup(b.ctx, group))
}

// worker handles the events of the group mailer by a function that is told of each in one line.
func (b *bench) worker(handle func(ctx context.Context, told string) error) *dirtystreams.Worker[User] {
	w := &dirtystreams.Worker[User]{Client: b.Client, Stream: "user-changes", Group: "mailer",
		Block: 200 * time.Millisecond, Backoff: 20 * time.Millisecond, MaxBackoff: 100 * time.Millisecond, Logf: b.log.add}
	w.Handle = func(ctx context.Context, e *dirtystreams.Event[User]) error {
		name := ""
		if e.New != nil {
			name = e.New.Name
		}
		return handle(ctx, fmt.Sprintf("%s %s %s", e.Op, e.EntityID, name))
	}
	return w
}

func (b *bench) drained() bool {
	group := b.group("user-changes", "mailer")
	return sprint(group["lag"], group["pending"]) == "0 0"
}

func TestAWorkerHandlesInOrderAcknowledgesAndLeaves(t *testing.T) {
	b := on(t, shared, users())
	b.mailer(dirtystreams.Group{Order: "ENTITY"})
	seen := &lines{}
	w := b.worker(func(_ context.Context, told string) error { seen.add("%s", told); return nil })
	r := b.background(w.Run)
	b.flush(User{ID: 1, Name: "A"}, User{ID: 2, Name: "B"}, User{ID: 1, Name: "AA"})
	b.patiently("all handled", b.drained)
	b.flush(users().Delete(1))
	b.patiently("all handled", b.drained)
	if err := r.end(); err != nil {
		t.Fatal(err)
	}
	if want := "insert 1 A; insert 2 B; update 1 AA; delete 1 "; seen.String() != want {
		t.Errorf("%q, not %q", seen, want)
	}
	if left := b.group("user-changes", "mailer")["consumers"].([]any); len(left) != 0 {
		t.Error("the consumer is still there")
	}
	if b.log.len() != 0 {
		t.Error("the log is ", b.log)
	}
}

func TestLaterEventsOfAFailedKeyArePassedOverAndComeAfterIt(t *testing.T) {
	for _, c := range []struct{ order, want string }{
		{"ENTITY", "1a 2a 2b | 1a 1b"},
		{"META tenant", "1a | 1a 1b 2a 2b"},
		{"STREAM", "1a | 1a 1b 2a 2b"},
		{"NONE", "1a 1b 2a 2b | 1a"},
	} {
		b := on(t, shared, users())
		b.mailer(dirtystreams.Group{Order: c.order})
		failed := false
		var seen []string
		w := b.worker(func(_ context.Context, told string) error {
			words := strings.Fields(told)
			seen = append(seen, words[1]+words[2])
			if !failed {
				failed = true
				return errors.New("no template")
			}
			return nil
		})
		meta := dirtystreams.FlushOptions{Meta: map[string]string{"tenant": "acme"}}
		_, err := b.FlushWith(b.ctx, meta, User{ID: 1, Name: "a"}, User{ID: 1, Name: "b"}, User{ID: 2, Name: "a"}, User{ID: 2, Name: "b"})
		b.must(nil, err)
		// It does not come again in this run, however slow the machine is.
		w.UntilIdle, w.Backoff, w.MaxBackoff = true, time.Hour, time.Hour
		b.must(nil, w.Run(b.ctx))
		seen = append(seen, "|")
		b.must(b.Redrive(b.ctx, "user-changes", "mailer"))
		b.must(nil, w.Run(b.ctx))
		b.patiently("nothing pending", b.drained)
		if got := strings.Join(seen, " "); got != c.want {
			t.Errorf("ORDER %s: %s, not %s", c.order, got, c.want)
		}
		if !b.log.has("no template") || b.log.len() != 1 {
			t.Errorf("the log is %s", b.log)
		}
	}
}

func TestAnEventThatAlwaysFailsDiesAndIsRedriven(t *testing.T) {
	for name, c := range map[string]struct {
		err        error
		fatal      func(error) bool
		deliveries string
	}{
		"MAXDELIVERIES": {err: errors.New("no such printer"), deliveries: "3"},
		"Fatal":         {err: fmt.Errorf("wrapped: %w", dirtystreams.Fatal(errors.New("no such printer"))), deliveries: "1"},
		"by its kind":   {err: os.ErrNotExist, fatal: func(err error) bool { return errors.Is(err, os.ErrNotExist) }, deliveries: "1"},
	} {
		b := on(t, shared, users())
		b.mailer(dirtystreams.Group{Order: "ENTITY", MaxDeliveries: 3, OnDead: "PARK"})
		var broken atomic.Bool
		broken.Store(true)
		seen := &lines{}
		w := b.worker(func(_ context.Context, told string) error {
			if broken.Load() {
				return c.err
			}
			seen.add("%s", told)
			return nil
		})
		w.Fatal = c.fatal
		r := b.background(w.Run)
		b.flush(User{ID: 1, Name: "a"})
		b.patiently(name+": it is dead", func() bool { return sprint(pairs(b.do("DIRTY.STATS user-changes"))["dead"]) == "1" })
		dead := read[User](b, "user-changes:dead")[0]
		if dead.Dead == nil || dead.Dead.Error != c.err.Error() || sprint(dead.Dead.Deliveries) != c.deliveries ||
			dead.Dead.Reader != "mailer" || time.Since(dead.Dead.Last) > time.Minute {
			t.Errorf("%s: %+v", name, dead.Dead)
		}
		b.patiently(name+": it is told", func() bool { return b.log.has(dead.Dead.ID + ` of "user-changes" is dead`) })
		broken.Store(false)
		b.flush(User{ID: 1, Name: "b"})
		if n, err := b.Redrive(b.ctx, "user-changes", "mailer"); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		b.patiently("all handled", b.drained)
		b.must(nil, r.end())
		if seen.String() != "insert 1 a; update 1 b" {
			t.Errorf("%s: %s", name, seen)
		}
	}
}

func TestAWorkerGoesOnWhenItsConnectionsAreKilledWhileItWaits(t *testing.T) {
	b := on(t, shared, users())
	b.mailer(dirtystreams.Group{Order: "ENTITY"})
	seen := &lines{}
	r := b.background(b.worker(func(_ context.Context, told string) error { seen.add("%s", told); return nil }).Run)
	for i := int64(1); i <= 5; i++ {
		b.patiently("the worker waits", func() bool {
			consumers := b.group("user-changes", "mailer")["consumers"].([]any)
			return len(consumers) == 1 && sprint(pairs(consumers[0])["waiting"]) != "0" && sprint(pairs(consumers[0])["waiting"]) != "false"
		})
		b.Do(b.ctx, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
		b.patiently("the connection is new", func() bool { _, err := b.Do(b.ctx, "PING"); return err == nil })
		b.flush(User{ID: i})
		b.patiently("it is handled", b.drained)
	}
	b.must(nil, r.end())
	if seen.len() < 5 {
		t.Error(seen)
	}
}

func TestAWorkerSurvivesAServerThatIsKilledAndComesBack(t *testing.T) {
	s, err := testserver.Start()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Stop()
	b := on(t, s, users())
	b.mailer(dirtystreams.Group{Order: "ENTITY"})
	handled := map[string]int{}
	var mutex sync.Mutex
	w := b.worker(func(_ context.Context, told string) error {
		mutex.Lock()
		defer mutex.Unlock()
		handled[strings.Fields(told)[1]]++
		return nil
	})
	w.Count = 3
	r := b.background(w.Run)
	for round := int64(0); round < 3; round++ {
		for id := round * 100; id < round*100+100; id++ {
			b.flush(User{ID: id})
		}
		s.Kill()
		if err := s.Launch(); err != nil {
			t.Fatal(err)
		}
		b.patiently("the server is back", func() bool { _, err := b.Do(b.ctx, "PING"); return err == nil })
	}
	b.patiently("all handled", b.drained)
	b.must(nil, r.end())
	if len(handled) != 300 {
		t.Errorf("%d of 300 were handled", len(handled))
	}
	// go-redis waits a second by itself before it tells.
	if library == "redigo" && !b.log.has("Redis is away") {
		t.Error("the outage was not told of")
	}
}

// forgetful is a connection that loses replies of a command after it was carried out.
type forgetful struct {
	dirtystreams.Doer
	command string
	every   int64
	calls   atomic.Int64
}

func (f *forgetful) Do(ctx context.Context, args ...any) (any, error) {
	reply, err := f.Doer.Do(ctx, args...)
	if args[0] == f.command && f.calls.Add(1)%f.every == 0 {
		return nil, io.EOF
	}
	return reply, err
}

func TestNothingWaitsForClaimWhenRepliesAreLost(t *testing.T) {
	for _, command := range []string{"DIRTY.CONSUME", "DIRTY.FAIL", "DIRTY.STATS"} {
		for _, deliveries := range []int{0, 5} {
			b := on(t, shared, users())
			b.mailer(dirtystreams.Group{Order: "ENTITY", Claim: time.Hour, MaxDeliveries: deliveries})
			doer, shut := connect(shared.Address)
			lossy := dirtystreams.New(&forgetful{Doer: doer, command: command, every: 2}, users())
			seen := &lines{}
			w := b.worker(func(_ context.Context, told string) error {
				seen.add("%s", told)
				if seen.len() == 3 {
					return errors.New("one fails")
				}
				return nil
			})
			w.Client, w.Count = lossy, 2
			for id := int64(1); id <= 6; id++ {
				b.flush(User{ID: id, Name: "n"})
			}
			r := b.background(w.Run)
			b.patiently(command+": all handled", b.drained)
			b.must(nil, r.end())
			shut()
			for id := 1; id <= 6; id++ {
				if !seen.has(fmt.Sprintf("insert %d n", id)) {
					t.Errorf("%s: user %d was not handled", command, id)
				}
			}
		}
	}
}

func TestALongHandlerKeepsItsEventsByHold(t *testing.T) {
	b := on(t, shared, users())
	b.mailer(dirtystreams.Group{Order: "ENTITY", Claim: 1500 * time.Millisecond, MaxDeliveries: 2})
	seen := &lines{}
	slow := func(_ context.Context, told string) error {
		time.Sleep(2 * time.Second)
		seen.add("%s", told)
		return nil
	}
	b.flush(User{ID: 1, Name: "a"}, User{ID: 2, Name: "b"})
	r := b.background(b.worker(slow).Run)
	b.patiently("the first has all", func() bool { return sprint(b.group("user-changes", "mailer")["held"]) == "2" })
	other := b.background(b.worker(slow).Run)
	b.patiently("all handled", b.drained)
	b.must(nil, r.end())
	b.must(nil, other.end())
	if want := "insert 1 a; insert 2 b"; seen.String() != want || b.log.len() != 0 {
		t.Errorf("%s; log %s", seen, b.log)
	}
}

func TestAShorterClaimIsHeardOfAfterItWasMissed(t *testing.T) {
	b := on(t, shared, users())
	b.mailer(dirtystreams.Group{Claim: time.Hour})
	handled := &lines{}
	w := b.worker(func(_ context.Context, told string) error {
		time.Sleep(1800 * time.Millisecond)
		handled.add("%s", told)
		return nil
	})
	w.Count = 1
	first := b.background(w.Run)
	b.patiently("it waits", func() bool { return len(b.group("user-changes", "mailer")["consumers"].([]any)) == 1 })
	b.mailer(dirtystreams.Group{Claim: 1200 * time.Millisecond})
	b.flush(User{ID: 1})
	b.patiently("it has the first", func() bool { return sprint(b.group("user-changes", "mailer")["held"]) == "1" })
	second := b.background(w.Run)
	b.patiently("both handle it", func() bool { return handled.len() == 2 && b.drained() })
	b.flush(User{ID: 2}, User{ID: 3}, User{ID: 4})
	b.patiently("all handled", b.drained)
	b.must(nil, first.end())
	b.must(nil, second.end())
	if handled.len() != 5 {
		t.Error(handled)
	}
}

func TestAHandlerIsToldThatItsEventIsLostAndOthersArePassedOver(t *testing.T) {
	b := on(t, shared, users())
	b.mailer(dirtystreams.Group{Claim: 200 * time.Millisecond})
	b.flush(User{ID: 1, Name: "a"}, User{ID: 2, Name: "b"})
	seen := &lines{}
	w := b.worker(func(ctx context.Context, told string) error {
		seen.add("%s", told)
		held := b.do("DIRTY.PENDING user-changes GROUP mailer").([]any)
		for _, event := range held {
			b.do("DIRTY.ACK user-changes GROUP mailer operator FORCE " + text(pairs(event)["id"]))
		}
		select {
		case <-ctx.Done():
			seen.add("%v", ctx.Err())
			return ctx.Err()
		case <-time.After(5 * time.Second):
			return errors.New("nobody told")
		}
	})
	r := b.background(w.Run)
	b.patiently("the first is told of", func() bool { return b.log.has("too late") })
	b.must(nil, r.end())
	if seen.String() != "insert 1 a; context canceled" || b.log.len() != 1 {
		t.Errorf("%s; log %s", seen, b.log)
	}
}

func TestAWorkerThatIsToldToEndFinishesTheHandlerAndGivesTheRestBack(t *testing.T) {
	b := on(t, shared, users())
	b.mailer(dirtystreams.Group{Order: "ENTITY", Claim: time.Hour})
	b.flush(User{ID: 1, Name: "a"}, User{ID: 2, Name: "b"})
	seen := &lines{}
	begun := make(chan bool)
	w := b.worker(func(ctx context.Context, told string) error {
		close(begun)
		time.Sleep(300 * time.Millisecond)
		seen.add("%s %v", told, ctx.Err())
		return nil
	})
	r := b.background(w.Run)
	<-begun
	b.must(nil, r.end())
	if seen.String() != "insert 1 a <nil>" {
		t.Error(seen)
	}
	group := b.group("user-changes", "mailer")
	if sprint(group["pending"], group["acknowledged"], group["held"]) != "1 1 0" {
		t.Error(group)
	}
	next := b.worker(func(_ context.Context, told string) error { seen.add("%s", told); return nil })
	next.UntilIdle = true
	b.must(nil, next.Run(b.ctx))
	if !b.drained() || !strings.HasSuffix(seen.String(), "; insert 2 b") {
		t.Error(seen)
	}
}

// A process of its own, as README shows it, that prints what it handles.
func child(address string) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	doer, shut := connect(address)
	defer shut()
	w := &dirtystreams.Worker[User]{Client: dirtystreams.New(doer), Stream: "user-changes", Group: "mailer"}
	w.Handle = events(func(e *dirtystreams.Event[User]) error {
		fmt.Println("begun", e.EntityID)
		<-ctx.Done()
		time.Sleep(100 * time.Millisecond)
		fmt.Println("done", e.EntityID)
		return nil
	})
	if err := w.Run(ctx); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

func TestAProcessEndsInOrderAtSIGTERM(t *testing.T) {
	b := on(t, shared, users())
	b.mailer(dirtystreams.Group{Claim: time.Hour})
	b.flush(User{ID: 1}, User{ID: 2})
	process := exec.Command(os.Args[0])
	process.Env = append(os.Environ(), "DIRTY_GO_CHILD="+shared.Address)
	process.Stderr = os.Stderr
	pipe, err := process.StdoutPipe()
	b.must(nil, err)
	b.must(nil, process.Start())
	defer process.Process.Kill() // if it does not end
	out := bufio.NewReader(pipe)
	if line, err := out.ReadString('\n'); line != "begun 1\n" {
		t.Fatal(line, err)
	}
	process.Process.Signal(syscall.SIGTERM)
	rest, err := io.ReadAll(out)
	b.must(nil, err)
	b.must(nil, process.Wait())
	group := b.group("user-changes", "mailer")
	if string(rest) != "done 1\n" || sprint(group["pending"], group["held"]) != "1 0" || len(group["consumers"].([]any)) != 0 {
		t.Error(string(rest), group)
	}
}

func TestErrorsThatWaitingDoesNotMendEndAWorker(t *testing.T) {
	b := on(t, shared, users())
	w := b.worker(func(context.Context, string) error { return nil })
	if err := w.Run(b.ctx); !errors.Is(err, dirtystreams.NoReader) {
		t.Error(err)
	}
	b.mailer(dirtystreams.Group{})
	r := b.background(w.Run)
	b.patiently("it waits", func() bool { return len(b.group("user-changes", "mailer")["consumers"].([]any)) == 1 })
	b.do("DIRTY.FORGET user-changes GROUP mailer")
	if err := <-r.ended; !errors.Is(err, dirtystreams.NoReader) {
		t.Error(err)
	}
	// One partition without the group ends the readers of all of them.
	b.must(b.DeclareGroup(b.ctx, dirtystreams.Group{Stream: "user-changes{0}", Name: "mailer", From: "0"}))
	w.Partitions = 2
	if err := w.Run(b.ctx); !errors.Is(err, dirtystreams.NoReader) {
		t.Error(err)
	}
	w.Partitions = 0
	doer, shut := connect(shared.Address)
	shut()
	w.Client = dirtystreams.New(doer)
	if err := w.Run(b.ctx); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Error("a closed client: ", err)
	}
	if err := (&dirtystreams.Worker[User]{}).Run(b.ctx); err == nil {
		t.Error("a worker without anything runs")
	}
}

func TestATimeOutThatIsShorterThanBlockIsNamed(t *testing.T) {
	b := on(t, shared, users())
	b.mailer(dirtystreams.Group{})
	doer, shut := connectFor(shared.Address, 300*time.Millisecond)
	t.Cleanup(shut)
	w := b.worker(func(context.Context, string) error { return nil })
	w.Client, w.Block = dirtystreams.New(doer, users()), time.Second
	r := b.background(w.Run)
	b.patiently("it is told", func() bool { return b.log.has("read time-out must be longer than Block") })
	b.must(nil, r.end())
}

func TestMissedEventsAreToldOf(t *testing.T) {
	b := on(t, shared, users())
	b.mailer(dirtystreams.Group{})
	b.flush(User{ID: 1}, User{ID: 2}, User{ID: 3})
	b.do("XTRIM user-changes MAXLEN 1")
	w := b.worker(func(context.Context, string) error { return nil })
	w.UntilIdle = true
	b.must(nil, w.Run(b.ctx))
	if !b.log.has(`2 events of "user-changes" were missed`) {
		t.Error(b.log)
	}
	b.flush(User{ID: 4})
	b.do("DEL user-changes")
	b.flush(User{ID: 5})
	var missed int64
	w.Missed = func(stream string, count int64) { missed = count }
	b.must(nil, w.Run(b.ctx))
	if missed != -1 {
		t.Error(missed)
	}
}

func TestAStructThatDoesNotFitIsAFailure(t *testing.T) {
	b := on(t, shared, users())
	b.mailer(dirtystreams.Group{})
	b.do("DIRTY.FLUSH user SNAPSHOT notanumber 0")
	w := b.worker(func(context.Context, string) error { t.Error("it was handled"); return nil })
	w.UntilIdle = true
	w.Fatal = func(error) bool { return true }
	b.must(nil, w.Run(b.ctx))
	if dead := read[dirtystreams.Fields](b, "user-changes:dead"); len(dead) != 1 || !strings.Contains(dead[0].Dead.Error, `id "notanumber"`) {
		t.Error(dead)
	}
}

func TestPartitionsAreReadFairlyAndEachInOrder(t *testing.T) {
	const n = 4
	entity := dirtystreams.MustEntity[User](dirtystreams.Declaration{Key: "member", Partitions: n,
		Streams: []dirtystreams.Stream{{Key: "member-changes", Payload: "FULL"}}})
	b := on(t, shared, entity)
	b.must(b.DeclareGroup(b.ctx, dirtystreams.Group{Stream: "member-changes", Name: "g", From: "0", Order: "ENTITY", Partitions: n}))
	// Forty events are in the partition of user 0; one in each of the others comes while these are handled.
	busy := dirtystreams.Partition("0", n)
	var many, few, flushed []any
	for id, quiet := int64(0), map[int]bool{busy: true}; len(many) < 40 || len(few) < n-1; id++ {
		partition := dirtystreams.Partition(sprint(id), n)
		switch {
		case partition == busy && len(many) < 40:
			many = append(many, User{ID: id})
		case !quiet[partition]:
			quiet[partition] = true
			few = append(few, User{ID: id})
		}
	}
	flushed = append(append(flushed, many...), few...)
	b.flush(many...)
	var mutex sync.Mutex
	var first sync.Once
	var order []string
	parallel := 0
	allRead := func() bool {
		for i := 0; i < n; i++ {
			if sprint(b.group(dirtystreams.PartitionKey("member-changes", i, n), "g")["lag"]) != "0" {
				return false
			}
		}
		return true
	}
	w := &dirtystreams.Worker[User]{Client: b.Client, Stream: "member-changes", Group: "g", Partitions: n, Block: 200 * time.Millisecond, Logf: b.log.add}
	w.Handle = events(func(e *dirtystreams.Event[User]) error {
		first.Do(func() {
			b.flush(few...)
			b.patiently("all partitions are read", allRead)
			time.Sleep(100 * time.Millisecond)
		})
		mutex.Lock()
		parallel++
		if parallel > 1 {
			t.Error("two handlers run at the same time")
		}
		order = append(order, e.Stream)
		mutex.Unlock()
		time.Sleep(5 * time.Millisecond)
		mutex.Lock()
		parallel--
		mutex.Unlock()
		return nil
	})
	r := b.background(w.Run)
	b.patiently("all are handled", func() bool {
		mutex.Lock()
		defer mutex.Unlock()
		return len(order) == len(flushed)
	})
	b.must(nil, r.end())
	last := 0
	for i, stream := range order {
		if stream != dirtystreams.PartitionKey("member-changes", busy, n) {
			last = i
		}
	}
	if len(order) != len(flushed) || last > 15 {
		t.Errorf("%d events were handled; the last of a quiet partition was number %d", len(order), last)
	}
	found, err := entity.Get(b.ctx, b.Client, flushed[0].(User).ID, flushed[len(flushed)-1].(User).ID, int64(-1))
	if err != nil || found[0].ID != flushed[0].(User).ID || found[1].ID != flushed[len(flushed)-1].(User).ID || found[2] != nil {
		t.Fatal(found, err)
	}
	var scanned int
	b.must(nil, entity.Scan(b.ctx, b.Client, func(*User) error { scanned++; return nil }))
	if scanned != len(flushed) {
		t.Error(scanned)
	}
	w.Only, w.UntilIdle = []int{0, n - 1}, true
	b.must(nil, w.Run(b.ctx))
}

func TestSeveralConsumersOfAWorkerHandleKeysAtTheSameTime(t *testing.T) {
	b := on(t, shared, users())
	b.mailer(dirtystreams.Group{Order: "ENTITY"})
	var begun atomic.Int32
	together := make(chan bool)
	handled := &lines{}
	w := b.worker(func(_ context.Context, told string) error {
		// The first three wait for each other.
		if begun.Add(1) == 3 {
			close(together)
		}
		select {
		case <-together:
		case <-time.After(20 * time.Second):
			t.Error("three handlers do not run at the same time")
		}
		handled.add("%s", told)
		return nil
	})
	w.Consumers, w.Count, w.UntilIdle = 4, 1, true
	for id := int64(1); id <= 12; id++ {
		b.flush(User{ID: id})
	}
	b.must(nil, w.Run(b.ctx))
	if handled.len() != 12 {
		t.Error(handled)
	}
}
