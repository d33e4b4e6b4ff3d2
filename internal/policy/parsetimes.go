package policy

import (
	"errors"
	"slices"
	"strings"
	"time"

	"jitgate/internal/strictyaml"
)

// ParseWindows reads a list of windows as documents have them, in YAML or JSON, for
// settings. Errors as of [Parse].
func ParseWindows(data []byte) ([]Window, error) {
	var r reader
	return strictyaml.Read(data, &r.Reader, r.windows)
}

func (r *reader) windows(list field) (windows []Window) {
	for _, item := range r.bounded(list) {
		fields := r.Mapping(item, "zone", "days", "from", "to")
		w := Window{Zone: r.zone(r.Required(item, fields, "zone")), Days: r.distinct(fields["days"], r.day)}
		slices.SortFunc(w.Days, func(a, b string) int { return slices.Index(weekdays, a) - slices.Index(weekdays, b) })
		if len(w.Days) == len(weekdays) {
			w.Days = nil // every day, as when left out
		}
		w.From = r.clock(r.Required(item, fields, "from"))
		w.To = r.clock(r.Required(item, fields, "to"))
		windows = append(windows, w)
	}
	return windows
}

func (r *reader) zone(f field) string {
	text, ok := r.Text(f)
	if _, err := zoneOf(text); ok && err != nil {
		r.Fault(f, "%.60q is no IANA time zone; write one such as Europe/Berlin or UTC.", text)
	}
	return text
}

func (r *reader) day(f field) (string, bool) {
	text, ok := r.Text(f)
	if ok && !slices.Contains(weekdays, text) {
		r.Fault(f, "Day %.60q is not known; write %s.", text, enumerated(weekdays, " or "))
		return "", false
	}
	return text, ok
}

func (r *reader) clock(f field) string {
	text, ok := r.Text(f)
	if ok && !clockTime.MatchString(text) {
		r.Fault(f, `%.60q is no time of day; write hours and minutes such as "07:00", and "00:00" for midnight.`, text)
	}
	return text
}

func (r *reader) maintenance(list field) (periods []Period) {
	for _, item := range r.bounded(list) {
		fields := r.Mapping(item, "from", "to")
		fromField, toField := r.Required(item, fields, "from"), r.Required(item, fields, "to")
		from, okFrom := r.instant(fromField)
		to, okTo := r.instant(toField)
		if okFrom && okTo && !from.Before(to) {
			r.Fault(toField, "to is not after from.")
		}
		periods = append(periods, Period{from, to})
	}
	return periods
}

func (r *reader) instant(f field) (time.Time, bool) {
	text, ok := r.Text(f)
	if !ok {
		return time.Time{}, false
	}
	t, err := ParseInstant(text)
	if err != nil {
		r.Fault(f, "%.60q is no instant; write one such as 2026-03-07T20:00:00Z.", text)
		return time.Time{}, false
	}
	return t, true
}

// errInstant is every error of [ParseInstant].
var errInstant = errors.New("not an instant")

// ParseInstant reads an instant in RFC 3339, such as 2026-03-07T20:00:00Z, and gives it
// in UTC. There it has to lie in the years 1 to 9999: JSON has no others, and an offset
// can move the first and the last instants out of them.
func ParseInstant(text string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339, text)
	if t = t.UTC(); err != nil || t.Year() < 1 || t.Year() > 9999 {
		return time.Time{}, errInstant
	}
	return t, nil
}

func (r *reader) conditions(list field) (conditions []Condition) {
	for _, item := range r.bounded(list) {
		var c Condition
		fields := r.Mapping(item, "expression", "message")
		c.Expression = r.expression(r.Required(item, fields, "expression"))
		c.Message, _ = r.Line(r.Required(item, fields, "message"), maxMessage)
		conditions = append(conditions, c)
	}
	return conditions
}

func (r *reader) expression(f field) string {
	text, ok := r.Paragraph(f)
	if !ok {
		return ""
	}
	if len(text) > maxExpression {
		r.Fault(f, "%s has %d bytes; at most %d are read.", f.Path, len(text), maxExpression)
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
			r.Fault(f, "%s is not usable, at character %d: %s.%s", f.Path, bad.at, printable(bad.what, 120), advice)
		} else {
			r.Fault(f, "%s is not usable: %s.", f.Path, printable(err.Error(), 120))
		}
	}
	return ""
}
