package host

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// faults collects everything that is wrong with the app, so that one start shows all of it.
type faults struct{ list []error }

func (f *faults) addf(format string, args ...any) {
	f.list = append(f.list, fmt.Errorf(format, args...))
}

func (f *faults) err() error { return errors.Join(f.list...) }

// object reads one JSON object strictly. Names are compared without regard to case, as .NET configuration does. Each
// reader takes its field out; done reports what is left, because the real host drops unknown names without a word and
// a misspelled setting would only show in production. A null counts as absent.
type object struct {
	where  string
	fields map[string]json.RawMessage
	faults *faults
}

func parseObject(where string, raw []byte, f *faults) *object {
	o := &object{where: where, faults: f}
	if err := json.Unmarshal(raw, &o.fields); err != nil {
		f.addf("%s: %w", where, err)
	}
	return o
}

func (o *object) take(name string, into any) bool {
	for _, key := range slices.Sorted(maps.Keys(o.fields)) {
		if !strings.EqualFold(key, name) {
			continue
		}
		raw := o.fields[key]
		delete(o.fields, key)
		if string(raw) == "null" {
			return false
		}
		if err := json.Unmarshal(raw, into); err != nil {
			o.faults.addf("%s: %s: %w", o.where, key, err)
			return false
		}
		return true
	}
	return false
}

func (o *object) text(name string) (s string) {
	o.take(name, &s)
	return s
}

func (o *object) texts(name string) (list []string) {
	o.take(name, &list)
	return list
}

func (o *object) flag(name string, otherwise bool) bool {
	o.take(name, &otherwise)
	return otherwise
}

// number reads an integer of at least 1.
func (o *object) number(name string, otherwise int) int {
	n := otherwise
	if o.take(name, &n) && n < 1 {
		o.faults.addf("%s: %s is %d: it must be at least 1", o.where, name, n)
		return otherwise
	}
	return n
}

// span reads a .NET TimeSpan.
func (o *object) span(name string, otherwise time.Duration) time.Duration {
	s := o.text(name)
	if s == "" {
		return otherwise
	}
	d, err := parseTimeSpan(s)
	if err != nil {
		o.faults.addf("%s: %s: %w", o.where, name, err)
		return otherwise
	}
	return d
}

// child returns the nested object, empty when there is none.
func (o *object) child(name string) *object {
	child := &object{where: o.where + ": " + name, faults: o.faults}
	o.take(name, &child.fields)
	return child
}

func (o *object) children(name string) (list []*object) {
	var raws []map[string]json.RawMessage
	o.take(name, &raws)
	for i, fields := range raws {
		list = append(list, &object{where: fmt.Sprintf("%s: %s[%d]", o.where, name, i), fields: fields, faults: o.faults})
	}
	return list
}

// ignore takes fields that change nothing here.
func (o *object) ignore(names ...string) {
	for _, name := range names {
		var any json.RawMessage
		o.take(name, &any)
	}
}

// unsupported reports fields that the real host understands and this one does not.
func (o *object) unsupported(names ...string) {
	for _, name := range names {
		var any json.RawMessage
		if o.take(name, &any) {
			o.faults.addf("%s: %s is not supported by this stand-in", o.where, name)
		}
	}
}

func (o *object) done() {
	for _, name := range slices.Sorted(maps.Keys(o.fields)) {
		o.faults.addf("%s: unknown property %q: the Functions host would ignore it", o.where, name)
	}
}

var timeSpan = regexp.MustCompile(`^(-)?(?:(\d+)\.)?(\d{1,2}):(\d{1,2}):(\d{1,2})(\.\d{1,7})?$`)

// parseTimeSpan reads [-][d.]hh:mm:ss[.fffffff]. .NET's shorter forms are refused: "10" would be ten days.
func parseTimeSpan(s string) (time.Duration, error) {
	m := timeSpan.FindStringSubmatch(s)
	if m == nil {
		return 0, fmt.Errorf("%q is no time span: write hh:mm:ss", s)
	}
	days, _ := strconv.Atoi(m[2]) // empty is 0
	hours, _ := strconv.Atoi(m[3])
	minutes, _ := strconv.Atoi(m[4])
	seconds, _ := strconv.ParseFloat(m[5]+m[6], 64)
	if hours > 23 || minutes > 59 || seconds >= 60 || days > 10000 {
		return 0, fmt.Errorf("%q is no time span: hours end at 23, minutes and seconds at 59", s)
	}
	d := time.Duration(days*24+hours)*time.Hour + time.Duration(minutes)*time.Minute + time.Duration(seconds*float64(time.Second))
	if m[1] == "-" {
		d = -d
	}
	return d, nil
}
