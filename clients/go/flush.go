package dirtystreams

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"time"
	"unicode/utf8"
)

// Effect is what an operation of a flush did.
type Effect string

// The effects of the manual.
const (
	EffectInsert   Effect = "insert"
	EffectUpdate   Effect = "update"
	EffectDelete   Effect = "delete"
	EffectNone     Effect = "none"
	EffectStale    Effect = "stale"
	EffectConflict Effect = "conflict"
	EffectHidden   Effect = "hidden"
	EffectNewer    Effect = "newer"
	EffectTouch    Effect = "touch"
	EffectSeed     Effect = "seed"
	EffectDeferred Effect = "deferred"
	// EffectUnreadable is that of [Entity.Commit] alone.
	EffectUnreadable Effect = "unreadable"
)

// Operation is one operation of a flush, made by the methods of an [Entity].
type Operation struct {
	schema *schema
	id     string
	words  []string
	err    error
}

// Flushed is what became of an operation.
type Flushed struct {
	Effect Effect
	// Changed are the names of the fields that changed.
	Changed []string
	// Events are the ids of the published events, by their streams; empty ids with DryRun.
	Events map[string]string
}

// FlushOptions are the options of DIRTY.FLUSH.
type FlushOptions struct {
	// Meta goes with each event: who did it, and why.
	Meta map[string]string
	// Force applies the operations whatever their versions say.
	Force bool
	// Once is a token: if a flush with it has succeeded in the last OnceFor, nothing is done and its reply comes again.
	Once    string
	OnceFor time.Duration
	// Defer is a token under which the flush waits for [Entity.Commit].
	Defer string
	// Run is a run of DIRTY.RECONCILE; [Entity.Reconcile] is easier.
	Run string
	// DryRun tells the effects and changes nothing.
	DryRun bool
	// Ack acknowledges events of a group in the same unit.
	Ack *Ack
}

// Ack names events that are acknowledged with a flush, or nothing is done.
type Ack struct {
	Stream, Group, Consumer string
	IDs                     []string
}

func (s *schema) failed(err error) Operation { return Operation{schema: s, err: err} }

func (s *schema) operation(word, id string, arguments ...string) Operation {
	return Operation{schema: s, id: id, words: append([]string{word, id}, arguments...)}
}

func (s *schema) whole(word string, value reflect.Value) Operation {
	entity, id, err := s.identified(value)
	if err != nil {
		return s.failed(err)
	}
	fields, err := s.fields(entity, s.columns)
	if err != nil {
		return s.failed(err)
	}
	return s.operation(word, id, fields...)
}

func (s *schema) identified(value reflect.Value) (entity reflect.Value, id string, err error) {
	entity, ok := s.entity(value)
	if !ok {
		return entity, "", fmt.Errorf("expected a %s", s.goType)
	}
	id, err = s.entityID(entity)
	return entity, id, err
}

// fields are columns as a list of fields: n field value … NULL n field …
func (s *schema) fields(entity reflect.Value, columns []column) ([]string, error) {
	words, nulls := []string{""}, []string(nil)
	for _, column := range columns {
		text, null, err := column.text(entity)
		switch {
		case err != nil:
			return nil, err
		case null:
			nulls = append(nulls, column.name)
		default:
			words = append(words, column.name, text)
		}
	}
	words[0] = strconv.Itoa(len(words) / 2)
	if len(nulls) > 0 {
		words = append(append(words, "NULL", strconv.Itoa(len(nulls))), nulls...)
	}
	return words, nil
}

func (s *schema) update(value reflect.Value, names []string) Operation {
	entity, id, err := s.identified(value)
	if err != nil {
		return s.failed(err)
	}
	columns := s.columns
	if len(names) > 0 {
		columns = nil
		versioned := s.version < 0
		for _, name := range names {
			index, ok := s.byName[name]
			if !ok {
				return s.failed(fmt.Errorf("%s has no field %q", s.goType, name))
			}
			versioned = versioned || index == s.version
			columns = append(columns, s.columns[index])
		}
		if !versioned {
			columns = append(columns, s.columns[s.version])
		}
	}
	fields, err := s.fields(entity, columns)
	if err != nil {
		return s.failed(err)
	}
	return s.operation("UPDATE", id, fields...)
}

