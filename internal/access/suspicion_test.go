package access_test

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"jitgate/internal/access"
	"jitgate/internal/nsg"
	"jitgate/internal/policy"
)

func suspicious(t *testing.T) *world {
	w := newWorld(t)
	hours, err := policy.ParseWindows([]byte(`[{zone: UTC, from: "07:00", to: "19:00"}]`))
	if err != nil {
		t.Fatal(err)
	}
	w.service.Suspicion = access.Suspicion{Denials: 3, Within: time.Hour, NewSource: 24 * time.Hour, Approvals: 2, Hours: hours}
	return w
}

// found are the suspicious kinds on the installation's record.
func (w *world) found() []string {
	return slices.DeleteFunc(w.ledgerKinds(), func(k string) bool { return !strings.HasPrefix(k, "suspicious.") })
}

func (w *world) wantFound(want ...string) {
	w.tb.Helper()
	if got := w.found(); !slices.Equal(got, want) {
		w.tb.Errorf("found %v, want %v", got, want)
	}
}

func TestManyDenials(t *testing.T) {
	w := suspicious(t)
	bad := ask("web01")
	bad.Source = netip.MustParsePrefix("198.51.100.1/32")
	deny := func() {
		t.Helper()
		_, err := w.service.Submit(ctx, as(alice), "", bad)
		wantCode(t, err, "source_not_allowed")
	}
	deny()
	deny()
	w.clock.Advance(2 * time.Hour) // forgotten
	deny()
	deny()
	w.wantFound()
	deny()
	w.wantFound("suspicious.denials")
	deny()
	w.wantFound("suspicious.denials") // not over and over
	_, err := w.service.Submit(ctx, as(bob), "", bad)
	wantCode(t, err, "source_not_allowed")
	w.wantFound("suspicious.denials") // each person by themselves
	w.clock.Advance(61 * time.Minute)
	deny()
	deny()
	deny()
	w.wantFound("suspicious.denials", "suspicious.denials")
}

// TestOneDecisionIsWatchedOnce: two processes evaluate the request, and one is first.
// What policy denies only then counts as what it denies at once, and once.
func TestOneDecisionIsWatchedOnce(t *testing.T) {
	w := suspicious(t)
	w.service.Suspicion.Denials = 2
	deny := func() {
		w.rule("")
		r := w.submit(ask("web01"))
		w.apply("apiVersion: jitgate/v1\nscope: " + demoScope + "\nports: [{port: 3389, protocol: TCP}]\nsources: [{range: 203.0.113.0/24}]\n")
		slow := *w.service
		slow.Store = &meanwhile{w.service.Store, 1, func() { must(t, w.service.Evaluate(ctx, r.ID)) }}
		must(t, slow.Evaluate(ctx, r.ID))
		w.wantState(r.ID, access.Denied)
	}
	deny()
	w.wantFound()
	deny()
	w.wantFound("suspicious.denials")
}

func TestTheHighestThresholdIsReached(t *testing.T) {
	w := suspicious(t)
	w.service.Suspicion.Denials = access.MaxRemembered
	bad := ask("web01")
	bad.Source = netip.MustParsePrefix("198.51.100.1/32")
	for range access.MaxRemembered {
		w.wantFound()
		_, err := w.service.Submit(ctx, as(alice), "", bad)
		wantCode(t, err, "source_not_allowed")
	}
	w.wantFound("suspicious.denials")
}

func TestANewSource(t *testing.T) {
	w := suspicious(t)
	from := func(source string) {
		a := ask("web01")
		a.Source = netip.MustParsePrefix(source)
		w.submit(a)
		w.deliver()
	}
	from("203.0.113.7/32") // the first of somebody is not strange
	from("203.0.113.7/32")
	w.wantFound()
	from("203.0.113.8/32")
	w.wantFound("suspicious.source")
	w.clock.Advance(10 * time.Minute)
	from("203.0.113.66/32") // a second one is no repeat of the first
	from("203.0.113.66/32")
	w.wantFound("suspicious.source", "suspicious.source")
	w.clock.Advance(25 * time.Hour)
	from("203.0.113.7/32") // an account that was idle for longer than sources are remembered
	w.wantFound("suspicious.source", "suspicious.source", "suspicious.source")
}

func TestOutOfHours(t *testing.T) {
	w := suspicious(t)
	w.active("web01") // at 8
	w.pass(11*time.Hour - time.Minute)
	w.active("web01")
	w.wantFound()
	w.pass(time.Minute)
	w.active("web01") // at 19
	w.wantFound("suspicious.out-of-hours")
}

func TestApprovingWithinOnesOwnGroup(t *testing.T) {
	w := suspicious(t)
	w.rule(oneApprover)
	decide := func(agrees bool, groups ...string) (again func()) {
		t.Helper()
		me := as(alice)
		me.Groups = []string{"team-a"}
		r, err := w.service.Submit(ctx, me, "", ask("web01"))
		must(t, err)
		w.deliver()
		v := approver(bob)
		v.By.Groups, v.Agrees = groups, agrees
		again = func() { w.vote(r.ID, v) }
		again()
		return again
	}
	decide(true, "team-b")
	decide(true, "team-b")
	decide(false, "team-a")
	decide(false, "team-a")
	again := decide(true, "team-a")
	again() // the same word is not another approval
	w.wantFound()
	decide(true, "team-c", "team-a")
	w.wantFound("suspicious.approvals")
}

func TestRulesEditedByOthers(t *testing.T) {
	w := suspicious(t)
	w.active("web01")
	w.network.Edit(nicNSG, func(g *nsg.Group) {
		for i := range g.Rules {
			if strings.HasPrefix(g.Rules[i].Name, "jitgate-") {
				g.Rules[i].Sources = []string{"*"}
			}
		}
	})
	w.sweep()
	w.wantFound("suspicious.rules-edited")
}

// TestSuspicionHurtsNobody: what is remembered cannot be written, and access opens.
func TestSuspicionHurtsNobody(t *testing.T) {
	w := suspicious(t)
	w.service.Ledgers = forgetful{w.service.Ledgers}
	w.active("web01")
}

type forgetful struct{ access.LedgerStore }

func (forgetful) UpdateHabits(_ context.Context, _ access.Person, _ func(*access.Habits) bool) error {
	return access.ErrUnavailable
}
