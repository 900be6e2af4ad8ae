package dirtystreams

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestEveryClientChoosesTheSamePartition(t *testing.T) {
	text, err := os.ReadFile("../partitions.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []struct {
		ID         string
		Base64     *string
		CRC16      int
		Partitions map[string]int
	}
	if err := json.Unmarshal(text, &vectors); err != nil {
		t.Fatal(err)
	}
	if len(vectors) == 0 {
		t.Fatal("no vectors")
	}
	for _, vector := range vectors {
		id := vector.ID
		if vector.Base64 != nil {
			bytes, err := base64.StdEncoding.DecodeString(*vector.Base64)
			if err != nil {
				t.Fatal(err)
			}
			id = string(bytes)
		}
		if got := int(crc16(id)); got != vector.CRC16 {
			t.Errorf("the CRC16 of %q is %d, not %d", id, vector.CRC16, got)
		}
		for n, want := range vector.Partitions {
			n, _ := strconv.Atoi(n)
			if got := Partition(id, n); got != want {
				t.Errorf("%q is in partition %d of %d, not %d", id, want, n, got)
			}
		}
	}
}

func TestAStructThatCannotBeDeclaredIsRefusedWithAReason(t *testing.T) {
	declare := func(entity any, declaration Declaration) error {
		_, err := newSchema(reflect.TypeOf(entity), declaration)
		return err
	}
	for _, refused := range []struct {
		why string
		err error
	}{
		{"requires a field ID", declare(struct{ Name string }{}, Declaration{})},
		{"must be a struct", declare(5, Declaration{})},
		{"two fields named", declare(struct {
			ID   int
			A, B string `dirty:"x"`
		}{}, Declaration{})},
		{"two ids", declare(struct {
			ID int `dirty:",id"`
			A  int `dirty:",id"`
		}{}, Declaration{})},
		{`unknown option "what"`, declare(struct {
			ID int
			A  string `dirty:",what"`
		}{}, Declaration{})},
		{"cannot be a field", declare(struct {
			ID int
			A  chan int
		}{}, Declaration{})},
		{"cannot be a int", declare(struct {
			ID int
			A  []string `dirty:",int"`
		}{}, Declaration{})},
		{"cannot be a bool", declare(struct {
			ID int
			A  time.Time `dirty:",bool"`
		}{}, Declaration{})},
		{`no field "rev" for VERSION`, declare(struct{ ID int }{}, Declaration{Version: "rev"})},
		{"cannot be partitioned", declare(struct {
			ID int `orm:"dirtyStream=Users"`
		}{}, Declaration{Partitions: 4})},
		{"exclude each other", declare(struct{ ID int }{}, Declaration{Prefix: "u:", Partitions: 4})},
		{"the struct's", declare(struct {
			ID  int
			Age int
		}{}, Declaration{Types: map[string]string{"Age": "uint"}})},
		{"precision", declare(struct {
			ID  int     `orm:"dirty=Users"`
			Sum float64 `orm:"precision=two"`
		}{}, Declaration{})},
	} {
		if refused.err == nil || !strings.Contains(refused.err.Error(), refused.why) {
			t.Errorf("expected %q, got %v", refused.why, refused.err)
		}
	}
}

func TestAServersErrorHasItsCodeAndOthersHaveNone(t *testing.T) {
	for _, told := range []struct {
		text string
		code Code
	}{
		{"NOTHELD the consumer does not hold 5-1", NotHeld},
		{"ERR MAXAGE must be an integer", Err},
		{"READONLY You can't write against a read only replica.", "READONLY"},
		{"EOF", ""},
		{"dial tcp: connection refused", ""},
		{"redis: client is closed", ""},
	} {
		err := refusal("DIRTY.FLUSH", errors.New(told.text))
		var refused *Error
		if found := errors.As(err, &refused); found != (told.code != "") {
			t.Errorf("%q: a server's error: %v", told.text, found)
		}
		if told.code != "" && !errors.Is(fmt.Errorf("wrapped: %w", err), told.code) {
			t.Errorf("%q is no %s", told.text, told.code)
		}
		if err.Error() != told.text {
			t.Errorf("%q became %q", told.text, err)
		}
	}
	wrapped := fmt.Errorf("shop: %w", fmt.Errorf("redis: %w", errors.New("NOREADER there is no group")))
	if err := refusal("", wrapped); !errors.Is(err, NoReader) || !errors.Is(err, wrapped) || IsOutage(err) {
		t.Errorf("a Doer wraps its errors: %v", err)
	}
	if errors.Is(refusal("", errors.New("NODECL x")), NoReader) {
		t.Error("a NODECL is a NOREADER")
	}
}

