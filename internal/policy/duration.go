package policy

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/sosodev/duration"
)

// Bounds of any grant, whatever a policy says.
const (
	MinDuration     = 5 * time.Minute
	MaxDuration     = 24 * time.Hour
	DefaultDuration = 3 * time.Hour // maxDuration of a document that leaves it out
)

// ErrDuration is wrapped by every error of [ParseDuration].
var ErrDuration = errors.New("not a duration")

// durationShape is stricter than the duration library, which takes units in any
// order, twice, or none at all.
var durationShape = regexp.MustCompile(strings.ReplaceAll(
	`^P(nY)?(nM)?(nW)?(nD)?(T(nH)?(nM)?(nS)?)?$`, "n", `[0-9]{1,9}(\.[0-9]{1,9})?`))

// Duration is a time.Duration that JSON and YAML write in ISO 8601.
type Duration time.Duration

func (d Duration) String() string { return FormatDuration(time.Duration(d)) }

// MarshalText writes the canonical form.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what [ParseDuration] reads.
func (d *Duration) UnmarshalText(text []byte) error {
	parsed, err := ParseDuration(string(text))
	if err == nil {
		*d = Duration(parsed)
	}
	return err
}

// ParseDuration reads an ISO 8601 duration such as "PT1H30M" or "P1D". Years and
// months are refused because they have no fixed length, negative durations
// because nothing here can last less than no time. A day is 24 hours.
func ParseDuration(text string) (time.Duration, error) {
	if strings.HasPrefix(text, "-") {
		return 0, fmt.Errorf("%w: %.60q is negative", ErrDuration, text)
	}
	if !durationShape.MatchString(text) || strings.HasSuffix(text, "T") || text == "P" {
		return 0, fmt.Errorf("%w: %.60q is not in ISO 8601 form, such as PT30M or PT1H30M", ErrDuration, text)
	}
	d, err := duration.Parse(text)
	if err != nil {
		return 0, fmt.Errorf("%w: %.60q: %w", ErrDuration, text, err)
	}
	date, _, _ := strings.Cut(text, "T")
	if strings.ContainsAny(date, "YM") {
		return 0, fmt.Errorf("%w: %.60q has years or months, which have no fixed length; use days or hours", ErrDuration, text)
	}
	// The library adds up in nanoseconds and would overflow without a word.
	const mostHours = 10000
	if 24*(7*d.Weeks+d.Days)+d.Hours+d.Minutes/60+d.Seconds/3600 > mostHours {
		return 0, fmt.Errorf("%w: %.60q is longer than anything here may last", ErrDuration, text)
	}
	return d.ToTimeDuration(), nil
}

// FormatDuration writes the canonical ISO 8601 form in hours, minutes and
// seconds: "PT1H30M", "PT24H", "PT0S".
func FormatDuration(d time.Duration) string {
	iso := duration.Duration{Negative: d < 0}
	if d < 0 {
		d = -d
	}
	iso.Hours = float64(d / time.Hour)
	iso.Minutes = float64(d % time.Hour / time.Minute)
	// Duration.Seconds adds two rounded parts and would print noise.
	iso.Seconds = float64(d%time.Minute) / float64(time.Second)
	return iso.String()
}

// spoken writes a duration for a sentence: "1h30m (PT1H30M)".
func spoken(d time.Duration) string {
	short := d.String()
	if strings.HasSuffix(short, "m0s") {
		short = strings.TrimSuffix(short, "0s")
	}
	if strings.HasSuffix(short, "h0m") {
		short = strings.TrimSuffix(short, "0m")
	}
	return fmt.Sprintf("%s (%s)", short, FormatDuration(d))
}
