// Package testserver runs a Redis with the module for tests and examples.
package testserver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// Server is a Redis with the module, in a folder of its own below the temporary one.
type Server struct {
	Address string
	folder  string
	options []string
	process *exec.Cmd
}

// Start runs a server on a free port of 127.0.0.1: redis-server, or $REDIS_SERVER, with the module at $DIRTY_MODULE, or
// that of `make build`. Further options are the server's own.
func Start(options ...string) (*Server, error) {
	var err error
	for i := 0; i < 5; i++ {
		var address string
		if address, err = free(); err != nil {
			return nil, err
		}
		// Somebody else may take the port before the server does.
		var s *Server
		if s, err = startAt(address, options...); err == nil {
			return s, nil
		}
	}
	return nil, err
}

func startAt(address string, options ...string) (*Server, error) {
	if _, err := os.Stat(module()); err != nil {
		return nil, fmt.Errorf("no module (make build, or set DIRTY_MODULE): %w", err)
	}
	folder, err := os.MkdirTemp("", "dirty-go-")
	if err != nil {
		return nil, err
	}
	s := &Server{Address: address, folder: folder, options: options}
	if err := s.Launch(); err != nil {
		os.RemoveAll(folder)
		return nil, err
	}
	return s, nil
}

func free() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer listener.Close()
	return listener.Addr().String(), nil
}

func module() string {
	if path := os.Getenv("DIRTY_MODULE"); path != "" {
		return path
	}
	_, here, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(here), "../../../../target/release/libdirty_streams.so")
}

// Launch starts the server's process once more, on what its folder holds.
func (s *Server) Launch() error {
	program := os.Getenv("REDIS_SERVER")
	if program == "" {
		program = "redis-server"
	}
	_, port, _ := net.SplitHostPort(s.Address)
	arguments := append([]string{"--port", port, "--bind", "127.0.0.1", "--dir", s.folder, "--save", "",
		"--appendonly", "yes", "--appendfsync", "always", "--logfile", filepath.Join(s.folder, "log"),
		"--loadmodule", module()}, s.options...)
	s.process = exec.Command(program, arguments...)
	if err := s.process.Start(); err != nil {
		return err
	}
	mine := fmt.Sprintf("process_id:%d\r", s.process.Process.Pid)
	for i := 0; i < 400; i++ {
		reply, err := Doer(s.Address).Do(context.Background(), "INFO", "server")
		if err == nil && strings.Contains(fmt.Sprint(reply), mine) {
			return nil
		}
		time.Sleep(25 * time.Millisecond)
	}
	s.Kill()
	log, _ := os.ReadFile(filepath.Join(s.folder, "log"))
	return errors.New("the server did not start: " + string(log))
}

// Kill is kill -9.
func (s *Server) Kill() {
	s.process.Process.Kill()
	s.process.Wait()
}

// Stop ends the server and removes its folder.
func (s *Server) Stop() {
	s.Kill()
	os.RemoveAll(s.folder)
}
