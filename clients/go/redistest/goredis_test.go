//go:build !redigo

package redistest

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"dirtystreams"

	"github.com/redis/go-redis/v9"
)

const library = "go-redis"

// connect is README's adapter for go-redis.
func connect(address string) (doer dirtystreams.Doer, shut func()) {
	return connectFor(address, 0)
}

// connectFor is one with a read time-out, or go-redis's own.
func connectFor(address string, timeout time.Duration) (doer dirtystreams.Doer, shut func()) {
	rdb := redis.NewClient(&redis.Options{Addr: address, ReadTimeout: timeout})
	return dirtystreams.DoerFunc(func(ctx context.Context, args ...any) (any, error) { return rdb.Do(ctx, args...).Result() }),
		func() { rdb.Close() }
}

func TestTheProgramOfREADMEDoesWhatItSays(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	program := regexp.MustCompile("(?s)```go\n(package main\n.*?)```").FindSubmatch(readme)
	if program == nil {
		t.Fatal("README has no program")
	}
	b := on(t, shared)
	folder, err := os.MkdirTemp(".", "readme-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(folder)
	if err := os.WriteFile(filepath.Join(folder, "main.go"), program[1], 0o600); err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(t.TempDir(), "readme")
	if out, err := exec.Command("go", "build", "-o", binary, "./"+folder).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	process := exec.Command(binary)
	process.Env = append(os.Environ(), "REDIS_ADDRESS="+shared.Address)
	out, err := process.StdoutPipe()
	b.must(nil, err)
	b.must(nil, process.Start())
	lines := bufio.NewScanner(out)
	for _, want := range []string{"[insert update] <nil>", "42 active became banned"} {
		if !strings.Contains(string(readme), "`"+want+"`") {
			t.Errorf("README does not say that it prints %s", want)
		}
		if !lines.Scan() || lines.Text() != want {
			t.Errorf("it printed %q, not %q", lines.Text(), want)
		}
	}
	process.Process.Signal(syscall.SIGINT)
	if err := process.Wait(); err != nil {
		t.Error(err)
	}
	if !b.groupIsLeft("user-changes", "mailer") {
		t.Error("it did not leave")
	}
}

func (b *bench) groupIsLeft(stream, name string) bool {
	group := b.group(stream, name)
	return sprint(group["pending"], len(group["consumers"].([]any))) == "0 0"
}
