package dirtystreams

import (
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"sync"
)

// schema is how structs of a Go type are declared, written and read.
type schema struct {
	goType     reflect.Type
	key        string
	partitions int
	declared   Declaration
	types      []string // fields and types, in turn
	tags       []string // fields and FluxaORM's tags, in turn
	id         column
	columns    []column
	byName     map[string]int
	version    int // the index of the version's column, or -1
}

// column is a field of an entity.
type column struct {
	name  string
	index []int
	// element is the place in an array of FluxaORM, or -1.
	element int
	codec   codec
}

// reached is the column's value in a struct. Embedded pointers that are nil have none, unless they are made.
func (c column) reached(entity reflect.Value, make bool) (reflect.Value, bool) {
	value := entity
	for i, index := range c.index {
		if i > 0 && value.Kind() == reflect.Pointer {
			if value.IsNil() {
				if !make {
					return value, false
				}
				value.Set(reflect.New(value.Type().Elem()))
			}
			value = value.Elem()
		}
		value = value.Field(index)
	}
	if c.element >= 0 {
		value = value.Index(c.element)
	}
	return value, true
}

func (c column) text(entity reflect.Value) (text string, null bool, err error) {
	value, ok := c.reached(entity, false)
	if !ok {
		return "", true, nil
	}
	text, null, err = c.codec.encode(value)
	if err != nil {
		err = fmt.Errorf("field %q: %w", c.name, err)
	}
	return text, null, err
}

var schemas sync.Map // of structs that no declaration names, by type

// schemaOf is how structs are read that nothing is declared for.
func schemaOf(goType reflect.Type) (*schema, error) {
	if known, ok := schemas.Load(goType); ok {
		return known.(*schema), nil
	}
	made, err := newSchema(goType, Declaration{})
	if err != nil {
		return nil, err
	}
	schemas.Store(goType, made)
	return made, nil
}

func newSchema(goType reflect.Type, declared Declaration) (*schema, error) {
	if goType.Kind() != reflect.Struct {
		return nil, fmt.Errorf("an entity must be a struct, not %s", goType)
	}
	s := &schema{goType: goType, key: declared.Key, partitions: declared.Partitions, declared: declared,
		byName: map[string]int{}, version: -1}
	if s.key == "" {
		s.key = goType.Name()
	}
	flux := fluxaORM(goType)
	reader := structReader{schema: s, flux: flux}
	if err := reader.read(goType, nil, "", false); err != nil {
		return nil, err
	}
	if !reader.hasID {
		return nil, fmt.Errorf("%s requires a field ID, or one tagged `dirty:\",id\"`", goType)
	}
	if flux == 1 && s.declared.Name == "" {
		// What the library's own consumers know it by.
		s.declared.Name = goType.String()
	}
	if len(s.tags) > 0 && s.partitions > 0 {
		return nil, fmt.Errorf("%s: streams of FluxaORM's tags cannot be partitioned; give Streams", goType)
	}
	if s.declared.Prefix != "" && s.partitions > 0 {
		return nil, errors.New("Prefix and Partitions exclude each other")
	}
	for _, name := range sortedKeys(declared.Types) {
		if _, ok := s.byName[name]; ok {
			return nil, fmt.Errorf("the type of field %q is the struct's", name)
		}
		s.types = append(s.types, name, declared.Types[name])
	}
	if field := s.declared.Version; field != "" {
		index, ok := s.byName[field]
		if !ok {
			return nil, fmt.Errorf("%s has no field %q for VERSION", goType, field)
		}
		s.version = index
	}
	return s, nil
}

// structReader collects the columns of a struct.
type structReader struct {
	schema *schema
	flux   int // the generation of FluxaORM's tags, 0 for none
	hasID  bool
}

func (r *structReader) read(goType reflect.Type, index []int, prefix string, hidden bool) error {
	for i := 0; i < goType.NumField(); i++ {
		field := goType.Field(i)
		place := append(append([]int(nil), index...), i)
		if field.Anonymous && structOf(field.Type) != nil && !isScalar(field.Type) && field.Tag.Get("dirty") == "" {
			if field.IsExported() || field.Type.Kind() == reflect.Struct {
				if err := r.read(structOf(field.Type), place, prefix, hidden); err != nil {
					return err
				}
			}
			continue
		}
		if !field.IsExported() {
			continue
		}
		var err error
		if r.flux > 0 {
			err = r.fluxField(field, place, prefix, hidden)
		} else {
			err = r.field(field, place)
		}
		if err != nil {
			return fmt.Errorf("%s.%s: %w", goType, field.Name, err)
		}
	}
	return nil
}

