package policy

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // the host may have no time zones, or old ones
)

// Window is a time of day that comes again. It follows the clock on the wall in
// its zone: where clocks are put forward the skipped hour is in no window, where
// they are put back an hour that comes twice is in it both times or not at all.
type Window struct {
	Zone string   `json:"zone"`           // IANA name
	Days []string `json:"days,omitempty"` // mon to sun, in that order; none = every day
	From string   `json:"from"`           // "07:00"
	// To is the first minute outside. One that is not after From lies on the day
	// after; the window then belongs to the day it starts on.
	To string `json:"to"`
}

// Period is a maintenance window: once, from an instant up to another.
type Period struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
}

var weekdays = []string{"mon", "tue", "wed", "thu", "fri", "sat", "sun"}

// day is the name of a weekday, n days on.
func day(d time.Weekday, n int) string { return weekdays[(int(d)+6+n+7)%7] }

const (
	midnight   = 24 * time.Hour
	noEnd      = MaxDuration // "for as long as anything may last"
	searchDays = 370         // how far ahead the next opening is looked for
)

// until tells how long the window stays open from t on without a look at the
// clock again: to its end or to the next change of the clocks. Zero = shut.
func (w Window) until(t time.Time) time.Duration {
	zone, err := zoneOf(w.Zone)
	if err != nil {
		return 0
	}
	local := t.In(zone)
	now, from, to := timeOfDay(local), clock(w.From), clock(w.To)
	var left time.Duration
	switch {
	case from < to:
		if w.on(day(local.Weekday(), 0)) && from <= now && now < to {
			left = to - now
		}
	case now >= from && w.on(day(local.Weekday(), 0)):
		left = midnight - now + to
	case now < to && w.on(day(local.Weekday(), -1)):
		left = to - now
	}
	return untilChange(local, left)
}

// untilChange cuts d where the clocks are changed.
func untilChange(local time.Time, d time.Duration) time.Duration {
	if _, change := local.ZoneBounds(); !change.IsZero() {
		d = min(d, change.Sub(local))
	}
	return d
}

func (w Window) on(day string) bool { return len(w.Days) == 0 || slices.Contains(w.Days, day) }

// open tells how long the window stays open from t on, up to noEnd: a whole day
// is followed by the next.
func (w Window) open(t time.Time) time.Duration {
	var sum time.Duration
	for sum < noEnd {
		left := w.until(t.Add(sum))
		if left == 0 {
			break
		}
		sum += left
	}
	return min(sum, noEnd)
}

// next is the first instant from t on at which the window is open.
func (w Window) next(t time.Time) (time.Time, bool) {
	zone, err := zoneOf(w.Zone)
	if err != nil {
		return time.Time{}, false
	}
	for end := t.AddDate(0, 0, searchDays); t.Before(end); {
		if w.until(t) > 0 {
			return t, true
		}
		// It opens at From, or where the clocks jump into it.
		local := t.In(zone)
		wait := (clock(w.From) - timeOfDay(local) + midnight) % midnight
		if wait == 0 {
			wait = midnight
		}
		t = t.Add(untilChange(local, wait))
	}
	return time.Time{}, false
}

// WithinWindows reports whether t lies in one of the windows.
func WithinWindows(list []Window, t time.Time) bool {
	return slices.ContainsFunc(list, func(w Window) bool { return w.open(t) > 0 })
}

// String is "mon–fri 07:00–19:00 Europe/Berlin".
func (w Window) String() string {
	days := strings.Join(w.Days, ", ")
	if n := len(w.Days); n == 0 {
		days = "every day"
	} else if first := slices.Index(weekdays, w.Days[0]); n > 2 && slices.Equal(w.Days, weekdays[first:min(first+n, 7)]) {
		days = w.Days[0] + "–" + w.Days[n-1]
	}
	return fmt.Sprintf("%s %s–%s %s", days, w.From, w.To, w.Zone)
}

func (p Period) open(t time.Time) time.Duration {
	if t.Before(p.From) || t.After(p.To) {
		return 0
	}
	return min(p.To.Sub(t), noEnd)
}

func (p Period) String() string {
	return p.From.UTC().Format(time.RFC3339) + " to " + p.To.UTC().Format(time.RFC3339)
}

// timed reports whether the document cares what time it is.
func (d Document) timed() bool { return len(d.Windows)+len(d.Maintenance) > 0 }

// open tells how long access that opens at t may stay open, up to noEnd: it must
// lie inside one window or maintenance period.
func (d Document) open(t time.Time) time.Duration {
	if !d.timed() {
		return noEnd
	}
	var longest time.Duration
	for _, w := range d.Windows {
		longest = max(longest, w.open(t))
	}
	for _, p := range d.Maintenance {
		longest = max(longest, p.open(t))
	}
	return longest
}

// leaves is how much of [Document.open] can be promised to somebody who has yet to ask: in
// whole minutes, and one of them is for the asking.
func (d Document) leaves(t time.Time) time.Duration {
	open := d.open(t)
	if open < noEnd {
		open = (open - time.Minute).Truncate(time.Minute)
	}
	return max(open, 0)
}

// next is the first instant from t on at which access may be open.
func (d Document) next(t time.Time) (time.Time, bool) {
	if !d.timed() {
		return t, true
	}
	var first time.Time
	found := false
	sooner := func(at time.Time) {
		if !found || at.Before(first) {
			first, found = at, true
		}
	}
	for _, w := range d.Windows {
		if at, ok := w.next(t); ok {
			sooner(at)
		}
	}
	for _, p := range d.Maintenance {
		if t.Before(p.To) {
			at := p.From
			if at.Before(t) {
				at = t
			}
			sooner(at)
		}
	}
	return first, found
}

// times lists when access may be open, for a sentence.
func (d Document) times() string {
	var words []string
	for _, w := range d.Windows {
		words = append(words, w.String())
	}
	for _, p := range d.Maintenance {
		words = append(words, p.String())
	}
	return enumerated(words, " or ")
}

// shown is an instant in the zone that the document's readers think in.
func (d Document) shown(t time.Time) string {
	zone := time.UTC
	if len(d.Windows) > 0 {
		if z, err := zoneOf(d.Windows[0].Zone); err == nil {
			zone = z
		}
	}
	return t.In(zone).Format("Mon 2006-01-02 15:04 MST")
}

var clockTime = regexp.MustCompile(`^([01][0-9]|2[0-3]):[0-5][0-9]$`)

// clock reads "07:00", which the parser has checked.
func clock(text string) time.Duration {
	hours, minutes, _ := strings.Cut(text, ":")
	h, _ := strconv.Atoi(hours)
	m, _ := strconv.Atoi(minutes)
	return time.Duration(h)*time.Hour + time.Duration(m)*time.Minute
}

func timeOfDay(t time.Time) time.Duration {
	h, m, s := t.Clock()
	return time.Duration(h)*time.Hour + time.Duration(m)*time.Minute + time.Duration(s)*time.Second + time.Duration(t.Nanosecond())
}

var errZone = errors.New("not a time zone")

// zoneOf loads an IANA zone. "Local" is refused: it means what the host happens
// to be set to.
func zoneOf(name string) (*time.Location, error) {
	if name == "" || strings.EqualFold(name, "local") {
		return nil, errZone
	}
	return zones.get(name, func(name string) (*time.Location, error) {
		zone, err := time.LoadLocation(name)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errZone, err)
		}
		return zone, nil
	})
}
