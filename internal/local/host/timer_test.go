package host

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jonboulle/clockwork"

	"jitgate/internal/azfunc"
)

func timerFunction(schedule, extra string) string {
	return `{"bindings":[{"type":"timerTrigger","direction":"in","name":"timer","schedule":"` + schedule + `"` + extra + `}]}`
}

var epoch = time.Date(2026, 3, 1, 12, 0, 30, 0, time.UTC)

// timerRig runs one timer on a fake clock; every run's TimerInfo is sent on the channel, before it is answered.
func timerRig(t *testing.T, schedule, extra string) (*rig, *clockwork.FakeClock, chan azfunc.TimerInfo) {
	r := newRig(t, plainHostJSON, map[string]string{"tick": timerFunction(schedule, extra)})
	clock := clockwork.NewFakeClockAt(epoch)
	r.options.Clock = clock
	runs := make(chan azfunc.TimerInfo, 10)
	r.onCall = func(in request) answer {
		inv, err := azfunc.Decode(asHTTP(in))
		if err != nil {
			t.Error(err)
			return answer{Status: 500}
		}
		info, err := inv.Timer("timer")
		if err != nil {
			t.Error(err)
		}
		runs <- info
		return ok("{}")
	}
	return r, clock, runs
}

// asHTTP is the request as the handler's server saw it.
func asHTTP(in request) *http.Request {
	r, err := http.NewRequest(in.Method, in.URI, strings.NewReader(string(in.Body)))
	if err != nil {
		panic(err)
	}
	r.Header, r.Host = in.Header, in.Host
	return r
}

// advance moves the clock once the timer waits.
func advance(t *testing.T, clock *clockwork.FakeClock, d time.Duration) {
	t.Helper()
	if err := clock.BlockUntilContext(within(t), 1); err != nil {
		t.Fatal("the timer does not wait")
	}
	clock.Advance(d)
}

func TestTimerFollowsItsSchedule(t *testing.T) {
	t.Parallel()
	r, clock, runs := timerRig(t, "0 */5 * * * *", "")
	r.start()
	at := func(minute int) time.Time { return time.Date(2026, 3, 1, 12, minute, 0, 0, time.UTC) }

	advance(t, clock, 4*time.Minute+30*time.Second)
	want := azfunc.TimerInfo{Status: &azfunc.ScheduleStatus{Next: at(5)}}
	if diff := cmp.Diff(want, wait(t, runs, "the first run")); diff != "" {
		t.Errorf("first run (-want +got):\n%s", diff)
	}
	advance(t, clock, 5*time.Minute)
	want = azfunc.TimerInfo{Status: &azfunc.ScheduleStatus{Last: at(5), Next: at(10), LastUpdated: at(5)}}
	if diff := cmp.Diff(want, wait(t, runs, "the second run")); diff != "" {
		t.Errorf("second run (-want +got):\n%s", diff)
	}
	advance(t, clock, time.Hour) // eleven runs missed while the host was awake become one
	wait(t, runs, "the late run")
	advance(t, clock, 4*time.Minute)
	eventually(t, "three runs", func() bool { return r.Invocations()["tick"].Succeeded == 3 })
	if err := clock.BlockUntilContext(within(t), 1); err != nil {
		t.Fatal(err)
	}
	if c := r.Invocations()["tick"]; c != (Count{Started: 3, Succeeded: 3}) {
		t.Errorf("counts %+v", c)
	}
}

func TestTimerRunsNeverOverlapAndFailuresAreSwallowed(t *testing.T) {
	t.Parallel()
	r, clock, runs := timerRig(t, "0 * * * * *", "")
	note := r.onCall
	release := make(chan answer, 1)
	t.Cleanup(func() { close(release) })
	r.onCall = func(in request) answer { note(in); return <-release }
	r.start()
	advance(t, clock, 30*time.Second)
	wait(t, runs, "the first run")
	clock.Advance(5 * time.Minute) // the first run still goes on
	if n := r.Invocations()["tick"].Started; n != 1 {
		t.Errorf("%d runs at once", n)
	}
	release <- answer{Status: 500}
	advance(t, clock, time.Minute)
	info := wait(t, runs, "the second run")
	release <- ok("{}")
	if info.Status.Next != time.Date(2026, 3, 1, 12, 7, 0, 0, time.UTC) {
		t.Errorf("next was computed before the run ended: %v", info.Status.Next)
	}
	eventually(t, "both runs counted", func() bool {
		return r.Invocations()["tick"] == Count{Started: 2, Succeeded: 1, Failed: 1}
	})
}

func TestTimerRunOnStartup(t *testing.T) {
	t.Parallel()
	r, _, runs := timerRig(t, "0 0 0 * * *", `,"runOnStartup":true,"useMonitor":false`)
	r.start()
	if info := wait(t, runs, "the run at the start"); info.Status != nil || info.IsPastDue {
		t.Errorf("info %+v, want none: useMonitor is false", info)
	}
}

