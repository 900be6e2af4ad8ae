package redistest

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"dirtystreams"
)

// server is a Redis with the module, in a folder of its own.
type server struct {
	address, folder string
	process         *exec.Cmd
}

// start runs a server on a free port, or fails the program: nothing can be tested without one.
func start() *server {
	folder, err := os.MkdirTemp("", "dirty-go-")
	if err != nil {
		panic(err)
	}
	s := &server{folder: folder}
	for i := 0; ; i++ {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			panic(err)
		}
		s.address = listener.Addr().String()
		listener.Close()
		if err = s.launch(); err == nil {
			return s
		}
		if i == 5 {
			panic(err)
		}
	}
}

// launch starts the server's process, on what its folder holds.
func (s *server) launch() error {
	program := os.Getenv("REDIS_SERVER")
	if program == "" {
		program = "redis-server"
	}
	_, port, _ := net.SplitHostPort(s.address)
	s.process = exec.Command(program, "--port", port, "--bind", "127.0.0.1", "--dir", s.folder, "--save", "",
		"--appendonly", "yes", "--appendfsync", "always", "--logfile", filepath.Join(s.folder, "log"),
		"--loadmodule", module())
	if err := s.process.Start(); err != nil {
		return err
	}
	doer, shut := connect(s.address)
	defer shut()
	for i := 0; i < 200; i++ {
		reply, err := doer.Do(context.Background(), "INFO", "server")
		if err == nil && strings.Contains(fmt.Sprintf("%s", reply), fmt.Sprintf("process_id:%d\r", s.process.Process.Pid)) {
			return nil
		}
		time.Sleep(25 * time.Millisecond)
	}
	s.process.Process.Kill()
	s.process.Wait()
	log, _ := os.ReadFile(filepath.Join(s.folder, "log"))
	return fmt.Errorf("the server did not start: %s", log)
}

// kill is kill -9.
func (s *server) kill() {
	s.process.Process.Kill()
	s.process.Wait()
}

func (s *server) stop() {
	s.kill()
	os.RemoveAll(s.folder)
}

func module() string {
	if path := os.Getenv("DIRTY_MODULE"); path != "" {
		return path
	}
	path, err := filepath.Abs("../../../target/release/libdirty_streams.so")
	if err != nil {
		panic(err)
	}
	return path
}

var shared *server

func TestMain(m *testing.M) {
	if address := os.Getenv("DIRTY_GO_CHILD"); address != "" {
		child(address)
		return
	}
	if _, err := os.Stat(module()); err != nil {
		fmt.Println("no module:", err)
		os.Exit(1)
	}
	shared = start()
	code := m.Run()
	shared.stop()
	os.Exit(code)
}

// bench is a client of an empty database, and what tests need around it.
type bench struct {
	*testing.T
	*dirtystreams.Client
	server *server
	ctx    context.Context
	log    *lines
}

// on gives a test its client; the shared server is emptied for it.
func on(t *testing.T, s *server, entities ...dirtystreams.Declared) *bench {
	t.Helper()
	doer, shut := connect(s.address)
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
	for i := 0; i < 1000; i++ {
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
	return strings.Join(l.all, "; ")
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
