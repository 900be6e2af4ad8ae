//go:build redigo

package redistest

import (
	"context"
	"time"

	"dirtystreams"

	"github.com/gomodule/redigo/redis"
)

const library = "redigo"

// connect is README's adapter for redigo.
func connect(address string) (doer dirtystreams.Doer, shut func()) {
	return connectFor(address, 0)
}

// connectFor is one with a read time-out.
func connectFor(address string, timeout time.Duration) (doer dirtystreams.Doer, shut func()) {
	pool := &redis.Pool{Dial: func() (redis.Conn, error) { return redis.Dial("tcp", address, redis.DialReadTimeout(timeout)) }}
	return dirtystreams.DoerFunc(func(ctx context.Context, args ...any) (any, error) {
		conn := pool.Get()
		defer conn.Close()
		return redis.DoContext(conn, ctx, args[0].(string), args[1:]...)
	}), func() { pool.Close() }
}
