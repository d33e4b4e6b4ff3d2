package host

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// timer fires one function. Runs that the schedule starts never overlap, because the next time is computed after the
// run; a run by hand may overlap, as in Azure.
type timer struct {
	h  *Host
	fn *function

	next    time.Time // the first run
	pastDue bool      // it should have happened before the start

	mu     sync.Mutex
	status *timerStatus // nil until the first look at the schedule, and always when it is not monitored
}

// timerStatus is the schedule record that Azure keeps in blob storage.
type timerStatus struct{ Last, Next, LastUpdated time.Time }

func (h *Host) timer(name string) *timer {
	for _, t := range h.timers {
		if strings.EqualFold(t.fn.name, name) {
			return t
		}
	}
	return nil
}

// Trigger runs the timer function now and waits for it. The error tells that there is no such timer, that the host is
// closed, or why the run failed; ctx only bounds the wait.
func (h *Host) Trigger(ctx context.Context, function string) error {
	t := h.timer(function)
	if t == nil {
		return fmt.Errorf("no enabled timer function is called %q", function)
	}
	result := make(chan error, 1)
	if !h.tasks.spawn(func() { result <- t.manual() }) {
		return ErrClosed
	}
	select {
	case err := <-result:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (t *timer) manual() error {
	t.mu.Lock()
	status := t.status
	t.mu.Unlock()
	return t.invoke(status, false)
}

// prepare decides about the first run.
func (t *timer) prepare() {
	now := t.h.clock.Now()
	t.next = t.fn.timer.schedule.Next(now.UTC())
	if t.fn.timer.monitored {
		if t.status = t.load(); t.status != nil && now.After(t.status.Next) {
			t.pastDue = true // runs that were missed become one
		}
		if t.status == nil {
			t.set(&timerStatus{Next: t.next})
		}
	}
	if t.pastDue || t.fn.timer.runOnStartup {
		t.next = now
	}
}

// run follows the schedule until the host stops.
func (t *timer) run() {
	work, clock, schedule := t.h.work, t.h.clock, t.fn.timer.schedule
	next, pastDue := t.next, t.pastDue
	for {
		wait := clock.NewTimer(next.Sub(clock.Now()))
		select {
		case <-wait.Chan():
		case <-work.Done():
			wait.Stop()
			return
		}
		_, leave, err := t.h.gate.enter(work)
		if err != nil {
			return
		}
		leave()
		fired := clock.Now()
		t.mu.Lock()
		status := t.status
		t.mu.Unlock()
		_ = t.invoke(status, pastDue) // logged and counted; the schedule goes on
		pastDue = false
		next = schedule.Next(clock.Now().UTC())
		if t.fn.timer.monitored {
			t.set(&timerStatus{Last: fired, Next: next, LastUpdated: fired})
		}
	}
}

func (t *timer) invoke(status *timerStatus, pastDue bool) error {
	return t.h.dispatch(t.fn, func(ctx context.Context, id string) error {
		c := call{function: t.fn.name, now: t.h.clock.Now()}
		return t.h.invoke(ctx, t.fn, id, encodeTimer(t.fn.timer.binding, status, pastDue, c))
	})
}

// encodeTimer is the envelope of a timer: a real object, with host-local times that carry their offset.
func encodeTimer(binding string, status *timerStatus, pastDue bool, c call) []byte {
	info := map[string]any{"Schedule": map[string]any{"AdjustForDST": true}, "ScheduleStatus": nil, "IsPastDue": pastDue}
	if status != nil {
		info["ScheduleStatus"] = map[string]string{
			"Last":        status.Last.UTC().Format(objectOffset),
			"Next":        status.Next.UTC().Format(objectOffset),
			"LastUpdated": status.LastUpdated.UTC().Format(objectOffset),
		}
	}
	return envelope(binding, rawJSON(info), metadata{"sys": c.sys()})
}

func (t *timer) path() string { return filepath.Join(t.h.stateDir, "timers", t.fn.name+".json") }

// load returns nil when there is no record; an unreadable one is as good as none, as for the real host.
func (t *timer) load() *timerStatus {
	if t.h.stateDir == "" {
		return nil
	}
	raw, err := os.ReadFile(t.path())
	if err != nil {
		return nil
	}
	var s timerStatus
	if json.Unmarshal(raw, &s) != nil || s.Next.IsZero() {
		return nil
	}
	return &s
}

func (t *timer) set(s *timerStatus) {
	t.mu.Lock()
	t.status = s
	t.mu.Unlock()
	if t.h.stateDir == "" {
		return
	}
	err := os.MkdirAll(filepath.Dir(t.path()), 0o755)
	if err == nil {
		err = os.WriteFile(t.path(), rawJSON(s), 0o644)
	}
	if err != nil {
		t.h.log.Error("keeping the timer's schedule record", "function", t.fn.name, "error", err)
	}
}
