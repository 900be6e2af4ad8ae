// The shop in Go: see README.md for what each command does. `shop COMMAND [ARGUMENT…]`
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	ds "dirtystreams"

	"github.com/redis/go-redis/v9"
)

type Customer struct {
	ID      string `dirty:",id" json:"-"`
	Name    string `dirty:"name" json:"name"`
	City    string `dirty:"city" json:"city"`
	Version int64  `dirty:"version,version" json:"version"`
}

type Order struct {
	ID       int    `dirty:",id" json:"-"`
	Customer string `dirty:"customer" json:"customer"`
	Amount   string `dirty:"amount,decimal:2" json:"amount"`
	Lines    int    `dirty:"lines" json:"lines"`
	State    string `dirty:"state" json:"state"`
	Paid     bool   `dirty:"paid" json:"paid"`
	Version  int64  `dirty:"version,version" json:"version"`
}

var (
	shop          = os.Getenv("SHOP")
	partitions, _ = strconv.Atoi(os.Getenv("PARTITIONS"))
	changes       = ds.Stream{Key: "shop-changes", Payload: "FULL"}
	customers     = ds.MustEntity[Customer](ds.Declaration{Key: "customer", Streams: []ds.Stream{changes}, Partitions: partitions})
	orders        = ds.MustEntity[Order](ds.Declaration{Key: "order", Streams: []ds.Stream{changes}, Partitions: partitions})
	types         = []string{"customer", "order"}
)

// all are the partitions, or the one that there is without them.
func all() []int {
	numbers := []int{0}
	for n := 1; n < partitions; n++ {
		numbers = append(numbers, n)
	}
	return numbers
}

func at(key string, n int) string { return ds.PartitionKey(key, n, partitions) }

