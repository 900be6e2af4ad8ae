package testserver

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
)

// Doer sends commands to a server, each by a connection of its own: the smallest Redis client, in RESP2.
type Doer string

// Do sends one command.
func (address Doer) Do(ctx context.Context, args ...any) (any, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", string(address))
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return nil, err
		}
	}
	var command strings.Builder
	fmt.Fprintf(&command, "*%d\r\n", len(args))
	for _, arg := range args {
		fmt.Fprintf(&command, "$%d\r\n%s\r\n", len(arg.(string)), arg)
	}
	if _, err := io.WriteString(conn, command.String()); err != nil {
		return nil, err
	}
	return reply(bufio.NewReader(conn))
}

func reply(reader *bufio.Reader) (any, error) {
	line, err := reader.ReadString('\n')
	if err != nil {
		return nil, err
	}
	kind, line := line[0], strings.TrimRight(line[1:], "\r\n")
	switch kind {
	case '+':
		return line, nil
	case '-':
		return nil, errors.New(line)
	}
	number, err := strconv.ParseInt(line, 10, 64)
	switch {
	case err != nil || kind == ':':
		return number, err
	case number < 0:
		return nil, nil
	case kind == '$':
		text := make([]byte, number+2)
		_, err := io.ReadFull(reader, text)
		return string(text[:number]), err
	}
	array := make([]any, number)
	for i := range array {
		if array[i], err = reply(reader); err != nil {
			return nil, err
		}
	}
	return array, nil
}
