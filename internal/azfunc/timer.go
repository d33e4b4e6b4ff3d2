package azfunc

import (
	"encoding/json"
	"fmt"
	"time"
)

// TimerInfo is what the host tells a timer triggered function.
type TimerInfo struct {
	// IsPastDue says that this run should have happened earlier, while no host was running.
	IsPastDue bool
	// Status is nil when the host does not monitor the schedule: useMonitor false, or more than one run a minute.
	Status *ScheduleStatus
}

// ScheduleStatus is the host's record of the schedule before this run; times are UTC.
type ScheduleStatus struct {
	// Last is when the function ran before; zero if never.
	Last time.Time
	// Next is the occurrence expected after Last.
	Next time.Time
	// LastUpdated is when the host wrote the record.
	LastUpdated time.Time
}

// Timer returns the timer bound to the binding called name.
func (i Invocation) Timer(name string) (TimerInfo, error) {
	raw, ok := i.Data[name]
	if !ok {
		return TimerInfo{}, fmt.Errorf("no data for binding %q: is it the name in function.json?", name)
	}
	var wire struct {
		IsPastDue      *bool
		ScheduleStatus *struct{ Last, Next, LastUpdated string }
	}
	if err := json.Unmarshal(raw, &wire); err != nil {
		return TimerInfo{}, fmt.Errorf("binding %q holds no timer: %w", name, err)
	}
	if wire.IsPastDue == nil {
		return TimerInfo{}, fmt.Errorf("binding %q holds no timer: IsPastDue is missing", name)
	}
	info := TimerInfo{IsPastDue: *wire.IsPastDue}
	if wire.ScheduleStatus == nil {
		return info, nil
	}
	info.Status = &ScheduleStatus{}
	for _, field := range []struct {
		text string
		to   *time.Time
	}{
		{wire.ScheduleStatus.Last, &info.Status.Last},
		{wire.ScheduleStatus.Next, &info.Status.Next},
		{wire.ScheduleStatus.LastUpdated, &info.Status.LastUpdated},
	} {
		if field.text == "" {
			continue
		}
		t, err := parseTime(field.text)
		if err != nil {
			return TimerInfo{}, fmt.Errorf("binding %q: %w", name, err)
		}
		*field.to = t
	}
	return info, nil
}
