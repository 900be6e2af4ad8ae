//go:build !redigo

package redistest

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"dirtystreams"
	"dirtystreams/internal/testserver"

	"github.com/redis/go-redis/v9"
)

// overCluster is README's adapter for a cluster.
func overCluster(c *testserver.Cluster) (doer dirtystreams.Doer, shut func()) {
	rdb := redis.NewClusterClient(&redis.ClusterOptions{Addrs: c.Addresses})
	return dirtystreams.DoerFunc(func(ctx context.Context, args ...any) (any, error) { return rdb.Do(ctx, args...).Result() }),
		func() { rdb.Close() }
}

func TestPartitionsAreReadThroughMovedSlotsAndAFailover(t *testing.T) {
	const partitions, entities = 8, 40
	cluster, err := testserver.StartCluster()
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Stop()
	doer, shut := overCluster(cluster)
	defer shut()
	ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
	defer cancel()
	entity := dirtystreams.MustEntity[User](dirtystreams.Declaration{Key: "user", Partitions: partitions,
		Streams: []dirtystreams.Stream{{Key: "user-changes", Payload: "FULL"}}})
	client := dirtystreams.New(doer, entity)
	if _, err := client.Declare(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := client.DeclareGroup(ctx, dirtystreams.Group{Stream: "user-changes", Name: "g", From: "0", Order: "ENTITY",
		Partitions: partitions, Claim: 2 * time.Second}); err != nil {
		t.Fatal(err)
	}
	// A failover may lose what the replica has not heard of: the deploy step is repeated then, as flushes are.
	if _, err := client.DeclareCursor(ctx, dirtystreams.Cursor{Stream: "user-changes", Name: "c", Snapshot: []string{"user"},
		Partitions: partitions}); err != nil {
		t.Fatal(err)
	}

	var mutex sync.Mutex
	handled, copied := map[int64]string{}, map[int64]string{}
	log := &lines{}
	reading, stop := context.WithCancel(ctx)
	ended := make(chan error, 2)
	worker := &dirtystreams.Worker[User]{Client: client, Stream: "user-changes", Group: "g", Partitions: partitions,
		Block: 300 * time.Millisecond, Logf: log.add, Handle: events(func(e *dirtystreams.Event[User]) error {
			mutex.Lock()
			defer mutex.Unlock()
			handled[e.New.ID] = e.New.Name
			return nil
		})}
	follower := &dirtystreams.Follower[User]{Client: client, Stream: "user-changes", Cursor: "c", Snapshot: []string{"user"},
		Partitions: partitions, Block: 300 * time.Millisecond, Logf: log.add, Handle: batches(func(batch *dirtystreams.Batch[User]) error {
			mutex.Lock()
			defer mutex.Unlock()
			for _, e := range batch.Events {
				copied[e.New.ID] = e.New.Name
			}
			return nil
		})}
	go func() { ended <- worker.Run(reading) }()
	go func() { ended <- follower.Run(reading) }()

	// A writer sends each state until it is acknowledged.
	version := 0
	write := func() {
		version++
		for id := int64(0); id < entities; id++ {
			for {
				_, err := client.Flush(ctx, User{ID: id, Name: fmt.Sprint("v", version)})
				if err == nil {
					break
				}
				if ctx.Err() != nil {
					t.Fatal("the cluster did not come back: ", log)
				}
				time.Sleep(20 * time.Millisecond)
			}
		}
	}
	seenBy := func(seen map[int64]string) bool {
		mutex.Lock()
		defer mutex.Unlock()
		for id := int64(0); id < entities; id++ {
			if seen[id] != fmt.Sprint("v", version) {
				return false
			}
		}
		return true
	}
	arrives := func(when string) {
		t.Helper()
		for i := 0; ; i++ {
			if seenBy(handled) && seenBy(copied) {
				return
			}
			select {
			case err := <-ended:
				t.Fatalf("%s: a reader ended: %v", when, err)
			case <-time.After(20 * time.Millisecond):
			}
			if i == 1500 {
				t.Fatalf("%s: version %d did not arrive: %v %v; %s", when, version, handled, copied, log)
			}
		}
	}
	write()
	arrives("at first")

	// The 400 lowest slots of the second primary have those of {2} and {6}.
	moved := make(chan error)
	go func() { moved <- cluster.Reshard(400) }()
	for done := false; !done; {
		write()
		select {
		case err := <-moved:
			if err != nil {
				t.Fatal(err)
			}
			done = true
		default:
		}
	}
	arrives("after slots have moved")

	if err := cluster.KillPrimary(); err != nil {
		t.Fatal(err)
	}
	write()
	write()
	arrives("after a failover")
	stop()
	for i := 0; i < 2; i++ {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	t.Log(log.len(), "outages were told of;", version, "versions")
}
