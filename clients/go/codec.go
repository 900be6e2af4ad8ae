package dirtystreams

import (
	"database/sql"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/big"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// codec writes a Go value as the text of a type, and reads it.
type codec struct {
	word   string // the type, as TYPES has it
	encode func(value reflect.Value) (text string, null bool, err error)
	decode func(text string, value reflect.Value) error
}

var (
	timeType        = reflect.TypeOf(time.Time{})
	bigIntType      = reflect.TypeOf(big.Int{})
	rawJSONType     = reflect.TypeOf(json.RawMessage(nil))
	numberType      = reflect.TypeOf(json.Number(""))
	marshalerType   = reflect.TypeOf((*encoding.TextMarshaler)(nil)).Elem()
	unmarshalerType = reflect.TypeOf((*encoding.TextUnmarshaler)(nil)).Elem()
)

func isTypeWord(word string) bool {
	switch word {
	case "string", "int", "uint", "float", "decimal", "bool", "time", "date", "datetime", "json":
		return true
	}
	digits, found := cutPrefix(word, "decimal:")
	_, err := strconv.ParseUint(digits, 10, 16)
	return found && err == nil
}

// cutPrefix is strings.CutPrefix, which Go 1.19 does not have.
func cutPrefix(text, prefix string) (string, bool) {
	return strings.TrimPrefix(text, prefix), strings.HasPrefix(text, prefix)
}

// isScalar reports whether a struct is one value, and not its fields.
func isScalar(goType reflect.Type) bool {
	if goType.Kind() == reflect.Pointer {
		goType = goType.Elem()
	}
	_, isNull := nullTypes[goType]
	return goType == timeType || goType == bigIntType || isNull ||
		goType.Implements(marshalerType) || reflect.PointerTo(goType).Implements(marshalerType)
}

// codecOf is the codec of a Go type; word is the type that the tag names, or empty.
func codecOf(goType reflect.Type, word string) (codec, error) {
	switch {
	case goType.Kind() == reflect.Pointer:
		return pointerCodec(goType, word)
	case word == "json":
		return jsonCodec, nil
	case goType == timeType:
		return timeCodec(word)
	case goType == bigIntType:
		return withWord(bigIntCodec, word), nil
	case goType == rawJSONType:
		return jsonCodec, nil
	case goType == numberType:
		return withWord(stringCodec, either(word, "decimal")), nil
	}
	if null, ok := nullTypes[goType]; ok {
		return nullCodec(goType, null, word)
	}
	if (goType.Implements(marshalerType) || reflect.PointerTo(goType).Implements(marshalerType)) &&
		reflect.PointerTo(goType).Implements(unmarshalerType) {
		return withWord(textCodec, word), nil
	}
	switch goType.Kind() {
	case reflect.Bool:
		return withWord(boolCodec, word), nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return withWord(intCodec, word), nil
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return withWord(uintCodec, word), nil
	case reflect.Float32, reflect.Float64:
		if digits, found := cutPrefix(word, "decimal:"); found {
			n, err := strconv.Atoi(digits)
			return roundedCodec(n, goType.Bits()), err
		}
		return withWord(floatCodec(goType.Bits()), word), nil
	case reflect.String:
		return withWord(stringCodec, word), nil
	case reflect.Slice:
		if goType.Elem().Kind() == reflect.Uint8 {
			return withWord(bytesCodec, word), nil
		}
		return unlessWord(goType, word)
	case reflect.Struct, reflect.Map, reflect.Array, reflect.Interface:
		return unlessWord(goType, word)
	}
	return codec{}, fmt.Errorf("%s cannot be a field", goType)
}

func unlessWord(goType reflect.Type, word string) (codec, error) {
	if word != "" {
		return codec{}, fmt.Errorf("%s cannot be a %s", goType, word)
	}
	return jsonCodec, nil
}

func either(word, otherwise string) string {
	if word == "" {
		return otherwise
	}
	return word
}

func withWord(c codec, word string) codec {
	c.word = either(word, c.word)
	return c
}

func pointerCodec(goType reflect.Type, word string) (codec, error) {
	inner, err := codecOf(goType.Elem(), word)
	return nullable(inner), err
}

// nullable is the codec of a pointer to what the other codec holds.
func nullable(inner codec) codec {
	return codec{
		word: inner.word,
		encode: func(value reflect.Value) (string, bool, error) {
			if value.IsNil() {
				return "", true, nil
			}
			return inner.encode(value.Elem())
		},
		decode: func(text string, value reflect.Value) error {
			made := reflect.New(value.Type().Elem())
			value.Set(made)
			return inner.decode(text, made.Elem())
		},
	}
}

var stringCodec = codec{
	word:   "string",
	encode: func(value reflect.Value) (string, bool, error) { return value.String(), false, nil },
	decode: func(text string, value reflect.Value) error { value.SetString(text); return nil },
}

var bytesCodec = codec{
	word: "string",
	encode: func(value reflect.Value) (string, bool, error) {
		return string(value.Bytes()), value.IsNil(), nil
	},
	decode: func(text string, value reflect.Value) error { value.SetBytes([]byte(text)); return nil },
}

var boolCodec = codec{
	word: "bool",
	encode: func(value reflect.Value) (string, bool, error) {
		if value.Bool() {
			return "1", false, nil
		}
		return "0", false, nil
	},
	decode: func(text string, value reflect.Value) error {
		flag, err := strconv.ParseBool(text)
		value.SetBool(flag)
		return err
	},
}

var intCodec = codec{
	word: "int",
	encode: func(value reflect.Value) (string, bool, error) {
		return strconv.FormatInt(value.Int(), 10), false, nil
	},
	decode: func(text string, value reflect.Value) error {
		number, err := strconv.ParseInt(text, 10, value.Type().Bits())
		value.SetInt(number)
		return err
	},
}

var uintCodec = codec{
	word: "uint",
	encode: func(value reflect.Value) (string, bool, error) {
		return strconv.FormatUint(value.Uint(), 10), false, nil
	},
	decode: func(text string, value reflect.Value) error {
		number, err := strconv.ParseUint(text, 10, value.Type().Bits())
		value.SetUint(number)
		return err
	},
}

func finite(value reflect.Value) (float64, error) {
	number := value.Float()
	if math.IsNaN(number) || math.IsInf(number, 0) {
		return 0, fmt.Errorf("%v is not a number of Redis", number)
	}
	return number, nil
}

func decodeFloat(text string, value reflect.Value) error {
	number, err := strconv.ParseFloat(text, value.Type().Bits())
	value.SetFloat(number)
	return err
}

func floatCodec(bits int) codec {
	return codec{
		word: "float",
		encode: func(value reflect.Value) (string, bool, error) {
			number, err := finite(value)
			return strconv.FormatFloat(number, 'g', -1, bits), false, err
		},
		decode: decodeFloat,
	}
}

// roundedCodec writes a float with n digits behind the point, rounded as FluxaORM rounds: half away from zero, as
// floats. More digits would be refused.
func roundedCodec(n, bits int) codec {
	scale := math.Pow10(n)
	return codec{
		word: "decimal:" + strconv.Itoa(n),
		encode: func(value reflect.Value) (string, bool, error) {
			number, err := finite(value)
			if scaled := number * scale; !math.IsInf(scaled, 0) {
				number = math.Round(scaled) / scale
			}
			return strconv.FormatFloat(number, 'f', n, 64), false, err
		},
		decode: decodeFloat,
	}
}

var textCodec = codec{
	word: "string",
	encode: func(value reflect.Value) (string, bool, error) {
		marshaler, ok := value.Interface().(encoding.TextMarshaler)
		if !ok {
			pointer := reflect.New(value.Type())
			pointer.Elem().Set(value)
			marshaler = pointer.Interface().(encoding.TextMarshaler)
		}
		text, err := marshaler.MarshalText()
		return string(text), false, err
	},
	decode: func(text string, value reflect.Value) error {
		return value.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(text))
	},
}

