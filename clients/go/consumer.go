package dirtystreams

import (
	"context"
	"fmt"
	"strconv"
	"time"
)

// Consumer reads a group in batches, as the consumers of FluxaORM do. See [ConsumeSingle] and [ConsumeMany]. It is used
// by one goroutine at a time.
type Consumer[T any] struct {
	client        *Client
	stream, group string
	name          string
	handle        func(events []*Event[T]) error
	known         *schema
}

// ConsumeSingle returns a consumer of a group in which one consumer at a time has the turn: the group's order must be
// STREAM. Others wait until it leaves, or is silent for CLAIM.
//
// The stream is the key as Redis has it, such as dirty_Users for the tag dirty=Users.
func ConsumeSingle[T any](ctx context.Context, client *Client, stream, group string, handle func(events []*Event[T]) error) (*Consumer[T], error) {
	consumer, found, err := newConsumer(ctx, client, stream, group, handle)
	if err == nil && found.order != "STREAM" {
		return nil, fmt.Errorf("dirtystreams: ConsumeSingle requires a group in ORDER STREAM, and %q of %q is in ORDER %s", group, stream, found.order)
	}
	return consumer, err
}

// ConsumeMany returns one of any number of consumers that share the events of a group, in whatever order it has.
//
// What AutoClaim did is the group's CLAIM: events that a consumer does not finish in this time come to another one by
// themselves.
func ConsumeMany[T any](ctx context.Context, client *Client, stream, group string, handle func(events []*Event[T]) error) (*Consumer[T], error) {
	consumer, _, err := newConsumer(ctx, client, stream, group, handle)
	return consumer, err
}

func newConsumer[T any](ctx context.Context, client *Client, stream, group string, handle func(events []*Event[T]) error) (*Consumer[T], settings, error) {
	found, err := client.settings(ctx, stream, group)
	if err != nil {
		return nil, settings{}, err
	}
	return &Consumer[T]{client: client, stream: stream, group: group, name: consumerName(), handle: handle,
		known: schemaFor[T](client)}, found, nil
}

// Consume waits for events, hands at most count of them to the handler in one call, and acknowledges them when it has
// returned nil. If it returns an error, Consume does so too, and these events come again, to the next call or, after
// CLAIM, to another consumer. Without events the handler is not called. A block of 0 does not wait.
//
// Events that were trimmed or deleted unread are a *[MissedError], which Consume returns after it has handled the
// events that are there.
func (c *Consumer[T]) Consume(ctx context.Context, count int, block time.Duration) error {
	words := []any{"DIRTY.CONSUME", c.stream, "GROUP", c.group, c.name, "PENDING", "COUNT", strconv.Itoa(orCount(count)), "JSON"}
	words = option(words, "BLOCK", milliseconds(block))
	batch, err := c.client.batch(ctx, words)
	if err != nil {
		return err
	}
	events := make([]*Event[T], len(batch.events))
	ids := make([]string, len(batch.events))
	for i, wire := range batch.events {
		if events[i], err = typedEvent[T](wire, c.stream, c.known); err != nil {
			return err
		}
		ids[i] = events[i].ID
	}
	if len(events) > 0 {
		if err := c.handle(events); err != nil {
			return err
		}
		if _, err := c.client.Ack(ctx, c.stream, c.group, c.name, ids...); err != nil {
			return err
		}
	}
	if batch.missed != 0 {
		return &MissedError{c.stream, batch.missed}
	}
	return nil
}

// Ack acknowledges an event before its handler returns, so that it does not come again if a later one fails.
func (c *Consumer[T]) Ack(ctx context.Context, event *Event[T]) error {
	_, err := c.client.Ack(ctx, c.stream, c.group, c.name, event.ID)
	return err
}

// Hold says that the handler still works on its events, so that CLAIM begins again for them.
func (c *Consumer[T]) Hold(ctx context.Context) error {
	_, err := c.client.Hold(ctx, c.stream, c.group, c.name)
	return err
}

// Cleanup leaves the group: what this consumer holds goes to others at once.
func (c *Consumer[T]) Cleanup(ctx context.Context) error {
	_, err := c.client.Leave(ctx, c.stream, c.group, c.name)
	return err
}
