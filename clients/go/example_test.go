package dirtystreams_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"os/signal"
	"syscall"
	"testing"
	"time"

	"dirtystreams"
	"dirtystreams/internal/testserver"
)

// doer is what the examples send their commands through. With go-redis it would be
//
//	dirtystreams.DoerFunc(func(ctx context.Context, args ...any) (any, error) { return rdb.Do(ctx, args...).Result() })
var doer dirtystreams.Doer

func TestMain(m *testing.M) {
	server, err := testserver.Start()
	if err != nil {
		log.Fatal(err)
	}
	doer = testserver.Doer(server.Address)
	code := m.Run()
	server.Stop()
	os.Exit(code)
}

type User struct {
	ID      int64
	Name    string
	Status  string
	Age     *int
	Balance string    `dirty:",decimal:2"`
	Created time.Time `dirty:",datetime"`
}

var users = dirtystreams.MustEntity[User](dirtystreams.Declaration{
	Key:     "user",
	Streams: []dirtystreams.Stream{{Key: "user-changes", Payload: "FULL", MaxLen: "~ 100000"}},
})

// Structs are flushed as they are; each has an effect.
func Example() {
	ctx := context.Background()
	client := dirtystreams.New(doer, users)
	if _, err := client.Declare(ctx); err != nil {
		log.Fatal(err)
	}
	alice := User{ID: 42, Name: "Alice", Status: "active", Balance: "10.5"}
	effects, err := client.Flush(ctx, alice, &alice, users.Touch(42))
	fmt.Println(effects, err)

	found, err := users.Get(ctx, client, 42)
	fmt.Println(found[0].Name, found[0].Balance, err)
	// Output:
	// [insert none touch] <nil>
	// Alice 10.50 <nil>
}

func ExampleWorker() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	client := dirtystreams.New(doer, users)
	// Deployment declares readers; workers only read.
	group := dirtystreams.Group{Stream: "user-changes", Name: "mailer", From: "0", Order: "ENTITY", MaxDeliveries: 5}
	if _, err := client.DeclareGroup(ctx, group); err != nil {
		log.Fatal(err)
	}
	alice := User{ID: 42, Name: "Alice", Status: "banned", Balance: "10.50"}
	if _, err := client.Flush(ctx, alice); err != nil {
		log.Fatal(err)
	}

	worker := &dirtystreams.Worker[User]{
		Client: client, Stream: "user-changes", Group: "mailer",
		Handle: func(ctx context.Context, event *dirtystreams.Event[User]) error {
			if event.Op == dirtystreams.OpUpdate && event.Changed("Status") {
				fmt.Println(event.ID != "", event.New.ID, event.Old.Status, "→", event.New.Status)
			}
			return nil
		},
		UntilIdle: true, // else until a signal
	}
	if err := worker.Run(ctx); err != nil {
		log.Fatal(err)
	}
	// Output:
	// true 42 active → banned
}

func ExampleFollower() {
	ctx := context.Background()
	client := dirtystreams.New(doer, users)
	cursor := dirtystreams.Cursor{Stream: "user-changes", Name: "directory", Snapshot: []string{"user"}}
	if _, err := client.DeclareCursor(ctx, cursor); err != nil {
		log.Fatal(err)
	}

	names := map[int64]string{}
	follower := &dirtystreams.Follower[User]{
		Client: client, Stream: "user-changes", Cursor: "directory", Snapshot: []string{"user"},
		Handle: func(ctx context.Context, batch *dirtystreams.Batch[User]) error {
			if batch.Begin { // first the entities that are there, then their changes
				names = map[int64]string{}
			}
			for _, event := range batch.Events {
				switch {
				case event.New == nil:
					delete(names, event.Old.ID)
				case event.Has("Name"):
					names[event.New.ID] = event.New.Name
				}
			}
			return nil
		},
		UntilHead: true, // else until the context is cancelled
	}
	err := follower.Run(ctx)
	fmt.Println(names, err)
	// Output:
	// map[42:Alice] <nil>
}

// A flush may wait until a SQL transaction has committed.
func ExampleEntity_Commit() {
	ctx := context.Background()
	client := dirtystreams.New(doer, users)
	token := "tx-1" // stored with the rows, so that another process can finish what this one has begun
	bob := User{ID: 43, Name: "Bob", Balance: "0"}
	if _, err := client.FlushWith(ctx, dirtystreams.FlushOptions{Defer: token}, bob); err != nil {
		log.Fatal(err) // nothing can be saved while Redis is away
	}
	// Here the transaction commits; if it fails, users.Abort drops the flush.
	effects, err := users.Commit(ctx, client, token)
	fmt.Println(effects, err)

	late, err := users.Deferred(ctx, client, time.Minute, 0) // what writers that have crashed left
	fmt.Println(late, err)
	// Output:
	// [[insert]] <nil>
	// [] <nil>
}

// An operator's program, or a test, asks how far a group is.
func ExampleClient_Stats() {
	ctx := context.Background()
	client := dirtystreams.New(doer, users)
	if _, err := client.Declare(ctx); err != nil {
		log.Fatal(err)
	}
	group := dirtystreams.Group{Stream: "user-changes", Name: "audit", From: "$", Order: "ENTITY"}
	if _, err := client.DeclareGroup(ctx, group); err != nil {
		log.Fatal(err)
	}
	stats, err := client.Stats(ctx, "user-changes")
	if err != nil {
		log.Fatal(err)
	}
	audit := stats.Reader("audit")
	fmt.Println(audit.Lag, audit.Pending, audit.Order, audit.Claim)
	// Output:
	// 0 0 ENTITY 1m0s
}

// Member has the tags of FluxaORM, which are read as they are.
type Member struct {
	ID    uint64 `orm:"dirty=Members,NewMembers:add"`
	Email string `orm:"required;dirty=EmailChanged"`
	Age   uint8
}

func ExampleConsumeSingle() {
	ctx := context.Background()
	members := dirtystreams.MustEntity[Member](dirtystreams.Declaration{})
	client := dirtystreams.New(doer, members)
	if _, err := client.Declare(ctx); err != nil {
		log.Fatal(err)
	}
	group := dirtystreams.Group{Stream: "dirty_Members", Name: "consumer_group", From: "0", Order: "STREAM"}
	if _, err := client.DeclareGroup(ctx, group); err != nil {
		log.Fatal(err)
	}
	if _, err := client.Flush(ctx, Member{ID: 1, Email: "a@b.c", Age: 20}, Member{ID: 1, Email: "a@b.c", Age: 21}); err != nil {
		log.Fatal(err)
	}

	consumer, err := dirtystreams.ConsumeSingle(ctx, client, "dirty_Members", "consumer_group",
		func(events []*dirtystreams.Event[Member]) error {
			for _, event := range events {
				fmt.Println(event.Op, event.Entity, event.New.ID, event.New.Age)
			}
			return nil
		})
	if err != nil {
		log.Fatal(err)
	}
	defer consumer.Cleanup(ctx)
	fmt.Println(consumer.Consume(ctx, 100, time.Second))
	// Output:
	// insert dirtystreams_test.Member 1 20
	// update dirtystreams_test.Member 1 21
	// <nil>
}
