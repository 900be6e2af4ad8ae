package dirtystreams

import (
	"encoding/json"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// fluxaORM is the generation of FluxaORM's tags that a struct has: 1 for dirty=, 2 for dirtyStream=, 0 for none. The
// tags of a struct decide together; those of both generations in one struct are read as the first.
func fluxaORM(goType reflect.Type) int {
	generation := 0
	for i := 0; i < goType.NumField(); i++ {
		field := goType.Field(i)
		found := 0
		for _, part := range ormParts(field.Tag) {
			switch {
			case strings.HasPrefix(part, "dirty="):
				return 1
			case strings.HasPrefix(part, "dirtyStream="):
				found = 2
			}
		}
		if inner := structOf(field.Type); found == 0 && inner != nil && !isScalar(field.Type) && inner != goType {
			found = fluxaORM(inner)
		}
		if found == 1 {
			return 1
		}
		if found == 2 {
			generation = 2
		}
	}
	return generation
}

func ormParts(tag reflect.StructTag) []string {
	return strings.Split(tag.Get("orm"), ";")
}

// ormOption is the value of an option in the tag, and whether it is there.
func ormOption(tag reflect.StructTag, name string) (string, bool) {
	for _, part := range ormParts(tag) {
		key, value, _ := strings.Cut(part, "=")
		if key == name {
			return value, true
		}
	}
	return "", false
}

func isDirty(tag reflect.StructTag) bool {
	_, first := ormOption(tag, "dirty")
	_, second := ormOption(tag, "dirtyStream")
	return first || second
}

// fluxField adds the columns of a field as FluxaORM makes them: a nested struct has those of its fields, with its name
// before theirs, an array has one for each element.
func (r *structReader) fluxField(field reflect.StructField, place []int, prefix string, hidden bool) error {
	if _, ignored := ormOption(field.Tag, "ignore"); ignored {
		return nil
	}
	name := prefix + field.Name
	if tag := field.Tag.Get("orm"); tag != "" && isDirty(field.Tag) && !hidden {
		r.schema.tags = append(r.schema.tags, name, tag)
	}
	if name == "FakeDelete" && field.Type.Kind() == reflect.Bool && r.schema.declared.SoftDelete == "" {
		r.schema.declared.SoftDelete = name
	}
	if field.Type.Kind() == reflect.Struct && !isScalar(field.Type) && !isGeneric(field.Type) {
		// The library does not look at tags within a struct that has one itself.
		return r.read(field.Type, place, name, hidden || isDirty(field.Tag))
	}
	if field.Type.Kind() == reflect.Array {
		element, err := r.fluxCodec(field.Type.Elem(), field.Tag)
		for i := 0; i < field.Type.Len() && err == nil; i++ {
			err = r.add(column{name: name + "_" + strconv.Itoa(i+1), index: place, element: i, codec: element}, false)
		}
		return err
	}
	codec, err := r.fluxCodec(field.Type, field.Tag)
	if err != nil {
		return err
	}
	return r.add(column{name: name, index: place, element: -1, codec: codec}, name == "ID")
}

// isGeneric reports whether a type is one of the library's own, such as Struct[T], which is one JSON column.
func isGeneric(goType reflect.Type) bool { return strings.Contains(goType.Name(), "[") }

func (r *structReader) fluxCodec(goType reflect.Type, tag reflect.StructTag) (codec, error) {
	if isGeneric(goType) && goType.Kind() != reflect.Uint64 {
		return alwaysJSON, nil
	}
	word, err := fluxWord(goType, tag, r.flux)
	if err != nil {
		return codec{}, err
	}
	if goType.Kind() == reflect.Pointer {
		inner, err := r.fluxCodec(goType.Elem(), tag)
		return nullable(inner), err
	}
	made, err := codecOf(goType, word)
	switch {
	case err != nil:
	case goType == timeType:
		made = wholeSeconds(made)
	case strings.HasPrefix(goType.Name(), "Reference[") && goType.Kind() == reflect.Uint64:
		made = zeroIsNull(made)
	case goType.Kind() == reflect.Slice && goType.Elem().Kind() == reflect.String:
		made = setCodec
	case goType.Kind() == reflect.String && r.flux == 1:
		made = zeroIsNull(made)
	}
	return made, err
}

// fluxWord is the type of a column whose events have the library's bytes then, or empty for that of the Go type.
func fluxWord(goType reflect.Type, tag reflect.StructTag, generation int) (string, error) {
	switch {
	case goType == timeType && generation == 1:
		if _, withTime := ormOption(tag, "time"); withTime {
			return "datetime", nil
		}
		return "date", nil
	case goType.Kind() == reflect.Float32 || goType.Kind() == reflect.Float64:
		if digits, ok := ormOption(tag, "precision"); ok {
			return "decimal:" + digits, digitsOnly(digits)
		}
		if size, ok := ormOption(tag, "decimal"); ok {
			_, digits, _ := strings.Cut(size, ",")
			return "decimal:" + digits, digitsOnly(digits)
		}
		if goType.Kind() == reflect.Float32 && generation == 1 {
			return "decimal:4", nil
		}
	}
	return "", nil
}

func digitsOnly(digits string) error {
	_, err := strconv.ParseUint(digits, 10, 8)
	return err
}

func zeroIsNull(inner codec) codec {
	encode := inner.encode
	inner.encode = func(value reflect.Value) (string, bool, error) {
		if value.IsZero() {
			return "", true, nil
		}
		return encode(value)
	}
	return inner
}

// alwaysJSON writes References[T] and Struct[T]: where they are nil, the library writes the JSON null.
var alwaysJSON = codec{
	word: "json",
	encode: func(value reflect.Value) (string, bool, error) {
		text, err := json.Marshal(value.Interface())
		return string(text), false, err
	},
	decode: jsonCodec.decode,
}

// setCodec writes a set as the library does: joined by commas.
var setCodec = codec{
	word: "string",
	encode: func(value reflect.Value) (string, bool, error) {
		members := make([]string, value.Len())
		for i := range members {
			members[i] = value.Index(i).String()
		}
		return strings.Join(members, ","), value.IsNil(), nil
	},
	decode: func(text string, value reflect.Value) error {
		members := []string{}
		if text != "" {
			members = strings.Split(text, ",")
		}
		made := reflect.MakeSlice(value.Type(), len(members), len(members))
		for i, member := range members {
			made.Index(i).SetString(member)
		}
		value.Set(made)
		return nil
	},
}

// wholeSeconds cuts what the library cuts before it compares, and writes UTC, as it does.
func wholeSeconds(inner codec) codec {
	encode := inner.encode
	inner.encode = func(value reflect.Value) (string, bool, error) {
		instant := value.Interface().(time.Time).UTC().Truncate(time.Second)
		return encode(reflect.ValueOf(instant))
	}
	return inner
}
