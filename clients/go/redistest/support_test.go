package redistest

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"dirtystreams"
	"dirtystreams/internal/testserver"
)

var shared *testserver.Server

func TestMain(m *testing.M) {
	if address := os.Getenv("DIRTY_GO_CHILD"); address != "" {
		child(address)
		return
	}
	var err error
	if shared, err = testserver.Start(); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	code := m.Run()
	shared.Stop()
	os.Exit(code)
}

// bench is a client of an empty database, and what tests need around it.
type bench struct {
	*testing.T
	*dirtystreams.Client
	server *testserver.Server
	ctx    context.Context
	log    *lines
}

// on gives a test its client; the shared server is emptied for it.
func on(t *testing.T, s *testserver.Server, entities ...dirtystreams.Declared) *bench {
	t.Helper()
	doer, shut := connect(s.Address)
	t.Cleanup(shut)
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	t.Cleanup(cancel)
	b := &bench{t, dirtystreams.New(doer, entities...), s, ctx, &lines{}}
	b.must(b.Do(ctx, "FLUSHALL"))
	if len(entities) > 0 {
		b.must(b.Declare(ctx))
	}
	return b
}

func (b *bench) must(_ any, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// do sends a command that must succeed, typed as in a shell without quotes.
func (b *bench) do(command string) any {
	b.Helper()
	words := strings.Fields(command)
	args := make([]any, len(words))
	for i, word := range words {
		args[i] = word
	}
	reply, err := b.Do(b.ctx, args...)
	if err != nil {
		b.Fatalf("%s: %v", command, err)
	}
	return reply
}

func (b *bench) flush(entities ...any) []dirtystreams.Effect {
	b.Helper()
	effects, err := b.Flush(b.ctx, entities...)
	if err != nil {
		b.Fatal(err)
	}
	return effects
}

// patiently waits until it holds.
func (b *bench) patiently(what string, holds func() bool) {
	b.Helper()
	for i := 0; i < 3000; i++ {
		if holds() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	b.Fatalf("it never came to this: %s; log: %s", what, b.log)
}

// running is a reader in the background.
type running struct {
	cancel context.CancelFunc
	ended  chan error
}

func (b *bench) background(run func(context.Context) error) *running {
	ctx, cancel := context.WithCancel(b.ctx)
	r := &running{cancel, make(chan error, 1)}
	go func() { r.ended <- run(ctx) }()
	b.Cleanup(cancel)
	return r
}

// end stops the reader as a signal would, and returns its error.
func (r *running) end() error {
	r.cancel()
	return <-r.ended
}

// stats are numbers of a group.
func (b *bench) group(stream, name string) map[string]any {
	b.Helper()
	for _, reader := range pairs(b.do("DIRTY.STATS " + stream))["readers"].([]any) {
		if reader := pairs(reader); text(reader["name"]) == name {
			return reader
		}
	}
	b.Fatalf("no reader %q", name)
	return nil
}

// pairs is a map of RESP3, or of RESP2.
func pairs(reply any) map[string]any {
	named := map[string]any{}
	switch reply := reply.(type) {
	case map[any]any:
		for key, value := range reply {
			named[text(key)] = value
		}
	case []any:
		for i := 0; i+1 < len(reply); i += 2 {
			named[text(reply[i])] = reply[i+1]
		}
	}
	return named
}

func text(reply any) string {
	if reply == nil {
		return ""
	}
	return fmt.Sprintf("%s", reply)
}

// lines collects what several goroutines tell.
type lines struct {
	mutex sync.Mutex
	all   []string
}

func (l *lines) add(format string, arguments ...any) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.all = append(l.all, fmt.Sprintf(format, arguments...))
}

func (l *lines) String() string {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	all := strings.Join(l.all, "; ")
	if len(all) > 4000 {
		all = all[:4000] + "…"
	}
	return all
}

func (l *lines) len() int {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return len(l.all)
}

func (l *lines) has(part string) bool { return strings.Contains(l.String(), part) }

func sprint(values ...any) string { return strings.TrimSuffix(fmt.Sprintln(values...), "\n") }

// batches is a handler that needs no context.
func batches[T any](handle func(*dirtystreams.Batch[T]) error) func(context.Context, *dirtystreams.Batch[T]) error {
	return func(_ context.Context, batch *dirtystreams.Batch[T]) error { return handle(batch) }
}

// events is a worker's handler that needs no context.
func events[T any](handle func(*dirtystreams.Event[T]) error) func(context.Context, *dirtystreams.Event[T]) error {
	return func(_ context.Context, event *dirtystreams.Event[T]) error { return handle(event) }
}