var bigIntCodec = codec{word: "decimal", encode: textCodec.encode, decode: textCodec.decode}

var jsonCodec = codec{
	word: "json",
	encode: func(value reflect.Value) (string, bool, error) {
		switch value.Kind() {
		case reflect.Map, reflect.Slice, reflect.Interface:
			if value.IsNil() {
				return "", true, nil
			}
		}
		text, err := json.Marshal(value.Interface())
		return string(text), false, err
	},
	decode: func(text string, value reflect.Value) error {
		return json.Unmarshal([]byte(text), value.Addr().Interface())
	},
}

// Texts of times: what is written, and what is read.
const (
	dateLayout     = "2006-01-02"
	datetimeLayout = "2006-01-02T15:04:05.999999999"
)

func timeCodec(word string) (codec, error) {
	word = either(word, "time")
	layout := map[string]string{"time": time.RFC3339Nano, "date": dateLayout, "datetime": datetimeLayout}[word]
	if layout == "" {
		return codec{}, fmt.Errorf("a time cannot be a %s", word)
	}
	return codec{
		word: word,
		encode: func(value reflect.Value) (string, bool, error) {
			instant := value.Interface().(time.Time)
			if word == "time" {
				instant = instant.UTC()
			}
			if year := instant.Year(); year < 0 || year > 9999 {
				return "", false, fmt.Errorf("the year %d has no four digits", year)
			}
			return instant.Format(layout), false, nil
		},
		decode: func(text string, value reflect.Value) error {
			instant, err := parseTime(text)
			value.Set(reflect.ValueOf(instant))
			return err
		},
	}, nil
}

// parseTime reads a time, a date or a datetime. The latter two have no zone; they are in UTC here.
func parseTime(text string) (time.Time, error) {
	for _, layout := range []string{time.RFC3339Nano, datetimeLayout, dateLayout, "2006-01-02 15:04:05.999999999"} {
		if instant, err := time.Parse(layout, text); err == nil {
			return instant.UTC(), nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is not a time", text)
}

// nullTypes are the structs of database/sql: the type of what they hold, and the name of its field.
var nullTypes = map[reflect.Type]string{
	reflect.TypeOf(sql.NullString{}):  "String",
	reflect.TypeOf(sql.NullInt64{}):   "Int64",
	reflect.TypeOf(sql.NullInt32{}):   "Int32",
	reflect.TypeOf(sql.NullInt16{}):   "Int16",
	reflect.TypeOf(sql.NullByte{}):    "Byte",
	reflect.TypeOf(sql.NullFloat64{}): "Float64",
	reflect.TypeOf(sql.NullBool{}):    "Bool",
	reflect.TypeOf(sql.NullTime{}):    "Time",
}

func nullCodec(goType reflect.Type, name, word string) (codec, error) {
	field, ok := goType.FieldByName(name)
	if !ok {
		return codec{}, errors.New("unknown type of database/sql")
	}
	inner, err := codecOf(field.Type, word)
	return codec{
		word: inner.word,
		encode: func(value reflect.Value) (string, bool, error) {
			if !value.FieldByName("Valid").Bool() {
				return "", true, nil
			}
			return inner.encode(value.FieldByName(name))
		},
		decode: func(text string, value reflect.Value) error {
			value.FieldByName("Valid").SetBool(true)
			return inner.decode(text, value.FieldByName(name))
		},
	}, err
}
