package policy

import (
	"errors"
	"slices"
	"strings"
	"time"
)

// ParseWindows reads a list of windows as documents have them, in YAML or JSON, for
// settings. Errors as of [Parse].
func ParseWindows(data []byte) ([]Window, error) {
	return read(data, func(r *reader, root field) []Window { return r.windows(root) })
}

func (r *reader) windows(list field) (windows []Window) {
	for _, item := range r.bounded(list) {
		var w Window
		fields := r.mapping(item, "zone", "days", "from", "to")
		if f, ok := r.required(item, fields, "zone"); ok {
			if w.Zone, ok = r.text(f); ok {
				if _, err := zoneOf(w.Zone); err != nil {
					r.fault(f, "%.60q is no IANA time zone; write one such as Europe/Berlin or UTC.", w.Zone)
				}
			}
		}
		if f, ok := fields["days"]; ok {
			days := r.distinct(f, r.day)
			slices.SortFunc(days, func(a, b string) int { return slices.Index(weekdays, a) - slices.Index(weekdays, b) })
			if w.Days = days; len(days) == len(weekdays) {
				w.Days = nil // every day, as when left out
			}
		}
		for _, end := range []struct {
			key  string
			into *string
		}{{"from", &w.From}, {"to", &w.To}} {
			if f, ok := r.required(item, fields, end.key); ok {
				*end.into = r.clock(f)
			}
		}
		windows = append(windows, w)
	}
	return windows
}

func (r *reader) day(f field) (string, bool) {
	text, ok := r.text(f)
	if ok && !slices.Contains(weekdays, text) {
		r.fault(f, "Day %.60q is not known; write %s.", text, enumerated(weekdays, " or "))
		return "", false
	}
	return text, ok
}

func (r *reader) clock(f field) string {
	text, ok := r.text(f)
	if ok && !clockTime.MatchString(text) {
		r.fault(f, `%.60q is no time of day; write hours and minutes such as "07:00", and "00:00" for midnight.`, text)
	}
	return text
}

func (r *reader) maintenance(list field) (periods []Period) {
	for _, item := range r.bounded(list) {
		var p Period
		fields := r.mapping(item, "from", "to")
		from, okFrom := r.required(item, fields, "from")
		to, okTo := r.required(item, fields, "to")
		if okFrom {
			p.From, okFrom = r.instant(from)
		}
		if okTo {
			p.To, okTo = r.instant(to)
		}
		if okFrom && okTo && !p.From.Before(p.To) {
			r.fault(to, "to is not after from.")
		}
		periods = append(periods, p)
	}
	return periods
}

func (r *reader) instant(f field) (time.Time, bool) {
	text, ok := r.text(f)
	if !ok {
		return time.Time{}, false
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		r.fault(f, "%.60q is no instant; write one such as 2026-03-07T20:00:00Z.", text)
		return time.Time{}, false
	}
	return t.UTC(), true
}

func (r *reader) conditions(list field) (conditions []Condition) {
	for _, item := range r.bounded(list) {
		var c Condition
		fields := r.mapping(item, "expression", "message")
		if f, ok := r.required(item, fields, "expression"); ok {
			c.Expression = r.expression(f)
		}
		if f, ok := r.required(item, fields, "message"); ok {
			c.Message, _ = r.line(f, maxMessage)
		}
		conditions = append(conditions, c)
	}
	return conditions
}

func (r *reader) expression(f field) string {
	text, ok := r.paragraph(f)
	if !ok {
		return ""
	}
	if len(text) > maxExpression {
		r.fault(f, "%s has %d bytes; at most %d are read.", f.path, len(text), maxExpression)
		return ""
	}
	_, err := programFor(text)
	if err == nil {
		return text
	}
	all := []error{err}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		all = joined.Unwrap()
	}
	for i, err := range all[:min(len(all), 5)] {
		var bad exprError
		if errors.As(err, &bad) {
			advice := ""
			if i == 0 {
				advice = " Conditions can speak of " + strings.Join(names, ", ") + "."
			}
			r.fault(f, "%s is not usable, at character %d: %s.%s", f.path, bad.at, printable(bad.what, 120), advice)
		} else {
			r.fault(f, "%s is not usable: %s.", f.path, printable(err.Error(), 120))
		}
	}
	return ""
}