func TestAReaderWaitsOutOutagesAndNothingElse(t *testing.T) {
	for text, waits := range map[string]bool{
		"LOADING Redis is loading": true, "CLUSTERDOWN Hash slot not served": true, "TRYAGAIN x": true, "UNBLOCKED x": true,
		"OOM x": true, "MASTERDOWN x": true, "READONLY x": true, "MOVED 1 127.0.0.1:7000": true, "i/o timeout": true,
		"ERR max number of clients reached": true, "EOF": true,
		"BUSY Redis is busy running a script": true, "MISCONF no snapshot could be saved": true, "NOREPLICAS x": true,
		"NOREADER there is no group": false, "NOPERM x": false, "ERR syntax": false, "redis: client is closed": false,
		"redigo: get on closed pool": false, "WRONGTYPE x": false,
	} {
		if got := IsOutage(refusal("", errors.New(text))); got != waits {
			t.Errorf("%q is waited out: %v", text, got)
		}
	}
	exhausted := errors.New("redigo: connection pool exhausted")
	if err := refusal("", exhausted); !IsOutage(err) || !errors.Is(err, exhausted) || err.Error() != exhausted.Error() {
		t.Error(err)
	}
	if !IsOutage(io.EOF) || !IsOutage(context.DeadlineExceeded) {
		t.Error("a lost connection is not waited out")
	}
	for _, err := range []error{errors.New("no template"), fmt.Errorf("dirtystreams: %w", errors.New("nothing is declared for int")),
		malformedError{"x"}, &MissedError{"s", 1}} {
		if IsOutage(err) {
			t.Errorf("%v is waited out", err)
		}
	}
	if null := errors.New("redis: nil"); refusal("", null) != null || IsOutage(null) {
		t.Error("a null is waited out")
	}
	if IsOutage(nil) || IsOutage(fmt.Errorf("dial: %w", context.Canceled)) {
		t.Error("a loop around a call that is told to end would go on")
	}
}

func TestTheTimeUntilAnEventComesAgainDoublesUpToALimit(t *testing.T) {
	l := &loop[Fields]{Worker: &Worker[Fields]{Backoff: time.Second, MaxBackoff: 10 * time.Second}}
	for deliveries, want := range map[int]time.Duration{0: 1, 1: 1, 2: 2, 3: 4, 4: 8, 5: 10, 65535: 10} {
		if got := l.delay(deliveries); got != want*time.Second {
			t.Errorf("after %d deliveries: %v", deliveries, got)
		}
	}
}

func TestFloatsAreRoundedAsFluxaORMRounds(t *testing.T) {
	for _, c := range []struct {
		digits int
		value  float64
		want   string
	}{
		{2, -0.005, "-0.01"}, {2, 0.125, "0.13"}, {2, -0.001, "-0.00"}, {4, 1.5, "1.5000"}, {0, 2.5, "3"},
		{8, 123456789.123456789, "123456789.12345681"}, {8, 1e15 + 0.3, "1000000000000000.25000000"}, {2, math.MaxFloat64, ""},
	} {
		got, _, err := roundedCodec(c.digits, 64).encode(reflect.ValueOf(c.value))
		if err != nil || (c.want != "" && got != c.want) || got == "+Inf" {
			t.Errorf("%v with %d digits is %s, not %s (%v)", c.value, c.digits, got, c.want, err)
		}
	}
	for _, value := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		if _, _, err := roundedCodec(2, 64).encode(reflect.ValueOf(value)); err == nil {
			t.Errorf("%v was taken", value)
		}
	}
}

func TestFormsOfRepliesThatAreNotTheModulesAreErrors(t *testing.T) {
	for name, err := range map[string]error{
		"an odd map":   second(asMap([]any{"events"})),
		"no map":       second(asMap("x")),
		"no text":      second(asText(nil)),
		"no integer":   second(asInt("many")),
		"no array":     second(asArray(5)),
		"no event":     second(parseWire("{")),
		"no base64":    second(parseWire(`{"id":"1-1","base64":{"id":"?","entity":"?"}}`)),
		"no delivery":  second(parseWire(`{"id":"1-1","deliveries":"many"}`)),
		"a nested nil": second(asTexts([]any{nil})),
	} {
		var malformed malformedError
		if !errors.As(err, &malformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func second[T any](_ T, err error) error { return err }
