//go:build redigo

package redistest

import (
	"context"

	"dirtystreams"

	"github.com/gomodule/redigo/redis"
)

const library = "redigo"

// connect is README's adapter for redigo.
func connect(address string) (doer dirtystreams.Doer, shut func()) {
	pool := &redis.Pool{Dial: func() (redis.Conn, error) { return redis.Dial("tcp", address) }}
	return dirtystreams.DoerFunc(func(ctx context.Context, args ...any) (any, error) {
		conn := pool.Get()
		defer conn.Close()
		return redis.DoContext(conn, ctx, args[0].(string), args[1:]...)
	}), func() { pool.Close() }
}
