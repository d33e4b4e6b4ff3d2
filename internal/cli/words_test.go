package cli

import (
	"testing"
	"time"
	"unicode"

	"github.com/jonboulle/clockwork"
	"pgregory.net/rapid"

	"jitgate/internal/policy"
)

func TestParseDuration(t *testing.T) {
	for text, want := range map[string]string{
		"1h": "PT1H", "90m": "PT1H30M", "1h30m": "PT1H30M", "PT1H": "PT1H", "PT90M": "PT1H30M", "P1D": "PT24H",
		"": "", "1": "", "0s": "", "-1h": "", "PT0S": "", "P1M": "", "pt1h": "", "1d": "", "an hour": "",
	} {
		got, err := parseDuration(text)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q gives %q, %v; want %q", text, got, err, want)
		}
	}
}

func TestBothSpellingsOfADurationMeanTheSame(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := time.Duration(rapid.Int64Range(1, 24*3600).Draw(t, "seconds")) * time.Second
		goStyle, err1 := parseDuration(d.String())
		iso, err2 := parseDuration(policy.FormatDuration(d))
		if err1 != nil || err2 != nil || goStyle != iso {
			t.Fatalf("%s: %q, %v and %q, %v", d, goStyle, err1, iso, err2)
		}
	})
}

func TestMoment(t *testing.T) {
	a := &App{Clock: clockwork.NewFakeClockAt(noon)}
	for after, want := range map[time.Duration]string{
		59*time.Minute + 59*time.Second: "2026-03-01 12:59 CET (in 59m)",
		3 * time.Hour:                   "2026-03-01 15:00 CET (in 3h)",
		65 * time.Minute:                "2026-03-01 13:05 CET (in 1h5m)",
		20 * time.Second:                "2026-03-01 12:00 CET (in less than a minute)",
		-20 * time.Second:               "2026-03-01 11:59 CET (just now)",
		-5 * time.Minute:                "2026-03-01 11:55 CET (5m ago)",
		-73 * time.Hour:                 "2026-02-26 11:00 CET (3d ago)",
	} {
		if got := a.moment(noon.Add(after).UTC()); got != want {
			t.Errorf("%s away: %q, want %q", after, got, want)
		}
	}
}

func FuzzClean(f *testing.F) {
	for _, seed := range []string{"", "disk full", "a\nb\tc", "\x1b[31mred", "\u009b31m", "abc\u202edef", "\xff\xfe"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, r := range clean(text) {
			if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) {
				t.Fatalf("%q keeps %U", text, r)
			}
		}
	})
}
