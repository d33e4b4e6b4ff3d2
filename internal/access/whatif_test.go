package access_test

import (
	"slices"
	"testing"

	"jitgate/internal/access"
	"jitgate/internal/armid"
	"jitgate/internal/nsg"
)

func portsOf(list ...uint16) access.ProtectAsk {
	var a access.ProtectAsk
	for _, p := range list {
		a.Ports = append(a.Ports, nsg.PortRange{Protocol: nsg.TCP, First: p, Last: p})
	}
	return a
}

func (w *world) protectOn(vm armid.ID, ask access.ProtectAsk) access.Forecast {
	w.tb.Helper()
	f, err := w.service.Protect(ctx, vm, ask, bob)
	if err != nil {
		w.tb.Fatalf("protect %s: %v", vm.Name(), err)
	}
	return f
}

// What-if: fewer ports are to be protected. It has to say that the deny rule goes and
// who gets in to the port that is let go.
func TestWhatIfShowsPortsThatAreLetGo(t *testing.T) {
	w, db01 := newWorld(t), vmID("db01")
	w.edit(subnetNSG, allowFrom("allow-rdp", 2000, "*", "10.0.1.0/24", "3389"))
	w.protect(db01)
	w.deliver()
	f, err := w.service.ForecastProtect(ctx, db01, portsOf(22), bob)
	must(t, err)
	told := slices.ContainsFunc(f.Verdicts, func(v access.VerdictChange) bool { return v.Ports.First <= 3389 && 3389 <= v.Ports.Last })
	gone := len(f.NSGs[0].Plan.Delete) > 0
	w.protectOn(db01, portsOf(22))
	w.deliver()
	if w.opened(subnetNSG, "10.0.1.4", 3389) && (!told || !gone) {
		t.Errorf("port 3389 was opened to the internet; what-if said a deny rule goes: %v, gave a verdict for 3389: %v, warnings %+v", gone, told, f.Warnings)
	}
}

// Repeating "protect" without ports keeps those that are protected.
func TestRepeatingProtectLetsGoOfNothing(t *testing.T) {
	w, db01 := newWorld(t), vmID("db01")
	w.edit(subnetNSG, allowFrom("allow-winrm", 2000, "*", "10.0.1.0/24", "5985"))
	w.protectOn(db01, portsOf(22, 5985))
	w.deliver()
	again, err := access.ProtectForm{}.Read()
	must(t, err)
	f := w.protectOn(db01, again)
	w.deliver()
	if w.opened(subnetNSG, "10.0.1.4", 5985) && len(f.Warnings) == 0 {
		t.Errorf("a repeat without ports opened 5985 to the internet, warnings: %+v", f.Warnings)
	}
}

// A repeat after the cause is gone has to look like work under way, or --wait ends at
// once with the old problem.
func TestARepeatAfterABlockIsUnderWay(t *testing.T) {
	w := newWorld(t).withOpen()
	w.protect(open01)
	w.deliver()
	w.unprotect(open01)
	w.edit(openNSG, allowFrom("intruder", 300, "198.51.100.7", "*", "443"))
	w.deliver()
	w.wantProtection(open01, access.Blocked)
	w.network.Edit(openNSG, remove("intruder"))
	f, err := w.service.Unprotect(ctx, open01, nil, bob)
	must(t, err)
	if got := f.Protection.State(); got != access.Unprotecting {
		t.Errorf("the repeat says %s (%+v), and so does the first poll", got, f.Protection.Parts[0].Problem)
	}
}

// What-if of unprotect has a line for each source that policy allows, like protect's.
func TestWhatIfOfUnprotectCoversAllowedSources(t *testing.T) {
	w := newWorld(t).withOpen()
	w.protect(open01)
	w.deliver()
	f, err := w.service.ForecastUnprotect(ctx, open01, nil, bob)
	must(t, err)
	if !slices.ContainsFunc(f.Verdicts, func(v access.VerdictChange) bool { return v.From == "203.0.113.0/24" }) {
		t.Errorf("no verdict for 203.0.113.0/24 among %d", len(f.Verdicts))
	}
}
