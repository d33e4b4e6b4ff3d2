package access_test

import (
	"encoding/json"
	"testing"
	"time"

	"jitgate/internal/access"
	"jitgate/internal/access/accesstest"
	"jitgate/internal/nsg"
)

// TestAWakeUpThatIsALittleEarly: nothing would look again before the sweep, so it
// closes the grant.
func TestAWakeUpThatIsALittleEarly(t *testing.T) {
	w := newWorld(t)
	r := w.submit(ask("web01"))
	w.deliver()
	w.clock.Advance(time.Hour - access.Skew - time.Millisecond)
	must(t, w.service.Enforce(ctx, nicNSG))
	w.wantState(r.ID, access.Active)
	w.clock.Advance(2 * time.Millisecond)
	must(t, w.service.Enforce(ctx, nicNSG))
	w.wantState(r.ID, access.Expired)
}

func TestEvaluatingTwiceSchedulesOnce(t *testing.T) {
	w := newWorld(t)
	r := w.submit(ask("web01"))
	must(t, w.service.Evaluate(ctx, r.ID))
	must(t, w.service.Evaluate(ctx, r.ID))
	w.deliver()
	if w.queue.Len() != 2 {
		t.Errorf("%d messages wait, want one wake-up and one reminder", w.queue.Len())
	}
}

// TestAGrantThatIsOverIsNeverOpened: the message came after the expiry.
func TestAGrantThatIsOverIsNeverOpened(t *testing.T) {
	w := newWorld(t)
	r := w.submit(ask("web01"))
	must(t, w.service.Evaluate(ctx, r.ID))
	w.clock.Advance(2 * time.Hour)
	w.deliver()
	if r := w.wantState(r.ID, access.Failed); r.Targets[0].Reason.Code != access.NotOpenedInTime {
		t.Errorf("%+v", r.Targets[0].Reason)
	}
	if w.network.Writes() != 0 {
		t.Error("an NSG was written for a grant that was over")
	}
}

// TestALateEvaluationDoesNotReopen: the message of an ended request comes again
// after its grants are gone.
func TestALateEvaluationDoesNotReopen(t *testing.T) {
	w := newWorld(t)
	r := w.submit(ask("web01"))
	message := w.queue.Due(w.clock.Now())[0]
	must(t, w.service.Evaluate(ctx, r.ID))
	stale := w.request(r.ID)
	w.deliver()
	w.revoke(r.ID)
	w.deliver()
	must(t, accesstest.Deliver(ctx, w.service, message))
	// The worst case: a process that slept since before the revocation files the grant
	// from what it had read.
	_, _, err := w.service.Store.PutGrants(ctx, nicNSG, []access.Grant{{Request: r.ID, Rule: stale.Targets[0].Openings[0].Rules[0].Name,
		Source: stale.Source, Addresses: stale.Targets[0].Openings[0].Addresses, Protocol: nsg.TCP, Ports: []uint16{22}, ExpiresAt: stale.Targets[0].ExpiresAt}})
	must(t, err)
	must(t, w.service.Enforce(ctx, nicNSG))
	w.deliver()
	w.wantState(r.ID, access.Revoked)
	w.wantRules(nicNSG, 0)
}

// TestMessagesThatNameNothing are settled: repeating them cannot help.
func TestMessagesThatNameNothing(t *testing.T) {
	w := newWorld(t)
	must(t, w.service.Evaluate(ctx, "0192f0c1-2222-7333-8444-555566667777"))
	must(t, w.service.Enforce(ctx, nicNSG))
	if w.network.Writes() != 0 {
		t.Error("a forged nudge led to a write")
	}
}

// TestANudgeWithNothingNewReadsOneRow keeps a burst of nudges cheap.
func TestANudgeWithNothingNewReadsOneRow(t *testing.T) {
	w := newWorld(t)
	w.submit(ask("web01"))
	w.deliver()
	before := storage.Counts()
	must(t, w.service.Enforce(ctx, nicNSG))
	after := storage.Counts()
	for kind, n := range after {
		if want := map[string]int{"get": 1}[kind]; n-before[kind] != want {
			t.Errorf("%d %s operations, want %d", n-before[kind], kind, want)
		}
	}
}

// TestAPassReadsOnlyWhatIsNew: with many grants open, one more must not cost a look
// at every request.
func TestAPassReadsOnlyWhatIsNew(t *testing.T) {
	w := newWorld(t)
	for range 30 {
		w.submit(ask("web01"))
	}
	w.deliver()
	r := w.submit(ask("web01"))
	must(t, w.service.Evaluate(ctx, r.ID))
	before := storage.Counts()["get"]
	must(t, w.service.Enforce(ctx, nicNSG))
	if reads := storage.Counts()["get"] - before; reads > 6 {
		t.Errorf("%d rows were read one by one for one new grant", reads)
	}
	w.wantState(r.ID, access.Active)
}

func TestParseNudge(t *testing.T) {
	for _, body := range []string{``, `{}`, `null`, `[]`, `{"request":""}`, `{"nsg":""}`, `{"nsg":"nowhere"}`, `{"request":"a"} {"request":"b"}`,
		`{"request":"a","nsg":"` + nicNSG.String() + `"}`, `{"request":"a","state":"Active"}`} {
		if n, err := access.ParseNudge([]byte(body)); err == nil {
			t.Errorf("%s read as %+v", body, n)
		}
	}
	for _, n := range []access.Nudge{{Request: "a"}, {NSG: nicNSG}} {
		body, err := json.Marshal(n)
		must(t, err)
		if again, err := access.ParseNudge(body); err != nil || again.Request != n.Request || !again.NSG.Equal(n.NSG) {
			t.Errorf("%s read as %+v, %v", body, again, err)
		}
	}
}

// TestMessagesOfTheWrongKindAreDropped: a nudge for an NSG on the queue without
// sessions must not lead to a second writer, and rubbish must not come back ten
// times.
func TestMessagesOfTheWrongKindAreDropped(t *testing.T) {
	w := newWorld(t)
	r := w.submit(ask("web01"))
	must(t, w.service.Evaluate(ctx, r.ID))
	for _, body := range []string{`{"nsg":"` + nicNSG.String() + `"}`, `{"request":"a","nsg":"` + nicNSG.String() + `"}`, `{}`, ``, `null`, `[]`, `{"request":"a","state":"Active"}`} {
		must(t, w.service.OnRequestNudge(ctx, []byte(body)))
	}
	for _, body := range []string{`{"request":"` + r.ID + `"}`, `{"nsg":"nowhere"}`, `{"nsg":""}`, `x`} {
		must(t, w.service.OnNSGNudge(ctx, []byte(body)))
	}
	if w.network.Writes() != 0 {
		t.Error("an NSG was written")
	}
}
