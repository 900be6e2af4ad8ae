package dirtystreams

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"time"
)

// Op is what happened to an entity.
type Op string

// The ops of events.
const (
	OpInsert Op = "insert"
	OpUpdate Op = "update"
	OpDelete Op = "delete"
	OpTouch  Op = "touch"
	// OpRead is an entity as it is stored, in the snapshot phase of a cursor.
	OpRead Op = "read"
)

// Fields is an entity as a map, for events of types that the program has no struct for: nil, bool, [json.Number],
// string, and slices and maps of values of type json.
type Fields map[string]any

// Change is the old and the new value of a field, with the type that the struct's field has, or nil for null.
type Change struct {
	Old, New any
}

// Event is an event of an entity that is a struct of type T, or [Fields].
type Event[T any] struct {
	// ID is the event's id in its stream; empty for a read.
	ID string
	// Stream is where it was read.
	Stream string
	// Op is empty for an entry that is not an event of the module.
	Op       Op
	Entity   string
	EntityID string
	// Version is the entity's version, if the event has one; else 0.
	Version int64
	// Old and New are the entity before and after the event, as far as the event tells: PAYLOAD decides. Fields that it
	// does not tell are zero; [Event.Changed] and [Event.Has] say which ones. Old is nil for an insert and a read, New
	// for a delete.
	Old, New *T
	// Changes are the changed fields.
	Changes map[string]Change
	Meta    map[string]string
	// Deliveries counts the deliveries to the group, including this one, and Failures those that failed.
	Deliveries, Failures int
	// Dead says why the event is in a dead stream; else nil.
	Dead *Dead
	// Entry are the fields and values, in turn, of an entry that is not an event of the module.
	Entry []string

	wire wireEvent
}

// Dead is what the module keeps of an event that died.
type Dead struct {
	ID, Stream, Reader, Consumer, Error string
	Deliveries, Failures                int
	First, Last                         time.Time
}

// Changed reports whether the field changed, by its name in the entity.
func (e *Event[T]) Changed(field string) bool {
	_, ok := e.Changes[field]
	return ok
}

// Has reports whether the event tells the field's value, as a change or in an image.
func (e *Event[T]) Has(field string) bool {
	_, before := e.wire.Before[field]
	_, after := e.wire.After[field]
	return before || after || e.Changed(field)
}

// As returns an event of [Fields] as one of a struct, for streams that several entity types share.
func As[T any](event *Event[Fields]) (*Event[T], error) {
	typed, err := typedEvent[T](event.wire, event.Stream, nil)
	if err != nil {
		return nil, err
	}
	return typed, nil
}

// wireEvent is the JSON of an event.
type wireEvent struct {
	ID         *text                 `json:"id"`
	Entity     text                  `json:"entity"`
	EntityID   text                  `json:"entity-id"`
	Op         text                  `json:"op"`
	Version    json.Number           `json:"version"`
	Changes    map[string][2]literal `json:"changes"`
	Before     map[string]literal    `json:"before"`
	After      map[string]literal    `json:"after"`
	Meta       map[string]text       `json:"meta"`
	Fields     []text                `json:"fields"`
	Deliveries int                   `json:"deliveries"`
	Failures   int                   `json:"failures"`
	Dead       *struct {
		ID         text  `json:"id"`
		Stream     text  `json:"stream"`
		Reader     text  `json:"reader"`
		Consumer   text  `json:"consumer"`
		Error      text  `json:"error"`
		Deliveries int   `json:"deliveries"`
		Failures   int   `json:"failures"`
		First      int64 `json:"first-ms"`
		Last       int64 `json:"last-ms"`
	} `json:"dead"`
}

// text is a string of the JSON.
type text string

func (t *text) decode() error {
	decoded, err := base64.StdEncoding.DecodeString(string(*t))
	*t = text(decoded)
	return err
}

// literal is a value as the JSON has it.
type literal struct {
	raw string
	// text is the value as a codec reads it: a string without its quotes, any other value as written.
	text     string
	isString bool
}

func (l *literal) UnmarshalJSON(raw []byte) error {
	*l = literal{raw: string(raw), text: string(raw), isString: raw[0] == '"'}
	if l.isString {
		return json.Unmarshal(raw, &l.text)
	}
	return nil
}

