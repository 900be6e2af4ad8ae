//go:build !redigo

package redistest

import (
	"context"

	"dirtystreams"

	"github.com/redis/go-redis/v9"
)

const library = "go-redis"

// connect is README's adapter for go-redis.
func connect(address string) (doer dirtystreams.Doer, shut func()) {
	rdb := redis.NewClient(&redis.Options{Addr: address})
	return dirtystreams.DoerFunc(func(ctx context.Context, args ...any) (any, error) { return rdb.Do(ctx, args...).Result() }),
		func() { rdb.Close() }
}