// structOf is the struct that a type is or points to, or nil.
func structOf(goType reflect.Type) reflect.Type {
	if goType.Kind() == reflect.Pointer {
		goType = goType.Elem()
	}
	if goType.Kind() == reflect.Struct {
		return goType
	}
	return nil
}

func (r *structReader) field(field reflect.StructField, place []int) error {
	tag := field.Tag.Get("dirty")
	if tag == "-" {
		return nil
	}
	name, options, _ := strings.Cut(tag, ",")
	if name == "" {
		name = field.Name
	}
	isID := field.Name == "ID" && len(place) == 1 && r.noTaggedID(r.schema.goType)
	word := ""
	for _, option := range strings.Split(options, ",") {
		switch {
		case option == "":
		case option == "id":
			isID = true
		case option == "version":
			r.schema.declared.Version = name
		case option == "softdelete":
			r.schema.declared.SoftDelete = name
		case isTypeWord(option):
			word = option
		default:
			return fmt.Errorf("unknown option %q in the tag", option)
		}
	}
	codec, err := codecOf(field.Type, word)
	if err != nil {
		return err
	}
	return r.add(column{name: name, index: place, element: -1, codec: codec}, isID)
}

func (r *structReader) noTaggedID(goType reflect.Type) bool {
	for i := 0; i < goType.NumField(); i++ {
		_, options, _ := strings.Cut(goType.Field(i).Tag.Get("dirty"), ",")
		for _, option := range strings.Split(options, ",") {
			if option == "id" {
				return false
			}
		}
	}
	return true
}

func (r *structReader) add(added column, isID bool) error {
	s := r.schema
	if isID {
		if r.hasID {
			return errors.New("the struct has two ids")
		}
		if added.codec.word == "json" {
			return errors.New("an id must be a number or a text")
		}
		s.id, r.hasID = added, true
		return nil
	}
	if _, ok := s.byName[added.name]; ok {
		return fmt.Errorf("the struct has two fields named %q", added.name)
	}
	s.byName[added.name] = len(s.columns)
	s.columns = append(s.columns, added)
	// A string that is declared is null in FLUXAORM1 where it is missing, as with the library.
	if added.codec.word != "string" || r.flux > 0 {
		s.types = append(s.types, added.name, added.codec.word)
	}
	return nil
}

func (s *schema) keyOf(id string) string {
	return PartitionKey(s.key, Partition(id, s.partitions), s.partitions)
}

// idText is the text of an id: of a number, of a text, or of what the struct's field of the id may hold.
func (s *schema) idText(id any) (string, error) {
	value := reflect.ValueOf(id)
	if entity, ok := s.entity(value); ok {
		return s.entityID(entity)
	}
	switch id := id.(type) {
	case nil:
		return "", errors.New("an id is required")
	case string:
		return id, nil
	case []byte:
		return string(id), nil
	case encoding.TextMarshaler:
		text, err := id.MarshalText()
		return string(text), err
	}
	switch {
	case value.CanInt():
		return strconv.FormatInt(value.Int(), 10), nil
	case value.CanUint():
		return strconv.FormatUint(value.Uint(), 10), nil
	case value.Kind() == reflect.String:
		return value.String(), nil
	}
	return "", fmt.Errorf("an id must be a number or a text, not %T", id)
}

func (s *schema) entityID(entity reflect.Value) (string, error) {
	text, null, err := s.id.text(entity)
	if err == nil && null {
		err = errors.New("an id is required")
	}
	return text, err
}

// entity is the struct that the value is or points to.
func (s *schema) entity(value reflect.Value) (reflect.Value, bool) {
	for value.Kind() == reflect.Pointer && !value.IsNil() {
		value = value.Elem()
	}
	return value, value.IsValid() && value.Type() == s.goType
}

func (s *schema) setID(entity reflect.Value, id string) error {
	value, _ := s.id.reached(entity, true)
	if err := s.id.codec.decode(id, value); err != nil {
		return fmt.Errorf("dirtystreams: id %q: %w", id, err)
	}
	return nil
}

// set writes a field's text into a struct; fields that the struct does not have are left out.
func (s *schema) set(entity reflect.Value, name, text string) error {
	index, ok := s.byName[name]
	if !ok {
		return nil
	}
	value, _ := s.columns[index].reached(entity, true)
	if err := s.columns[index].codec.decode(text, value); err != nil {
		return fmt.Errorf("dirtystreams: field %q: %w", name, err)
	}
	return nil
}
