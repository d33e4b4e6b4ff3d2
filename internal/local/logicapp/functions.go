package logicapp

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"reflect"
	"strings"
)

// pure are the functions that depend on their arguments only (workflow
// definition language, "functions"). Only what shipped definitions use is here.
var pure = functions{
	"concat":             {1, -1, concat},
	"string":             {1, 1, func(a []any) (any, error) { return text(a[0]), nil }},
	"json":               {1, 1, parseJSON},
	"replace":            {3, 3, replace},
	"split":              {2, 2, split},
	"encodeuricomponent": {1, 1, encodeURIComponent},
	"first":              {1, 1, func(a []any) (any, error) { return end(a[0], func(n int) int { return 0 }) }},
	"last":               {1, 1, func(a []any) (any, error) { return end(a[0], func(n int) int { return n - 1 }) }},
	"take":               {2, 2, take},
	"equals":             {2, 2, func(a []any) (any, error) { return same(a[0], a[1]), nil }},
	"not":                {1, 1, func(a []any) (any, error) { return logic(a, func(v []bool) bool { return !v[0] }) }},
	"and":                {1, -1, func(a []any) (any, error) { return logic(a, all) }},
	"or":                 {1, -1, func(a []any) (any, error) { return logic(a, some) }},
	"if":                 {3, 3, choose},
	"coalesce":           {1, -1, coalesce},
}

func concat(args []any) (any, error) {
	var b strings.Builder
	for _, arg := range args {
		b.WriteString(text(arg))
	}
	return b.String(), nil
}

func parseJSON(args []any) (any, error) {
	s, err := strs(args)
	if err != nil {
		return nil, err
	}
	return decode([]byte(s[0]))
}

func replace(args []any) (any, error) {
	s, err := strs(args)
	switch {
	case err != nil:
		return nil, err
	case s[1] == "":
		return nil, errors.New("the text to replace is empty")
	}
	return strings.ReplaceAll(s[0], s[1], s[2]), nil
}

func split(args []any) (any, error) {
	s, err := strs(args)
	if err != nil {
		return nil, err
	}
	var out []any
	for _, piece := range strings.Split(s[0], s[1]) {
		out = append(out, piece)
	}
	return out, nil
}

// encodeURIComponent leaves only unreserved characters.
func encodeURIComponent(args []any) (any, error) {
	s, err := strs(args)
	if err != nil {
		return nil, err
	}
	return strings.ReplaceAll(url.QueryEscape(s[0]), "+", "%20"), nil
}

func end(v any, which func(n int) int) (any, error) {
	switch v := v.(type) {
	case []any:
		if len(v) == 0 {
			return nil, errors.New("the array is empty")
		}
		return v[which(len(v))], nil
	case string:
		if v == "" {
			return nil, errors.New("the string is empty")
		}
		runes := []rune(v)
		return string(runes[which(len(runes))]), nil
	}
	return nil, fmt.Errorf("want an array or a string, not %s", kind(v))
}

// take is the front of an array: as many items as were asked for, or as there are.
func take(args []any) (any, error) {
	list, isArray := args[0].([]any)
	n, isCount := number(args[1])
	if !isArray || !isCount || n < 0 {
		return nil, fmt.Errorf("want an array and a number of items, not %s and %s", kind(args[0]), kind(args[1]))
	}
	return list[:min(n, len(list))], nil
}

func same(a, b any) bool {
	x, aIsNumber := a.(json.Number)
	y, bIsNumber := b.(json.Number)
	if aIsNumber && bIsNumber {
		f, _ := x.Float64()
		g, _ := y.Float64()
		return f == g
	}
	return reflect.DeepEqual(a, b)
}

func all(values []bool) bool {
	for _, v := range values {
		if !v {
			return false
		}
	}
	return true
}

func some(values []bool) bool {
	for _, v := range values {
		if v {
			return true
		}
	}
	return false
}

func logic(args []any, decide func([]bool) bool) (any, error) {
	var values []bool
	for _, arg := range args {
		v, isBool := arg.(bool)
		if !isBool {
			return nil, fmt.Errorf("want booleans, not %s", kind(arg))
		}
		values = append(values, v)
	}
	return decide(values), nil
}

func choose(args []any) (any, error) {
	condition, isBool := args[0].(bool)
	switch {
	case !isBool:
		return nil, fmt.Errorf("the condition is %s, not a boolean", kind(args[0]))
	case condition:
		return args[1], nil
	}
	return args[2], nil
}

func coalesce(args []any) (any, error) {
	for _, arg := range args {
		if arg != nil {
			return arg, nil
		}
	}
	return nil, nil
}

// strs wants every argument to be a string: Logic Apps refuses null there.
func strs(args []any) ([]string, error) {
	var out []string
	for i, arg := range args {
		s, isString := arg.(string)
		if !isString {
			return nil, fmt.Errorf("argument %d is %s, not a string", i+1, kind(arg))
		}
		out = append(out, s)
	}
	return out, nil
}