func (l literal) isNull() bool { return l.raw == "" || l.raw == "null" }

// decoded undoes base64. A string within a value of type json is not in base64; only who knows the type can tell.
func (l literal) decoded() literal {
	if bytes, err := base64.StdEncoding.DecodeString(l.text); l.isString && err == nil {
		l.text = string(bytes)
	}
	return l
}

// as is the text for a codec.
func (l literal) as(c codec) string {
	if c.word == "json" {
		return l.raw
	}
	return l.text
}

// untyped is the value for a program that has no struct for the entity.
func (l literal) untyped() (any, error) {
	if l.isNull() {
		return nil, nil
	}
	if l.isString {
		return l.text, nil
	}
	var value any
	decoder := json.NewDecoder(strings.NewReader(l.raw))
	decoder.UseNumber()
	err := decoder.Decode(&value)
	return value, err
}

// parseWire reads the JSON of an event. If one of its strings is not UTF-8, all are base64 in it; that is undone here.
func parseWire(raw string) (wireEvent, error) {
	var outer struct {
		wireEvent
		Base64 json.RawMessage `json:"base64"`
	}
	if err := json.Unmarshal([]byte(raw), &outer); err != nil {
		return wireEvent{}, malformedError{"an event: " + err.Error()}
	}
	if outer.Base64 == nil {
		return outer.wireEvent, nil
	}
	var wire wireEvent
	if err := json.Unmarshal(outer.Base64, &wire); err != nil {
		return wireEvent{}, malformedError{"an event: " + err.Error()}
	}
	if err := wire.decode(); err != nil {
		return wireEvent{}, malformedError{"an event: " + err.Error()}
	}
	return wire, nil
}

// decode undoes base64. Names of fields and of META stay as they are: base64 where they are not UTF-8.
func (w *wireEvent) decode() error {
	texts := []*text{&w.Entity, &w.EntityID, &w.Op}
	if w.ID != nil {
		texts = append(texts, w.ID)
	}
	if dead := w.Dead; dead != nil {
		texts = append(texts, &dead.ID, &dead.Stream, &dead.Reader, &dead.Consumer, &dead.Error)
	}
	for i := range w.Fields {
		texts = append(texts, &w.Fields[i])
	}
	for _, encoded := range texts {
		if err := encoded.decode(); err != nil {
			return err
		}
	}
	for name, value := range w.Meta {
		if err := value.decode(); err != nil {
			return err
		}
		w.Meta[name] = value
	}
	for _, image := range []map[string]literal{w.Before, w.After} {
		for name, value := range image {
			image[name] = value.decoded()
		}
	}
	for name, change := range w.Changes {
		w.Changes[name] = [2]literal{change[0].decoded(), change[1].decoded()}
	}
	return nil
}

// compareImages finds the changes of an event that has images in their place (PAYLOAD IMAGES).
func (w *wireEvent) compareImages(op Op) {
	// An update of which only the new state is known (FORMAT FLAT) does not tell what has changed.
	if len(w.Changes) > 0 || op == OpRead || (op == OpUpdate && len(w.Before) == 0) {
		return
	}
	w.Changes = map[string][2]literal{}
	for name, old := range w.Before {
		if w.After[name].raw != old.raw {
			w.Changes[name] = [2]literal{old, w.After[name]}
		}
	}
	for name, new := range w.After {
		if _, ok := w.Before[name]; !ok {
			w.Changes[name] = [2]literal{{}, new}
		}
	}
}

