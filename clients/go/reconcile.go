package dirtystreams

import (
	"context"
	"errors"
)

// ReconcileOptions are how [Entity.Reconcile] repairs.
type ReconcileOptions struct {
	// MaxDelete is how many entities may be deleted: a number, or a part such as "5%". By default it is the larger of
	// 10 and 1%. With Partitions it is that of each.
	MaxDelete string
	// Batch is how many rows one command takes, 200 by default.
	Batch int
}

// Reconciled says what a run has found and done, over all partitions.
type Reconciled struct {
	// Same, Repaired, Stale and Newer are the rows by their result: nothing differed; something did; a higher version is
	// stored; another flush has named the id meanwhile.
	Same, Repaired, Stale, Newer int64
	// Scanned are the entities that Redis had, Missing those without a row, Deleted those of them that were deleted.
	// Foreign are those whose ids have a colon, which are left alone.
	Scanned, Missing, Deleted, Foreign int64
}

// Reconcile makes the entities in Redis equal to the rows of the application's database, with events, while writers go
// on. The function reads the rows, in a transaction that it begins itself, and calls send with each.
//
// It is one run of DIRTY.RECONCILE in each partition. If anything fails, the run is aborted; what it has repaired stays.
func (e *Entity[T]) Reconcile(ctx context.Context, client *Client, options ReconcileOptions,
	rows func(send func(row T) error) error) (Reconciled, error) {
	r := &reconciling{client: client, schema: e.schema, options: options, run: consumerName(), batches: map[string][]Operation{}}
	found, err := r.reconcile(ctx, func(send func(Operation) error) error {
		return rows(func(row T) error { return send(e.Snapshot(row)) })
	})
	if err != nil {
		aborting, cancel := calling(ctx, 0)
		defer cancel()
		for _, key := range r.begun {
			// One that has ended, or cannot be reached, ends by itself.
			_, _ = client.Do(aborting, "DIRTY.RECONCILE", key, "ABORT", r.run)
		}
	}
	return found, err
}

// reconciling is a run in all partitions.
type reconciling struct {
	client  *Client
	schema  *schema
	options ReconcileOptions
	run     string
	begun   []string // keys of declarations
	batches map[string][]Operation
}

func (r *reconciling) reconcile(ctx context.Context, rows func(send func(Operation) error) error) (Reconciled, error) {
	for _, key := range partitioned(r.schema.key, r.schema.partitions, nil) {
		if err := r.begin(ctx, key); err != nil {
			return Reconciled{}, err
		}
		r.begun = append(r.begun, key)
	}
	err := rows(func(row Operation) error {
		key := r.schema.keyOf(row.id)
		r.batches[key] = append(r.batches[key], row)
		if len(r.batches[key]) < r.batch() {
			return nil
		}
		return r.send(ctx, key)
	})
	if err != nil {
		return Reconciled{}, err
	}
	found := Reconciled{}
	for _, key := range r.begun {
		if err := r.send(ctx, key); err != nil {
			return found, err
		}
	}
	for _, key := range r.begun {
		if err := r.sweep(ctx, key, &found); err != nil {
			return found, err
		}
	}
	return found, nil
}

func (r *reconciling) batch() int {
	if r.options.Batch > 0 {
		return r.options.Batch
	}
	return 200
}

func (r *reconciling) begin(ctx context.Context, key string) error {
	_, err := r.client.Do(ctx, "DIRTY.RECONCILE", key, "BEGIN", r.run)
	if errors.Is(err, NoDecl) {
		if _, err := r.client.declare(ctx, r.schema); err != nil {
			return err
		}
		_, err = r.client.Do(ctx, "DIRTY.RECONCILE", key, "BEGIN", r.run)
	}
	return err
}

func (r *reconciling) send(ctx context.Context, key string) error {
	batch := r.batches[key]
	if len(batch) == 0 {
		return nil
	}
	r.batches[key] = batch[:0]
	words := append([]any{"DIRTY.FLUSH", key}, FlushOptions{Run: r.run}.words()...)
	for _, row := range batch {
		if row.err != nil {
			return row.err
		}
		words = appended(words, row.words...)
	}
	_, err := r.client.Do(ctx, words...)
	return err
}

// sweep deletes what has no row, and adds up what the run has found.
func (r *reconciling) sweep(ctx context.Context, key string, found *Reconciled) error {
	words := []any{"DIRTY.RECONCILE", key, "SWEEP", r.run}
	words = option(words, "MAXDELETE", r.options.MaxDelete)
	for {
		reply, err := r.client.Do(ctx, words...)
		if err != nil {
			return err
		}
		status, err := asMap(reply)
		if err != nil {
			return err
		}
		if phase, err := asText(status["phase"]); err != nil || phase != "done" {
			if err != nil {
				return err
			}
			continue
		}
		for name, total := range map[string]*int64{"same": &found.Same, "repaired": &found.Repaired, "stale": &found.Stale,
			"newer": &found.Newer, "scanned": &found.Scanned, "missing": &found.Missing, "deleted": &found.Deleted,
			"foreign": &found.Foreign} {
			count, err := asInt(status[name])
			if err != nil {
				return err
			}
			*total += count
		}
		return nil
	}
}
