package host

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

// schedule tells when a timer fires next after a time. All times are UTC, as in Azure by default.
type schedule interface{ Next(time.Time) time.Time }

type every time.Duration

func (d every) Next(t time.Time) time.Time { return t.Add(time.Duration(d)) }

var (
	sixFields  = cron.NewParser(cron.Second | cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow)
	fiveFields = cron.NewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow)
)

// parseSchedule reads an NCRONTAB expression (six fields, or five without seconds) or a .NET TimeSpan.
func parseSchedule(text string) (schedule, error) {
	if strings.ContainsAny(text, "?=@") {
		return nil, fmt.Errorf("%q: NCRONTAB knows neither ?, nor descriptors, nor a time zone", text)
	}
	switch fields := strings.Fields(text); len(fields) {
	case 6, 5:
		dom, dow := fields[len(fields)-3], fields[len(fields)-1]
		if dom != "*" && dow != "*" {
			return nil, fmt.Errorf("%q: day of month together with day of week is not supported by this stand-in", text)
		}
		parser := sixFields
		if len(fields) == 5 {
			parser = fiveFields
		}
		s, err := parser.Parse(text)
		if err == nil && s.Next(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)).IsZero() {
			err = fmt.Errorf("%q never fires", text)
		}
		return s, err
	case 1:
		d, err := parseTimeSpan(text)
		if err == nil && d <= 0 {
			err = errors.New("the interval must be positive")
		}
		return every(d), err
	default:
		return nil, fmt.Errorf("%q: want six NCRONTAB fields (second minute hour day month weekday)", text)
	}
}

// moreThanOnceAMinute looks at the next occurrences, as the extension does.
func moreThanOnceAMinute(s schedule) bool {
	t := s.Next(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	for range 10 {
		next := s.Next(t)
		if next.Sub(t) < time.Minute {
			return true
		}
		t = next
	}
	return false
}