// connect makes a client that does not send a command again by itself.
func connect() *ds.Client {
	var rdb redis.UniversalClient
	if nodes := os.Getenv("REDIS_CLUSTER"); nodes != "" {
		rdb = redis.NewClusterClient(&redis.ClusterOptions{Addrs: strings.Fields(nodes), MaxRetries: -1})
	} else {
		options, err := redis.ParseURL(os.Getenv("REDIS_URL"))
		check(err)
		options.MaxRetries = -1
		rdb = redis.NewClient(options)
	}
	do := func(ctx context.Context, args ...any) (any, error) { return rdb.Do(ctx, args...).Result() }
	return ds.New(ds.DoerFunc(do), customers, orders)
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// patiently calls until Redis answers.
func patiently[T any](call func() (T, error)) T {
	for {
		value, err := call()
		if err == nil {
			return value
		} else if !ds.IsOutage(err) {
			log.Fatal(err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func declare(ctx context.Context, client *ds.Client) {
	patiently(func() (bool, error) { return client.Declare(ctx) })
	patiently(func() (bool, error) {
		return client.DeclareGroup(ctx, ds.Group{Stream: changes.Key, Name: "billing", Partitions: partitions, From: "0",
			Order: "ENTITY", Claim: time.Second, MaxDeliveries: 20, OnDead: "PARK", Where: []string{"ENTITY", "order"}})
	})
	patiently(func() (bool, error) {
		return client.DeclareCursor(ctx, ds.Cursor{Stream: changes.Key, Name: "directory", Partitions: partitions, Snapshot: types})
	})
}

// Writing.

var (
	names  = []string{"Åsa", "Bo", "Çelik", "Dora", "Émile"}
	cities = []string{"Oslo", "Łódź", "Paris", "Roma"}
	states = []string{"new", "packed", "sent", "back"}
)

// step is what a writer saves.
type step struct {
	entity string
	id     string
	row    any // a Customer or an Order
	gone   bool
}

// steps returns a function that gives what writer K saves, step by step.
func steps(k int) func() step {
	x := 1000 + k
	draw := func(n int) int {
		x = x * 48271 % 2147483647
		return x % n
	}
	i := -1
	versions := map[string]int64{}
	version := func(id string) int64 {
		versions[id]++
		return versions[id]
	}
	known := map[int]Order{}
	cents := map[int]int{}
	return func() step {
		i++
		a := draw(10)
		if a == 0 {
			name, city := names[draw(5)], cities[draw(4)]
			id := fmt.Sprintf("%s-%d", name, k)
			return step{"customer", id, Customer{id, name, city, version(id)}, false}
		}
		id := k + 3*draw(40)
		order, ok := known[id]
		switch {
		case !ok:
			order = Order{ID: id, Customer: fmt.Sprintf("%s-%d", names[draw(5)], k), Lines: 1, State: "new"}
			cents[id] = 1 + draw(9999)
		case a == 9:
			delete(known, id)
			order.Version = version(strconv.Itoa(id))
			return step{"order", strconv.Itoa(id), order, true}
		default:
			cents[id] += 1 + draw(5000)
			order.Lines++
			order.State = states[draw(4)]
			order.Paid = draw(2) == 1
		}
		if k == 1 && i == 20 {
			order.State = "poisoned"
		}
		order.Amount = fmt.Sprintf("%d.%02d", cents[id]/100, cents[id]%100)
		order.Version = version(strconv.Itoa(id))
		known[id] = order
		return step{"order", strconv.Itoa(id), order, false}
	}
}

// saved is a line of a database.
type saved struct {
	Entity string `json:"entity"`
	ID     string `json:"id"`
	Row    any    `json:"row"`
}

// appendLine appends a line with one write.
func appendLine(name, line string) {
	file, err := os.OpenFile(filepath.Join(shop, name), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	check(err)
	_, err = file.WriteString(line + "\n")
	check(err)
	check(file.Close())
}

func write(ctx context.Context, client *ds.Client, words ...string) {
	var numbers [3]int
	for i := range numbers {
		numbers[i], _ = strconv.Atoi(words[i])
	}
	k, first, last := numbers[0], numbers[1], numbers[2]
	next, lost := steps(k), 0
	for i := 0; i < last; i++ {
		saving := next()
		if i < first {
			continue
		}
		line := saved{saving.entity, saving.id, saving.row}
		change := saving.row
		if saving.gone {
			line.Row, change = nil, orders.Delete(saving.row)
		}
		text, err := json.Marshal(line)
		check(err)
		appendLine(fmt.Sprintf("database-%d.jsonl", k), string(text))
		if i < 300 && i%13 == 5 {
			lost++
		} else {
			options := ds.FlushOptions{Meta: map[string]string{"writer": strconv.Itoa(k)}}
			patiently(func() ([]ds.Flushed, error) { return client.FlushWith(ctx, options, change) })
		}
		time.Sleep(8 * time.Millisecond)
	}
	fmt.Printf("writer %d: %d saved, %d lost\n", k, last-first, lost)
}

// Working.

func bill(_ context.Context, event *ds.Event[Order]) error {
	id, _ := strconv.Atoi(event.EntityID)
	if event.Changed("state") && event.New != nil && event.New.State == "poisoned" {
		if _, err := os.Stat(filepath.Join(shop, "mended")); err != nil {
			return ds.Fatal(fmt.Errorf("order %d is poisoned", id))
		}
	}
	if event.Deliveries == 1 && id%10 == 0 {
		return fmt.Errorf("order %d is busy", id)
	}
	if event.Op == ds.OpInsert && id%40 == 7 {
		time.Sleep(1500 * time.Millisecond)
	} else {
		time.Sleep(12 * time.Millisecond)
	}
	before, after, amount := strconv.FormatInt(event.Version, 10), strconv.FormatInt(event.Version, 10), ""
	if event.Op == ds.OpInsert {
		before = "-"
	} else if event.Changed("version") {
		before = strconv.FormatInt(event.Old.Version, 10)
	}
	if event.Op == ds.OpDelete {
		after = "-"
	} else if event.Changed("amount") {
		amount = event.New.Amount
	}
	appendLine("ledger", strings.Join([]string{event.ID, event.EntityID, string(event.Op), before, after, amount}, "\t"))
	return nil
}

func work(ctx context.Context, client *ds.Client) {
	worker := ds.Worker[Order]{Client: client, Stream: changes.Key, Group: "billing", Handle: bill,
		Partitions: partitions, Count: 10, Backoff: 50 * time.Millisecond}
	fmt.Println("ready")
	check(worker.Run(ctx))
}

// Projecting.

// named is a row, with the build in which it was named last.
type named struct {
	build int
	row   ds.Fields
}

func (n named) MarshalJSON() ([]byte, error) { return json.Marshal([]any{n.build, n.row}) }
func (n *named) UnmarshalJSON(text []byte) error {
	return json.Unmarshal(text, &[]any{&n.build, &n.row})
}

type copied struct {
	Build    int              `json:"build"`
	Customer map[string]named `json:"customer"`
	Order    map[string]named `json:"order"`
}

func (c *copied) rows(entity string) map[string]named {
	if entity == "order" {
		return c.Order
	}
	return c.Customer
}

func (c *copied) apply(event *ds.Event[ds.Fields]) {
	rows, row := c.rows(event.Entity), ds.Fields{}
	before, known := rows[event.EntityID]
	switch {
	case event.Op == ds.OpDelete:
		delete(rows, event.EntityID)
		return
	case event.Op == ds.OpRead:
		row = *event.New
	case event.Op != ds.OpInsert && !known:
		return
	case event.Op != ds.OpInsert:
		for field, value := range before.row {
			row[field] = value
		}
	}
	for field, change := range event.Changes {
		row[field] = change.New
	}
	rows[event.EntityID] = named{c.Build, row}
}

func (c *copied) sweep() {
	for _, entity := range types {
		for id, row := range c.rows(entity) {
			if row.build != c.Build {
				delete(c.rows(entity), id)
			}
		}
	}
}

func project(ctx context.Context, client *ds.Client) {
	file := filepath.Join(shop, "directory.json")
	var copies []*copied
	byStream := map[string]*copied{}
	if text, err := os.ReadFile(file); err == nil {
		check(json.Unmarshal(text, &copies))
	}
	for _, n := range all() {
		if len(copies) <= n {
			copies = append(copies, &copied{Customer: map[string]named{}, Order: map[string]named{}})
		}
		byStream[at(changes.Key, n)] = copies[n]
	}
	follower := ds.Follower[ds.Fields]{Client: client, Stream: changes.Key, Cursor: "directory", Partitions: partitions, Snapshot: types}
	follower.Handle = func(_ context.Context, batch *ds.Batch[ds.Fields]) error {
		copied := byStream[batch.Stream]
		if batch.Begin {
			copied.Build++
		}
		for _, event := range batch.Events {
			copied.apply(event)
		}
		if batch.Phase == "stream" {
			copied.sweep()
		}
		if len(batch.Events) == 0 && batch.Phase == "" {
			return nil
		}
		text, err := json.Marshal(copies)
		if err != nil {
			return err
		}
		written := fmt.Sprintf("%s.%d", file, os.Getpid())
		if err := os.WriteFile(written, text, 0o644); err != nil {
			return err
		}
		return os.Rename(written, file)
	}
	fmt.Println("ready")
	check(follower.Run(ctx))
}

func rebuild(ctx context.Context, client *ds.Client) {
	for _, n := range all() {
		patiently(func() (any, error) {
			return nil, client.SeekSnapshot(ctx, at(changes.Key, n), "directory", at("customer", n), at("order", n))
		})
	}
}

// Repair.

func dead(ctx context.Context, client *ds.Client) {
	for _, n := range all() {
		follower := ds.Follower[Order]{Client: client, Stream: at(changes.Key, n) + ":dead", UntilHead: true}
		follower.Handle = func(_ context.Context, batch *ds.Batch[Order]) error {
			for _, event := range batch.Events {
				fmt.Printf("order %s: %s\n", event.EntityID, event.Dead.Error[strings.Index(event.Dead.Error, "order"):])
			}
			return nil
		}
		check(follower.Run(ctx))
	}
}

func redrive(ctx context.Context, client *ds.Client) {
	count := int64(0)
	for _, n := range all() {
		count += patiently(func() (int64, error) { return client.Redrive(ctx, at(changes.Key, n), "billing") })
	}
	fmt.Println(count)
}

// database gives the rows that the writers have saved, by their ids.
func database(entity string) map[string]json.RawMessage {
	files, err := filepath.Glob(filepath.Join(shop, "database-*.jsonl"))
	check(err)
	rows := map[string]json.RawMessage{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		check(err)
		for _, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
			var row json.RawMessage
			saved := saved{Row: &row}
			check(json.Unmarshal([]byte(line), &saved))
			if saved.Entity == entity {
				rows[saved.ID] = row
			}
		}
	}
	for id, row := range rows {
		if row == nil || string(row) == "null" {
			delete(rows, id)
		}
	}
	return rows
}

// reconcile makes the entities of one type equal to the database's.
func reconcile[T any](ctx context.Context, client *ds.Client, entity *ds.Entity[T], identify func(row *T, id string)) {
	found := patiently(func() (ds.Reconciled, error) {
		return entity.Reconcile(ctx, client, ds.ReconcileOptions{MaxDelete: "50%"}, func(send func(T) error) error {
			for id, text := range database(entity.Key()) {
				var row T
				check(json.Unmarshal(text, &row))
				identify(&row, id)
				if err := send(row); err != nil {
					return err
				}
			}
			return nil
		})
	})
	fmt.Printf("%s: %d repaired, %d deleted\n", entity.Key(), found.Repaired, found.Deleted)
}

func repair(ctx context.Context, client *ds.Client) {
	reconcile(ctx, client, customers, func(row *Customer, id string) { row.ID = id })
	reconcile(ctx, client, orders, func(row *Order, id string) {
		var err error
		row.ID, err = strconv.Atoi(id)
		check(err)
	})
}

func state(ctx context.Context, client *ds.Client) {
	tell := func(entity, id string, row any) error {
		text, err := json.Marshal(saved{entity, id, row})
		fmt.Println(string(text))
		return err
	}
	check(customers.Scan(ctx, client, func(customer *Customer) error { return tell("customer", customer.ID, customer) }))
	check(orders.Scan(ctx, client, func(order *Order) error { return tell("order", strconv.Itoa(order.ID), order) }))
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	commands := map[string]func(context.Context, *ds.Client){
		"declare": declare, "work": work, "project": project, "rebuild": rebuild,
		"dead": dead, "redrive": redrive, "repair": repair, "state": state,
	}
	if len(os.Args) == 5 && os.Args[1] == "write" {
		write(ctx, connect(), os.Args[2:]...)
	} else if command := commands[append(os.Args, "")[1]]; command != nil {
		command(ctx, connect())
	} else {
		log.Fatal("usage: shop declare|write K FIRST LAST|work|project|rebuild|dead|redrive|repair|state")
	}
}
