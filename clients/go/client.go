package dirtystreams

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"
)

// Doer sends one command and returns its reply. The error of a refused command must be the server's, as text.
//
// go-redis:
//
//	dirtystreams.DoerFunc(func(ctx context.Context, args ...any) (any, error) { return rdb.Do(ctx, args...).Result() })
//
// Arguments are strings. A Doer is used by several goroutines at the same time. It should wait for a reply at least as
// long as BLOCK, which is one second unless a reader says otherwise.
type Doer interface {
	Do(ctx context.Context, args ...any) (any, error)
}

// DoerFunc is a function as a [Doer].
type DoerFunc func(ctx context.Context, args ...any) (any, error)

// Do calls the function.
func (f DoerFunc) Do(ctx context.Context, args ...any) (any, error) { return f(ctx, args...) }

// Declared is an entity type that can be declared: an *[Entity].
type Declared interface {
	entitySchema() *schema
}

// Client sends the module's commands. It is safe for use by several goroutines.
type Client struct {
	doer Doer

	mutex  sync.RWMutex
	known  []*schema
	byType map[reflect.Type]*schema
}

// New returns a client that knows these entity types.
func New(doer Doer, entities ...Declared) *Client {
	client := &Client{doer: doer, byType: map[reflect.Type]*schema{}}
	for _, entity := range entities {
		client.learn(entity.entitySchema())
	}
	return client
}

func (c *Client) learn(declared *schema) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	for _, known := range c.known {
		if known == declared {
			return
		}
	}
	c.known = append(c.known, declared)
	// Of several entity types with one struct, the first one takes structs that are flushed as they are.
	if c.byType[declared.goType] == nil {
		c.byType[declared.goType] = declared
	}
}

// ofType is how structs of the type are flushed, or nil if nothing is declared for them.
func (c *Client) ofType(goType reflect.Type) *schema {
	c.mutex.RLock()
	defer c.mutex.RUnlock()
	return c.byType[goType]
}

// Do sends any command. Errors of the server are returned as *[Error].
func (c *Client) Do(ctx context.Context, args ...any) (any, error) {
	if len(args) == 0 {
		return nil, errors.New("dirtystreams: a command is required")
	}
	reply, err := c.doer.Do(ctx, args...)
	if err != nil {
		return nil, refusal(fmt.Sprint(args[0]), err)
	}
	if refused, ok := reply.(error); ok {
		return nil, refusal(fmt.Sprint(args[0]), refused)
	}
	return reply, nil
}

// Declare declares the entity types, or all that the client knows if none is given. It reports whether they were
// applied: false means that the server keeps a declaration with a higher revision.
func (c *Client) Declare(ctx context.Context, entities ...Declared) (bool, error) {
	for _, entity := range entities {
		c.learn(entity.entitySchema())
	}
	schemas := make([]*schema, 0, len(entities))
	for _, entity := range entities {
		schemas = append(schemas, entity.entitySchema())
	}
	if len(entities) == 0 {
		c.mutex.RLock()
		schemas = append(schemas, c.known...)
		c.mutex.RUnlock()
	}
	applied := true
	for _, declared := range schemas {
		ok, err := c.declare(ctx, declared)
		if err != nil {
			return false, err
		}
		applied = applied && ok
	}
	return applied, nil
}

func (c *Client) declare(ctx context.Context, declared *schema) (bool, error) {
	applied := true
	for partition := range partitioned(declared.key, declared.partitions, nil) {
		ok, err := c.applied(ctx, declared.declaration(partition))
		if err != nil {
			return false, err
		}
		applied = applied && ok
	}
	return applied, nil
}

// applied sends a command that answers OK or KEPT.
func (c *Client) applied(ctx context.Context, words []any) (bool, error) {
	reply, err := c.Do(ctx, words...)
	if err != nil {
		return false, err
	}
	text, err := asText(reply)
	return text == "OK", err
}