func (s *schema) change(old, new reflect.Value) Operation {
	if !s.declared.Stateless {
		return s.failed(errors.New("only a Stateless type takes a change; flush the new state"))
	}
	before, _, err := s.identified(old)
	if err != nil {
		return s.failed(err)
	}
	after, id, err := s.identified(new)
	if err != nil {
		return s.failed(err)
	}
	words, hasNull := []string{"0"}, false
	for _, column := range s.columns {
		oldText, oldNull, err := column.text(before)
		if err != nil {
			return s.failed(err)
		}
		newText, newNull, err := column.text(after)
		if err != nil {
			return s.failed(err)
		}
		hasNull = hasNull || oldNull != newNull
		if !oldNull && !newNull {
			words = append(words, column.name, oldText, newText)
		}
	}
	if !hasNull {
		words[0] = strconv.Itoa(len(words) / 3)
		return s.operation("UPDATE", id, words...)
	}
	oldText, err := s.object(before)
	if err != nil {
		return s.failed(err)
	}
	newText, err := s.object(after)
	if err != nil {
		return s.failed(err)
	}
	return s.operation("UPDATE", id, "JSON", oldText, newText)
}

// object is an entity as a JSON object, which can say null.
func (s *schema) object(entity reflect.Value) (string, error) {
	values := map[string]any{}
	for _, column := range s.columns {
		text, null, err := column.text(entity)
		switch {
		case err != nil:
			return "", err
		case null:
		case column.codec.word == "json":
			values[column.name] = json.RawMessage(text)
		case !utf8.ValidString(text):
			return "", fmt.Errorf("field %q is not UTF-8, and another one changes from or to null", column.name)
		default:
			values[column.name] = text
		}
	}
	text, err := json.Marshal(values)
	return string(text), err
}

func (s *schema) remove(idOrEntity any) Operation {
	id, err := s.idText(idOrEntity)
	if err != nil {
		return s.failed(err)
	}
	entity, ok := s.entity(reflect.ValueOf(idOrEntity))
	if !ok || (s.version < 0 && !s.declared.Stateless) {
		return s.operation("DELETE", id)
	}
	columns := s.columns
	if !s.declared.Stateless {
		columns = s.columns[s.version : s.version+1]
	}
	fields, err := s.fields(entity, columns)
	if err != nil {
		return s.failed(err)
	}
	return s.operation("DELETE", id, fields...)
}

func (s *schema) touch(idOrEntity any) Operation {
	id, err := s.idText(idOrEntity)
	if err != nil {
		return s.failed(err)
	}
	return s.operation("TOUCH", id)
}

// Flush sends entities, each a struct that the client knows (or a pointer to one), which is its whole state, or an
// [Operation], and returns the effect of each. Entities of one type (and one partition) are one command, and so one
// unit: all are applied, or none. Types are sent in the order in which they are named first; after an error, what was
// sent before stays.
//
// If Redis has lost a declaration, Flush declares it again and repeats the command.
func (c *Client) Flush(ctx context.Context, entities ...any) ([]Effect, error) {
	flushed, err := c.flush(ctx, FlushOptions{}, false, entities)
	effects := make([]Effect, len(flushed))
	for i := range flushed {
		effects[i] = flushed[i].Effect
	}
	return effects, err
}

// All are the elements of a slice as arguments of [Client.Flush], which takes entities of any types:
//
//	client.Flush(ctx, dirtystreams.All(rows)...)
func All[T any](entities []T) []any {
	arguments := make([]any, len(entities))
	for i, entity := range entities {
		arguments[i] = entity
	}
	return arguments
}

// FlushWith is [Client.Flush] with options, which also tells the changed fields and the events.
func (c *Client) FlushWith(ctx context.Context, options FlushOptions, entities ...any) ([]Flushed, error) {
	return c.flush(ctx, options, options.Defer == "", entities)
}

// unit is the operations of one command.
type unit struct {
	schema *schema
	key    string
	words  []string
	places []int // of its operations in what the caller gave
}

func (c *Client) flush(ctx context.Context, options FlushOptions, withEvents bool, entities []any) ([]Flushed, error) {
	units, err := c.units(entities)
	if err != nil {
		return nil, fmt.Errorf("dirtystreams: %w", err)
	}
	flushed := make([]Flushed, len(entities))
	for _, unit := range units {
		words := append([]any{"DIRTY.FLUSH", unit.key}, options.words()...)
		if withEvents {
			words = append(words, "WITHEVENTS")
		}
		words = appended(words, unit.words...)
		reply, err := c.Do(ctx, words...)
		if errors.Is(err, NoDecl) {
			if _, err := c.declare(ctx, unit.schema); err != nil {
				return flushed, err
			}
			reply, err = c.Do(ctx, words...)
		}
		if err != nil {
			return flushed, err
		}
		if err := unit.told(reply, flushed, withEvents); err != nil {
			return flushed, err
		}
	}
	return flushed, nil
}

