package logicapp

import (
	"fmt"
	"time"
)

// retry is a retry policy. It repeats calls that got no answer, or 408, 429 or 5xx
// [errors].
type retry struct {
	count              int
	interval, min, max time.Duration
	growing            bool
}

// standard is the policy of actions that say nothing [errors].
var standard = retry{count: 4, interval: 7500 * time.Millisecond, min: 5 * time.Second, max: 45 * time.Second, growing: true}

// delay is the pause before the n-th repeat, counted from 0. The service draws it at
// random from a range that grows; here it is the upper end.
func (r retry) delay(n int) time.Duration {
	if !r.growing {
		return r.interval
	}
	return min(max(r.interval<<min(n, 30), r.min), r.max)
}

func readRetry(v any) (retry, error) {
	if v == nil {
		return standard, nil
	}
	fields, _ := v.(map[string]any)
	o := object{path: "retryPolicy", fields: fields}
	if err := o.only("type", "count", "interval", "minimumInterval", "maximumInterval"); err != nil {
		return retry{}, err
	}
	r := retry{min: 5 * time.Second, max: 24 * time.Hour}
	switch fields["type"] {
	case "none":
		return retry{}, nil
	case "fixed":
	case "exponential":
		r.growing = true
	default:
		return r, fmt.Errorf("the retry policy has the type %v", fields["type"])
	}
	count, isNumber := number(fields["count"])
	if !isNumber || count < 1 || count > 90 { // [limits]
		return r, fmt.Errorf("a retry policy repeats 1 to 90 times, not %v", fields["count"])
	}
	r.count = count
	for name, d := range map[string]*time.Duration{"interval": &r.interval, "minimumInterval": &r.min, "maximumInterval": &r.max} {
		value, set := fields[name]
		if !set && name != "interval" {
			continue
		}
		var err error
		if *d, err = iso(value); err != nil || *d < 5*time.Second || *d > 24*time.Hour {
			return r, fmt.Errorf("%s of a retry policy is from PT5S to P1D, not %v", name, value)
		}
	}
	return r, nil
}
