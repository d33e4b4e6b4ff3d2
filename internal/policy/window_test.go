package policy

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// wallClock tells from the clock on the wall alone whether a window is open.
func wallClock(w Window, zone *time.Location, t time.Time) bool {
	local := t.In(zone)
	now := local.Format("15:04")
	listed := func(d time.Time) bool {
		name := map[string]string{"Monday": "mon", "Tuesday": "tue", "Wednesday": "wed", "Thursday": "thu", "Friday": "fri", "Saturday": "sat", "Sunday": "sun"}[d.Weekday().String()]
		for _, day := range w.Days {
			if day == name {
				return true
			}
		}
		return len(w.Days) == 0
	}
	yesterday := time.Date(local.Year(), local.Month(), local.Day()-1, 12, 0, 0, 0, time.UTC)
	if w.From < w.To {
		return listed(local) && w.From <= now && now < w.To
	}
	return listed(local) && now >= w.From || listed(yesterday) && now < w.To
}

// TestWindowsAgainstTheWallClock compares open and next with a walk over minutes,
// mostly around changes of the clocks.
func TestWindowsAgainstTheWallClock(t *testing.T) {
	opened, shut := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		w, from := drawWindow(t), drawInstant(t)
		zone, err := time.LoadLocation(w.Zone)
		if err != nil {
			t.Fatal(err)
		}
		minutes := 0
		for minutes < 24*60 && wallClock(w, zone, from.Add(time.Duration(minutes)*time.Minute)) {
			minutes++
		}
		if got := w.open(from); got != time.Duration(minutes)*time.Minute {
			t.Fatalf("%s at %s: open for %v, by the wall clock %d minutes", w, from.In(zone), got, minutes)
		}
		wait := 0
		for wait < 9*24*60 && !wallClock(w, zone, from.Add(time.Duration(wait)*time.Minute)) {
			wait++
		}
		next, found := w.next(from)
		if wait == 9*24*60 {
			// A window inside an hour that is skipped once comes again a week later.
			if found && next.Sub(from) < time.Duration(wait)*time.Minute {
				t.Fatalf("%s at %s: next at %s, by the wall clock not within nine days", w, from.In(zone), next.In(zone))
			}
		} else if !found || !next.Equal(from.Add(time.Duration(wait)*time.Minute)) {
			t.Fatalf("%s at %s: next at %s (%v), by the wall clock in %d minutes", w, from.In(zone), next.In(zone), found, wait)
		}
		if minutes > 0 {
			opened++
		} else {
			shut++
		}
	})
	if opened == 0 || shut == 0 {
		t.Errorf("only one outcome was tried: %d open, %d shut", opened, shut)
	}
}

func TestWindowsOnTheDaysClocksChange(t *testing.T) {
	for _, c := range []struct {
		what string
		w    Window
		at   string
		want time.Duration
	}{
		{"an hour is skipped", Window{"Europe/Berlin", nil, "01:00", "04:00"}, "2026-03-29T00:00:00Z", 2 * time.Hour},
		{"all of it is skipped", Window{"Europe/Berlin", nil, "02:00", "03:00"}, "2026-03-29T01:00:00Z", 0},
		{"it opens in the skipped hour", Window{"Europe/Berlin", nil, "02:30", "04:00"}, "2026-03-29T01:00:00Z", time.Hour},
		{"an hour comes twice", Window{"Europe/Berlin", nil, "01:00", "04:00"}, "2026-10-24T23:00:00Z", 4 * time.Hour},
		{"it ends in the hour that comes twice", Window{"Europe/Berlin", nil, "01:00", "02:30"}, "2026-10-24T23:00:00Z", 90 * time.Minute},
		{"and is open again", Window{"Europe/Berlin", nil, "01:00", "02:30"}, "2026-10-25T01:00:00Z", 30 * time.Minute},
		{"New York, over midnight", Window{"America/New_York", []string{"sat"}, "22:00", "06:00"}, "2026-03-08T03:00:00Z", 7 * time.Hour},
		{"New York, in autumn", Window{"America/New_York", []string{"sat"}, "22:00", "06:00"}, "2026-11-01T02:00:00Z", 9 * time.Hour},
		{"the day after the listed one", Window{"America/New_York", []string{"sat"}, "22:00", "06:00"}, "2026-03-09T03:00:00Z", 0},
		{"whole days run on", Window{"UTC", nil, "00:00", "00:00"}, "2026-03-29T12:34:56Z", 24 * time.Hour},
		{"to the end of the last day", Window{"UTC", []string{"sun"}, "00:00", "00:00"}, "2026-03-29T23:00:30Z", 59*time.Minute + 30*time.Second},
		{"no such zone", Window{"Mars/Olympus", nil, "00:00", "00:00"}, "2026-03-29T12:00:00Z", 0},
	} {
		if got := c.w.open(instant(t, c.at)); got != c.want {
			t.Errorf("%s: %v, want %v", c.what, got, c.want)
		}
	}
}

