package access_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"jitgate/internal/access"
)

func (w *world) active(vms ...string) access.Request {
	w.tb.Helper()
	r := w.submit(ask(vms...))
	w.deliver()
	return w.wantState(r.ID, access.Active)
}

func (w *world) extend(id, duration string) error {
	_, err := w.service.Extend(ctx, id, as(alice), duration)
	return err
}

func TestExtend(t *testing.T) {
	w := newWorld(t)
	w.rule("extensions: 2")
	r := w.active("app01")
	end := r.ExpiresAt()
	w.pass(30 * time.Minute)
	must(t, w.extend(r.ID, "PT30M"))
	w.deliver()
	for name, rule := range w.wantRules(nicNSG, 1) {
		if want := "until 2026-03-01T09:30:00Z"; !strings.Contains(rule.Description, want) {
			t.Errorf("rule %s says %q, want %q", name, rule.Description, want)
		}
	}
	w.pass(end.Sub(w.clock.Now())) // the first wake-up finds nothing to do
	w.wantState(r.ID, access.Active)
	w.wantRules(subnetNSG, 1)
	w.pass(29 * time.Minute)
	must(t, w.extend(r.ID, "PT10M"))
	wantCode(t, w.extend(r.ID, "PT10M"), access.ExtensionNotAllowed) // the third
	w.deliver()
	w.pass(10 * time.Minute)
	w.wantState(r.ID, access.Active)
	w.pass(time.Minute)
	w.wantState(r.ID, access.Expired)
	w.wantRules(nicNSG, 0)
	w.wantKinds(r.ID, "request.created", "request.approved", "rule.created", "rule.created", "access.opened",
		"access.extended", "rule.extended", "rule.extended", "access.ending", "access.extended", "rule.extended", "rule.extended", "access.ending",
		"rule.removed", "rule.removed", "access.expired")
}

func TestExtensionsStayInsidePolicy(t *testing.T) {
	w := newWorld(t)
	r := w.active("web01")
	wantCode(t, w.extend(r.ID, "PT30M"), access.ExtensionNotAllowed) // policy does not speak of extensions
	w.rule("extensions: 5")
	wantCode(t, w.extend(r.ID, "PT2H1M"), "duration_over_policy")
	wantCode(t, w.extend(r.ID, "PT1M"), access.DurationTooShort)
	wantCode(t, w.extend(r.ID, "later"), access.DurationInvalid)
	must(t, w.extend(r.ID, "PT2H"))
	wantCode(t, w.extend(r.ID, "PT5M"), "duration_over_policy")
	w.deliver()

	w.apply("apiVersion: jitgate/v1\nscope: tenant\nenforced: true\nextensions: 0")
	other := w.active("web01")
	wantCode(t, w.extend(other.ID, "PT5M"), access.ExtensionNotAllowed)
	w.pass(3 * time.Hour)
	wantCode(t, w.extend(r.ID, "PT5M"), access.RequestNotActive)
}

// TestAnExtensionFitsAsAWhole: what counts is when the access opened, not when it is
// extended; and whatever policy says, no access lasts longer than any may.
func TestAnExtensionFitsAsAWhole(t *testing.T) {
	w := newWorld(t)
	w.rule(`extensions: 5
windows: [{zone: UTC, from: "08:00", to: "10:00"}]`)
	r := w.active("web01") // at 8
	w.pass(50 * time.Minute)
	must(t, w.extend(r.ID, "PT1H"))
	wantCode(t, w.extend(r.ID, "PT5M"), "outside_window")
	w.service.Limits.Longest = 119 * time.Minute
	w.rule("extensions: 5")
	late := w.active("db01")
	wantCode(t, w.extend(late.ID, "PT1H"), access.DurationTooLong)
	must(t, w.extend(late.ID, "PT59M"))
}

// TestExtendingWhatChangesMeanwhile: it was open when policy was asked.
func TestExtendingWhatChangesMeanwhile(t *testing.T) {
	w := newWorld(t)
	w.rule("extensions: 1")
	extend := func(r access.Request, do func()) error {
		slow := *w.service
		slow.Store = &meanwhile{w.service.Store, 1, do}
		_, err := slow.Extend(ctx, r.ID, as(alice), "PT30M")
		return err
	}
	r := w.active("web01")
	if err := extend(r, func() { must(t, w.extend(r.ID, "PT30M")) }); !errors.Is(err, access.ErrUnavailable) {
		t.Errorf("%v; want it tried again", err)
	}
	if got := w.request(r.ID); got.Extensions != 1 || got.ExpiresAt().Sub(r.ExpiresAt()) != 30*time.Minute {
		t.Errorf("extended %d times, from %s to %s", got.Extensions, r.ExpiresAt(), got.ExpiresAt())
	}
	gone := w.active("db01")
	wantCode(t, extend(gone, func() { w.revoke(gone.ID) }), access.RequestNotActive)
	w.deliver()
	w.wantState(gone.ID, access.Revoked)
}

// TestALostExtensionIsCarriedOut: the process died after it had saved the extension.
func TestALostExtensionIsCarriedOut(t *testing.T) {
	w := newWorld(t)
	w.rule("extensions: 1")
	r := w.active("web01")
	w.queue.Fail = func(string) error { return access.ErrUnavailable }
	if err := w.extend(r.ID, "PT1H"); err == nil {
		t.Fatal("nothing failed")
	}
	w.queue.Fail = nil
	w.sweep()
	w.pass(time.Hour - access.Patience)
	w.wantState(r.ID, access.Active)
	w.pass(time.Hour)
	w.wantState(r.ID, access.Expired)
}

func TestReminders(t *testing.T) {
	w := newWorld(t)
	short := ask("web01")
	short.Duration = 20 * time.Minute
	r := w.submit(short)
	w.deliver()
	w.pass(15 * time.Minute)
	w.wantKinds(r.ID, "request.created", "request.approved", "rule.created", "access.opened")
	long := w.active("db01")
	w.pass(49 * time.Minute)
	w.wantKinds(long.ID, "request.created", "request.approved", "rule.created", "access.opened")
	w.pass(time.Minute)
	w.wantKinds(long.ID, "request.created", "request.approved", "rule.created", "access.opened", "access.ending")
}
