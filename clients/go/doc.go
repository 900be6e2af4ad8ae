// Package dirtystreams is the Go client of Dirty Streams, a module for Redis and Valkey that turns saved entities into
// streams of their changes.
//
// The package sends commands through any Redis client: a [Doer] is one function. An [Entity] is declared from a struct,
// [Client.Flush] sends structs and returns the effect of each, a [Worker] handles the events of a group, and a
// [Follower] keeps a copy of what a cursor, or the caller's own position, leads through.
//
// The tags of FluxaORM's structs, of both generations, are read as they are: see [NewEntity], [ConsumeSingle] and
// [ConsumeMany].
//
// Events are delivered at least once. A handler may get an event twice, so handling it twice must do no harm.
package dirtystreams