func TestOneWindowMustHoldTheWholeAccess(t *testing.T) {
	d := demoDocument()
	d.Windows = []Window{{"UTC", nil, "08:00", "10:00"}, {"UTC", nil, "10:00", "12:00"}}
	d.Maintenance = []Period{{instant(t, "2026-03-10T09:00:00Z"), instant(t, "2026-03-10T09:30:00Z")}, {instant(t, "2026-03-10T20:00:00Z"), instant(t, "2026-03-10T21:00:00Z")}}
	for text, want := range map[string]time.Duration{
		"2026-03-10T09:15:00Z": 45 * time.Minute, // not on into the window that follows
		"2026-03-10T10:00:00Z": 2 * time.Hour,
		"2026-03-10T12:00:00Z": 0,
		"2026-03-10T20:00:00Z": time.Hour,
		"2026-03-10T20:59:59Z": time.Second,
		"2026-03-10T21:00:00Z": 0,
	} {
		if got := d.open(instant(t, text)); got != want {
			t.Errorf("at %s open for %v, want %v", text, got, want)
		}
	}
	d.Windows = nil
	if next, found := d.next(instant(t, "2026-03-10T09:45:00Z")); !found || !next.Equal(d.Maintenance[1].From) {
		t.Errorf("next at %v, %v", next, found)
	}
	if _, found := d.next(instant(t, "2026-03-10T21:00:00Z")); found {
		t.Error("maintenance comes again")
	}
	got := (Set{New(d, 1)}).Decide(Question{Ask: demoAsk(), At: instant(t, "2027-01-01T00:00:00Z")}).Refusals
	if len(got) != 1 || got[0].Passes != "" || got[0].Sentence != "The policy for resource group rg-demo allows access only 2026-03-10T09:00:00Z to 2026-03-10T09:30:00Z or 2026-03-10T20:00:00Z to 2026-03-10T21:00:00Z, and no time that is long enough comes again." {
		t.Errorf("%+v", got)
	}
}

// TestWhatPassesInAWindowPasses: who asks within a minute for what the refusal names gets
// it, and where the next opening is shorter than what was asked for, that is said.
func TestWhatPassesInAWindowPasses(t *testing.T) {
	d := demoDocument()
	d.Windows = []Window{{"UTC", nil, "07:00", "08:00"}}
	set := Set{New(d, 1)}
	ask := func(at string, duration time.Duration) (Question, []Refusal) {
		q := Question{Ask: demoAsk(), At: instant(t, at)}
		q.Duration = duration
		return q, set.Decide(q).Refusals
	}
	q, got := ask("2026-03-10T07:15:13Z", 59*time.Minute)
	if len(got) != 1 || got[0].Passes != "at most 43m (PT43M)" ||
		got[0].Sentence != "The policy for resource group rg-demo allows access every day 07:00–08:00 UTC, which from Tue 2026-03-10 07:15 UTC on leaves 44m (PT44M); ask for at most 43m (PT43M), or again from Wed 2026-03-11 07:00 UTC on." {
		t.Errorf("%+v", got)
	}
	if longest := set.Decide(q).Longest; longest != 43*time.Minute {
		t.Errorf("the longest is %v", longest)
	}
	if _, got := ask("2026-03-10T07:16:13Z", 43*time.Minute); len(got) > 0 {
		t.Errorf("a minute later it is refused: %v", got)
	}
	_, got = ask("2026-03-10T07:15:13Z", 3*time.Hour)
	if len(got) != 1 || !strings.HasSuffix(got[0].Sentence, "leaves 44m (PT44M); ask for at most 43m (PT43M).") {
		t.Errorf("%+v", got)
	}
	_, got = ask("2026-03-10T23:00:00Z", 3*time.Hour)
	if len(got) != 1 || got[0].Passes != "an ask from Wed 2026-03-11 07:00 UTC on, for at most 59m (PT59M)" || !strings.HasSuffix(got[0].Sentence, "; ask again from Wed 2026-03-11 07:00 UTC on, for at most 59m (PT59M).") {
		t.Errorf("%+v", got)
	}
	if _, got := ask("2026-03-11T07:00:59Z", 59*time.Minute); len(got) > 0 {
		t.Errorf("in the minute in which it opens it is refused: %v", got)
	}

	for windows, want := range map[string][]Window{
		"ask again from Wed 2026-03-11 09:00 UTC on, for at most 59m (PT59M).": {{"UTC", nil, "07:00", "07:03"}, {"UTC", []string{"wed"}, "09:00", "10:00"}},
		"and no time that is long enough comes again.":                         {{"UTC", nil, "07:00", "07:03"}},
	} {
		d.Windows = want
		set = Set{New(d, 1)}
		if _, got := ask("2026-03-10T23:00:00Z", 3*time.Hour); len(got) != 1 || !strings.HasSuffix(got[0].Sentence, windows) {
			t.Errorf("%+v, want it to end with %q", got, windows)
		}
	}
}

func TestWindowsInWords(t *testing.T) {
	for want, days := range map[string][]string{
		"every day 07:00–19:00 UTC": nil, "mon–fri 07:00–19:00 UTC": {"mon", "tue", "wed", "thu", "fri"}, "sat, sun 07:00–19:00 UTC": {"sat", "sun"},
		"mon, wed, fri 07:00–19:00 UTC": {"mon", "wed", "fri"}, "fri–sun 07:00–19:00 UTC": {"fri", "sat", "sun"}, "mon, sat, sun 07:00–19:00 UTC": {"mon", "sat", "sun"},
	} {
		if got := (Window{"UTC", days, "07:00", "19:00"}).String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
