package access_test

import (
	"slices"
	"testing"

	"jitgate/internal/access"
	"jitgate/internal/nsg"
)

// A machine of which nothing can be read is neither closed nor protected.
func TestAnUnreadableMachineIsNotReportedAsProtected(t *testing.T) {
	w := newWorld(t)
	w.protect(vmID("db01"))
	w.deliver()
	w.service.Network = &withoutNICs{w.service.Network}
	if m := of(w.report(), "db01"); m.Protected {
		t.Errorf("protected %v, findings %v", m.Protected, m.Findings)
	}
}

// An allow rule that nobody was granted, but that is named as a grant's would be, or a
// grant's rule that was widened by hand, opens the door like any other.
func TestForgedGrantsCountAsOpen(t *testing.T) {
	w := newWorld(t)
	w.edit(nicNSG, allowFrom(nsg.AllowName("0198c0de-0000-7000-8000-000000000001", 0), 200, "*", "*", "22"))
	if m := of(w.report(), "web01"); m.Closed {
		t.Errorf("unbacked: everybody gets in to port 22 of web01, closed %v, findings %v", m.Closed, codes(m))
	}
	w = newWorld(t)
	r := w.submit(ask("web01"))
	w.deliver()
	for name := range w.wantRules(nicNSG, 1) {
		w.network.Edit(nicNSG, change(name, func(r *nsg.Rule) { r.Sources = []string{"*"} }))
	}
	w.wantState(r.ID, access.Active)
	if m := of(w.report(), "web01"); m.Closed {
		t.Errorf("widened: everybody gets in to port 22 of web01, closed %v, findings %v", m.Closed, codes(m))
	}
}

// While new ports cannot be written, the old deny rule is what keeps the machine closed;
// the report must not advise to delete it.
func TestReportDoesNotTellToDeleteWhatCloses(t *testing.T) {
	w := newWorld(t).withOpen()
	w.protect(open01)
	w.deliver()
	w.network.Refuse(openNSG, access.ErrForbidden)
	w.protectOn(open01, portsOf(22, 3389, 5985))
	w.deliver()
	w.wantProtection(open01, access.Blocked)
	if m := of(w.report(), "open01"); slices.Contains(codes(m), access.RuleWithoutGrant) {
		t.Errorf("%+v", m.Findings)
	}
}
