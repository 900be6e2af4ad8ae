package dirtystreams

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
)

// Code is the first word of a server's error. A Code is a target of [errors.Is]:
//
//	if errors.Is(err, dirtystreams.NotHeld) { … }
type Code string

// The codes of the module's errors.
const (
	NoDecl     Code = "NODECL"
	NoReader   Code = "NOREADER"
	NoEntity   Code = "NOENTITY"
	NoPosition Code = "NOPOSITION"
	NoRun      Code = "NORUN"
	NotHeld    Code = "NOTHELD"
	Exists     Code = "EXISTS"
	BadValue   Code = "BADVALUE"
	Full       Code = "FULL"
	Limit      Code = "LIMIT"
	WrongType  Code = "WRONGTYPE"
	CrossSlot  Code = "CROSSSLOT"
	TryAgain   Code = "TRYAGAIN"
	NoPerm     Code = "NOPERM"
	Err        Code = "ERR"
)

func (code Code) Error() string { return string(code) }

// Error is a command that the server refused. Use [errors.As] to get it, or [errors.Is] with a [Code].
type Error struct {
	// Code is the error's first word.
	Code Code
	// Message is the rest of it.
	Message string
	// Command is the refused command's name.
	Command string

	cause error
}

func (e *Error) Error() string { return string(e.Code) + " " + e.Message }

// Unwrap returns the error of the Redis client below.
func (e *Error) Unwrap() error { return e.cause }

// Is reports whether the target is this error's [Code].
func (e *Error) Is(target error) bool {
	code, ok := target.(Code)
	return ok && code == e.Code
}

// MissedError says that events were trimmed or deleted before a reader has read them.
type MissedError struct {
	Stream string
	// Count is the number of events, or -1 if it is unknown.
	Count int64
}

func (e *MissedError) Error() string {
	if e.Count < 0 {
		return fmt.Sprintf("dirtystreams: an unknown number of events of %q were missed", e.Stream)
	}
	return fmt.Sprintf("dirtystreams: %d events of %q were missed", e.Count, e.Stream)
}

type fatalError struct{ error }

func (e fatalError) Unwrap() error { return e.error }

// Fatal wraps the error of a handler whose event must not come again: it dies at once, whatever MAXDELIVERIES says.
func Fatal(err error) error {
	if err == nil {
		return nil
	}
	return fatalError{err}
}

func isFatal(err error) bool {
	var fatal fatalError
	return errors.As(err, &fatal)
}

// refusal returns the server's error as an *Error, and any other error unchanged.
func refusal(command string, err error) error {
	var ours *Error
	var network net.Error
	if err == nil || errors.As(err, &ours) || errors.As(err, &network) || errors.Is(err, io.EOF) {
		return err
	}
	// A Doer may have wrapped what the server has said.
	for said := err; said != nil; said = errors.Unwrap(said) {
		code, message, found := strings.Cut(said.Error(), " ")
		if found && len(code) > 1 && strings.Trim(code, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == "" {
			return &Error{Code: Code(code), Message: message, Command: command, cause: err}
		}
	}
	if errors.Is(err, context.Canceled) || err.Error() == "redis: nil" { // go-redis's word for a null
		return err
	}
	return unanswered{err}
}

// unanswered is an error of the Redis client, such as a pool that is exhausted. Its kind is unknown here.
type unanswered struct{ error }

func (e unanswered) Unwrap() error { return e.error }

// outages are the errors after which a command is worth sending again, some time later.
var outages = map[Code]bool{
	"READONLY": true, "LOADING": true, "CLUSTERDOWN": true, TryAgain: true, "UNBLOCKED": true, "OOM": true,
	"MASTERDOWN": true, "MOVED": true, "ASK": true, "BUSY": true, "MISCONF": true, "NOREPLICAS": true,
}

// IsOutage reports whether an error tells that Redis is away, or not ready, so that the command is worth sending again
// some time later: a lost connection, a failover, a moved slot. A [Worker] and a [Follower] wait these out by themselves.
// A loop around another command looks at its own context, too: a call that takes longer than its deadline is an outage.
//
// It is meant for errors of this package: a handler's own errors are none.
func IsOutage(err error) bool {
	if err == nil || errors.Is(err, context.Canceled) {
		return false
	}
	var refused *Error
	if errors.As(err, &refused) {
		return outages[refused.Code] || strings.HasPrefix(refused.Message, "max number of clients")
	}
	var network net.Error
	var lost unanswered
	if !errors.As(err, &network) && !errors.As(err, &lost) && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return false
	}
	// A client that its program has closed does not come back.
	text := err.Error()
	return !strings.Contains(text, "client is closed") && !strings.Contains(text, "closed pool")
}

// malformedError says that a reply is not one of the module's.
type malformedError struct{ what string }

func (e malformedError) Error() string { return "dirtystreams: malformed reply: " + e.what }