func (c *Client) units(entities []any) ([]*unit, error) {
	var units []*unit
	byKey := map[string]*unit{}
	for i, entity := range entities {
		operation, ok := entity.(Operation)
		if !ok {
			value := reflect.ValueOf(entity)
			for value.Kind() == reflect.Pointer && !value.IsNil() {
				value = value.Elem()
			}
			switch {
			case !value.IsValid() || value.Kind() == reflect.Pointer:
				return nil, fmt.Errorf("nil cannot be flushed (%T)", entity)
			case value.Kind() == reflect.Slice || value.Kind() == reflect.Array:
				return nil, fmt.Errorf("a %T is not an entity; flush its elements: Flush(ctx, dirtystreams.All(…)...)", entity)
			case c.ofType(value.Type()) == nil:
				return nil, fmt.Errorf("nothing is declared for %T; give its Entity to New or Declare", entity)
			}
			operation = c.ofType(value.Type()).whole("SNAPSHOT", value)
		}
		if operation.err != nil {
			return nil, operation.err
		}
		if operation.schema == nil {
			return nil, errors.New("an operation is made by a method of an Entity")
		}
		key := operation.schema.keyOf(operation.id)
		if byKey[key] == nil {
			byKey[key] = &unit{schema: operation.schema, key: key}
			units = append(units, byKey[key])
		}
		byKey[key].words = append(byKey[key].words, operation.words...)
		byKey[key].places = append(byKey[key].places, i)
	}
	return units, nil
}

func (options FlushOptions) words() []any {
	var words []any
	if len(options.Meta) > 0 {
		words = append(words, "META", strconv.Itoa(len(options.Meta)))
		for _, name := range sortedKeys(options.Meta) {
			words = append(words, name, options.Meta[name])
		}
	}
	if options.Force {
		words = append(words, "FORCE")
	}
	if options.Once != "" {
		words = append(words, "ONCE", options.Once)
		if options.OnceFor > 0 {
			words = append(words, milliseconds(options.OnceFor))
		}
	}
	if options.Defer != "" {
		words = append(words, "DEFER", options.Defer)
	}
	if options.Run != "" {
		words = append(words, "RUN", options.Run)
	}
	if options.DryRun {
		words = append(words, "DRYRUN")
	}
	if ack := options.Ack; ack != nil {
		words = counted(append(words, "ACK", ack.Stream, "GROUP", ack.Group, ack.Consumer), ack.IDs...)
	}
	return words
}

// told writes what the reply tells of each operation to its place.
func (u *unit) told(reply any, flushed []Flushed, withEvents bool) error {
	outcomes, err := asArray(reply)
	if err != nil {
		return err
	}
	if len(outcomes) == 1 && len(u.places) > 1 {
		if text, err := asText(outcomes[0]); err == nil && Effect(text) == EffectDeferred {
			for _, place := range u.places {
				flushed[place].Effect = EffectDeferred
			}
			return nil
		}
	}
	if len(outcomes) != len(u.places) {
		return malformedError{"expected an effect for each operation"}
	}
	for i, place := range u.places {
		outcome := outcomes[i]
		if withEvents {
			if outcome, err = flushed[place].events(outcome); err != nil {
				return err
			}
		}
		text, err := asText(outcome)
		if err != nil {
			return err
		}
		flushed[place].Effect = Effect(text)
	}
	return nil
}

// events reads an element of WITHEVENTS, and returns its effect.
func (f *Flushed) events(outcome any) (effect any, err error) {
	parts, err := asArray(outcome)
	if err != nil || len(parts) != 3 {
		return nil, malformedError{"expected an effect, fields and events"}
	}
	if f.Changed, err = asTexts(parts[1]); err != nil {
		return nil, err
	}
	published, err := asArray(parts[2])
	if err != nil {
		return nil, err
	}
	f.Events = map[string]string{}
	for i := 0; i+1 < len(published); i += 2 {
		stream, err := asText(published[i])
		if err != nil {
			return nil, err
		}
		f.Events[stream] = ""
		if published[i+1] != nil {
			if f.Events[stream], err = asText(published[i+1]); err != nil {
				return nil, err
			}
		}
	}
	return parts[0], nil
}
