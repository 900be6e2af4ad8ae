package dirtystreams

import (
	"context"
	"errors"
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
	if client == nil || handle == nil {
		return nil, settings{}, errors.New("dirtystreams: a Consumer requires a client and a handler")
	}
	known, err := schemaFor[T](client)
	if err != nil {
		return nil, settings{}, err
	}
	found, err := client.settings(ctx, stream, group)
	if err != nil {
		return nil, settings{}, err
	}
	return &Consumer[T]{client: client, stream: stream, group: group, name: consumerName(), handle: handle, known: known},
		found, nil
}

// Consume waits for events, hands at most count of them to the handler in one call, and acknowledges them when it has
// returned nil. If it returns an error, Consume does so too, and these events come again, to the next call or, after
// CLAIM, to another consumer. Without events the handler is not called. A block of 0 does not wait.
//
// An event that does not fit the struct is an error, too. It alone fails and comes again after ten seconds, and the other ones
// with the next call.
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
			if failErr := c.Fail(ctx, events[i], err, 10*time.Second); failErr != nil {
				return failErr
			}
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

// Fail gives an event back, which comes again after the delay, or dies by MAXDELIVERIES; with [Fatal] it dies at once. In a
// group with an ORDER, the later events of its key are given back with it.
func (c *Consumer[T]) Fail(ctx context.Context, event *Event[T], why error, delay time.Duration) error {
	var err error
	if isFatal(why) {
		_, err = c.client.FailFatal(ctx, c.stream, c.group, c.name, why.Error(), event.ID)
	} else {
		_, err = c.client.Fail(ctx, c.stream, c.group, c.name, why.Error(), delay, event.ID)
	}
	return err
}

// Name is the consumer's name in the group.
func (c *Consumer[T]) Name() string { return c.name }

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
