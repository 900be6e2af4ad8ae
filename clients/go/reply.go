package dirtystreams

import (
	"fmt"
	"strconv"
)

// The replies of a Redis client: maps of RESP3 and flat arrays of RESP2, and texts as strings or bytes.

func asText(reply any) (string, error) {
	switch reply := reply.(type) {
	case string:
		return reply, nil
	case []byte:
		return string(reply), nil
	case int64:
		return strconv.FormatInt(reply, 10), nil
	case error:
		return "", refusal("", reply)
	}
	return "", malformedError{fmt.Sprintf("expected a text, not %T", reply)}
}

func asInt(reply any) (int64, error) {
	switch reply := reply.(type) {
	case int64:
		return reply, nil
	case bool:
		if reply {
			return 1, nil
		}
		return 0, nil
	case string, []byte:
		text, _ := asText(reply)
		if number, err := strconv.ParseInt(text, 10, 64); err == nil {
			return number, nil
		}
	}
	return 0, malformedError{fmt.Sprintf("expected an integer, not %T", reply)}
}

func asArray(reply any) ([]any, error) {
	array, ok := reply.([]any)
	if !ok && reply != nil {
		return nil, malformedError{fmt.Sprintf("expected an array, not %T", reply)}
	}
	return array, nil
}

func asTexts(reply any) ([]string, error) {
	array, err := asArray(reply)
	if err != nil {
		return nil, err
	}
	texts := make([]string, len(array))
	for i, element := range array {
		if texts[i], err = asText(element); err != nil {
			return nil, err
		}
	}
	return texts, nil
}

func asMap(reply any) (map[string]any, error) {
	switch reply := reply.(type) {
	case map[string]any:
		return reply, nil
	case map[any]any:
		named := make(map[string]any, len(reply))
		for key, value := range reply {
			name, err := asText(key)
			if err != nil {
				return nil, err
			}
			named[name] = value
		}
		return named, nil
	case []any:
		if len(reply)%2 != 0 {
			break
		}
		named := make(map[string]any, len(reply)/2)
		for i := 0; i < len(reply); i += 2 {
			name, err := asText(reply[i])
			if err != nil {
				return nil, err
			}
			named[name] = reply[i+1]
		}
		return named, nil
	}
	return nil, malformedError{fmt.Sprintf("expected a map, not %T", reply)}
}

// appended are the words with the arguments, each as a string: a Redis client may write other types in its own way.
func appended[T ~string](words []any, arguments ...T) []any {
	for _, argument := range arguments {
		words = append(words, string(argument))
	}
	return words
}

// counted are the words, the number of the arguments, and these.
func counted[T ~string](words []any, arguments ...T) []any {
	return appended(append(words, strconv.Itoa(len(arguments))), arguments...)
}