// typedEvent is the event with entities of type T; known is how they are declared, or nil.
func typedEvent[T any](wire wireEvent, stream string, known *schema) (*Event[T], error) {
	event := &Event[T]{
		Stream: stream, Op: Op(wire.Op), Entity: string(wire.Entity), EntityID: string(wire.EntityID),
		Deliveries: wire.Deliveries, Failures: wire.Failures, wire: wire,
	}
	if wire.ID != nil {
		event.ID = string(*wire.ID)
	}
	for _, field := range wire.Fields {
		event.Entry = append(event.Entry, string(field))
	}
	if len(wire.Meta) > 0 {
		event.Meta = make(map[string]string, len(wire.Meta))
		for name, value := range wire.Meta {
			event.Meta[name] = string(value)
		}
	}
	if dead := wire.Dead; dead != nil {
		event.Dead = &Dead{
			ID: string(dead.ID), Stream: string(dead.Stream), Reader: string(dead.Reader),
			Consumer: string(dead.Consumer), Error: string(dead.Error), Deliveries: dead.Deliveries,
			Failures: dead.Failures, First: time.UnixMilli(dead.First), Last: time.UnixMilli(dead.Last),
		}
	}
	if event.Op == "" {
		return event, nil
	}
	event.wire.compareImages(event.Op)
	if wire.Version != "" {
		version, err := wire.Version.Int64()
		if err != nil {
			return event, fmt.Errorf("dirtystreams: the version %s is beyond an int64", wire.Version)
		}
		event.Version = version
	}
	// A touch tells both sides with PAYLOAD IMAGES alone; then they are equal.
	if event.Op != OpInsert && event.Op != OpRead {
		event.Old = new(T)
	}
	if event.Op != OpDelete {
		event.New = new(T)
	}
	if fields, ok := any(event).(*Event[Fields]); ok {
		return event, fillFields(fields)
	}
	if known == nil {
		var err error
		if known, err = schemaOf(reflect.TypeOf((*T)(nil)).Elem()); err != nil {
			return event, fmt.Errorf("dirtystreams: %w", err)
		}
	}
	return event, event.fill(known)
}

// side is the old or the new entity.
func (e *Event[T]) side(i int) *T {
	if i == 0 {
		return e.Old
	}
	return e.New
}

func (e *Event[T]) fill(known *schema) error {
	for i, image := range []map[string]literal{e.wire.Before, e.wire.After} {
		if e.side(i) == nil {
			continue
		}
		entity := reflect.ValueOf(e.side(i)).Elem()
		if err := known.setID(entity, e.EntityID); err != nil {
			return err
		}
		for name, value := range image {
			if err := known.setLiteral(entity, name, value); err != nil {
				return err
			}
		}
	}
	e.Changes = make(map[string]Change, len(e.wire.Changes))
	for name, change := range e.wire.Changes {
		for i := range change {
			if e.side(i) == nil {
				continue
			}
			if err := known.setLiteral(reflect.ValueOf(e.side(i)).Elem(), name, change[i]); err != nil {
				return err
			}
		}
		var err error
		if e.Changes[name], err = known.valuesOf(name, change); err != nil {
			return err
		}
	}
	return nil
}

func (s *schema) setLiteral(entity reflect.Value, name string, value literal) error {
	index, ok := s.byName[name]
	if !ok || value.isNull() {
		return nil
	}
	return s.set(entity, name, value.as(s.columns[index].codec))
}

// valuesOf are the old and new value of a field, with the type of the struct's field.
func (s *schema) valuesOf(name string, change [2]literal) (Change, error) {
	var values [2]any
	for i, value := range change {
		index, ok := s.byName[name]
		if value.isNull() {
			continue
		}
		if !ok {
			var err error
			if values[i], err = value.untyped(); err != nil {
				return Change{}, err
			}
			continue
		}
		entity := reflect.New(s.goType).Elem()
		if err := s.setLiteral(entity, name, value); err != nil {
			return Change{}, err
		}
		field, _ := s.columns[index].reached(entity, true)
		if field.Kind() == reflect.Pointer {
			field = field.Elem()
		}
		values[i] = field.Interface()
	}
	return Change{Old: values[0], New: values[1]}, nil
}

func fillFields(e *Event[Fields]) error {
	e.Changes = make(map[string]Change, len(e.wire.Changes))
	for i, image := range []map[string]literal{e.wire.Before, e.wire.After} {
		if e.side(i) == nil {
			continue
		}
		*e.side(i) = make(Fields, len(image)+len(e.wire.Changes))
		for name, value := range image {
			untyped, err := value.untyped()
			if err != nil {
				return err
			}
			(*e.side(i))[name] = untyped
		}
	}
	for name, change := range e.wire.Changes {
		var values [2]any
		for i := range change {
			var err error
			if values[i], err = change[i].untyped(); err != nil {
				return err
			}
			if e.side(i) != nil {
				(*e.side(i))[name] = values[i]
			}
		}
		e.Changes[name] = Change{Old: values[0], New: values[1]}
	}
	return nil
}