func TestFrequentTimersAreNotMonitored(t *testing.T) {
	t.Parallel()
	r, clock, runs := timerRig(t, "*/10 * * * * *", "")
	r.start()
	advance(t, clock, 10*time.Second)
	if info := wait(t, runs, "the run"); info.Status != nil {
		t.Errorf("status %+v, want none", info.Status)
	}
}

func TestMissedRunIsPastDueAtTheNextStart(t *testing.T) {
	t.Parallel()
	r, clock, runs := timerRig(t, "0 0 * * * *", "")
	r.options.StateDir = t.TempDir()
	r.start()
	if err := clock.BlockUntilContext(within(t), 1); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	clock.Advance(3 * time.Hour)
	r.start()
	info := wait(t, runs, "the missed run")
	if !info.IsPastDue || info.Status.Next != time.Date(2026, 3, 1, 13, 0, 0, 0, time.UTC) {
		t.Errorf("info %+v %+v", info, info.Status)
	}
	advance(t, clock, time.Hour)
	if info := wait(t, runs, "the next run"); info.IsPastDue {
		t.Error("only the first run is past due")
	}
}

func TestPausedTimerRunsLate(t *testing.T) {
	t.Parallel()
	r, clock, runs := timerRig(t, "0 0 * * * *", "")
	r.start()
	r.Pause()
	advance(t, clock, 2*time.Hour)
	r.Resume()
	wait(t, runs, "the run after the pause")
	eventually(t, "one run", func() bool { return r.Invocations()["tick"].Succeeded == 1 })
}

func TestTriggerByHand(t *testing.T) {
	t.Parallel()
	r, _, runs := timerRig(t, "0 0 * * * *", "")
	r.options.Keys = map[string]string{"_master": "m", "default": "d"}
	r.start()
	if err := r.Trigger(within(t), "TICK"); err != nil {
		t.Error(err)
	}
	if info := wait(t, runs, "the run"); info.IsPastDue {
		t.Errorf("info %+v", info)
	}
	if err := r.Trigger(within(t), "tock"); err == nil {
		t.Error("an unknown timer: want an error")
	}
	for _, tt := range []struct {
		method, path, key string
		want              int
	}{
		{"POST", "/admin/functions/tick", "m", 202},
		{"POST", "/admin/functions/tick", "d", 401},
		{"POST", "/admin/functions/tick", "", 401},
		{"POST", "/admin/functions/tock", "m", 404},
		{"GET", "/admin/functions/tick", "m", 404},
		{"POST", "/admin/host/status", "m", 404},
	} {
		if got, _, _ := r.do(tt.method, tt.path, strings.NewReader("{}"), "x-functions-key", tt.key); got != tt.want {
			t.Errorf("%s %s with %q: %d, want %d", tt.method, tt.path, tt.key, got, tt.want)
		}
	}
	wait(t, runs, "the run over HTTP")
	eventually(t, "two runs", func() bool { return r.Invocations()["tick"].Succeeded == 2 })

	r.answerWith(func(request) answer { return answer{Status: 500} })
	if err := r.Trigger(within(t), "tick"); err == nil {
		t.Error("a failing run: want an error")
	}
}

func TestInvocationRequestShape(t *testing.T) {
	t.Parallel()
	r, _, _ := timerRig(t, "0 0 * * * *", "")
	calls := make(chan request, 1)
	r.onCall = func(in request) answer { calls <- in; return ok("{}") }
	r.start()
	if err := r.Trigger(within(t), "tick"); err != nil {
		t.Fatal(err)
	}
	in := wait(t, calls, "the call")
	if in.Method != "POST" || in.URI != "/tick" || in.Length != -1 || len(in.Encoding) != 1 || in.Encoding[0] != "chunked" {
		t.Errorf("%s %s, length %d, encoding %v", in.Method, in.URI, in.Length, in.Encoding)
	}
	if in.Header.Get("Content-Type") != "application/json; charset=utf-8" || in.Header.Get("User-Agent") != userAgent ||
		in.Header.Get(headerVersion) != hostVersion || len(in.Header.Get(headerInvocation)) != 36 {
		t.Errorf("headers %v", in.Header)
	}
	var body struct {
		Data     map[string]map[string]json.RawMessage
		Metadata map[string]map[string]string
	}
	if err := json.Unmarshal(in.Body, &body); err != nil {
		t.Fatal(err)
	}
	if string(body.Data["timer"]["Schedule"]) != `{"AdjustForDST":true}` || len(body.Metadata) != 1 || body.Metadata["sys"]["MethodName"] != "tick" {
		t.Errorf("body %s", in.Body)
	}
}
