package access_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"jitgate/internal/access"
	"jitgate/internal/nsg"
)

func question(vm, source string, port uint16) access.Question {
	return access.Question{VM: vmID(vm), Source: netip.MustParseAddr(source), Port: port, Protocol: nsg.TCP}
}

func (w *world) explain(q access.Question) access.Explanation {
	w.tb.Helper()
	e, err := w.service.Explain(ctx, q)
	if err != nil {
		w.tb.Fatal(err)
	}
	return e
}

// last is the name of the rule that decides in the n-th NSG of the only way.
func last(e access.Explanation, n int) string {
	steps := e.Ways[0].NSGs[n].Steps
	return steps[len(steps)-1].Rule.Name
}

func TestExplain(t *testing.T) {
	w := newWorld(t).withOpen()

	e := w.explain(question("open01", "198.51.100.1", 22))
	if e.Verdict != access.Allowed || last(e, 0) != "allow-ssh" || e.Remedy != "" || len(e.Blind) == 0 {
		t.Errorf("an open port: %+v", e)
	}

	w.protect(open01)
	w.deliver()
	e = w.explain(question("open01", "203.0.113.7", 22))
	if e.Verdict != access.Stopped || !strings.HasPrefix(last(e, 0), nsg.DenyPrefix) || !strings.HasPrefix(e.Remedy, "Policy allows a request") || !strings.HasSuffix(e.Policy, "version 1") {
		t.Errorf("a closed port: %+v", e)
	}

	r := w.submit(ask("open01"))
	w.deliver()
	r = w.request(r.ID)
	e = w.explain(question("open01", "203.0.113.7", 22))
	if e.Verdict != access.Allowed || len(e.Grants) != 1 || e.Grants[0].Request != r.ID || !e.Grants[0].ExpiresAt.Equal(r.ExpiresAt()) {
		t.Errorf("a granted port: %+v", e)
	}
	e = w.explain(question("open01", "198.51.100.1", 22))
	if steps := e.Ways[0].NSGs[0].Steps; e.Verdict != access.Stopped || len(steps) != 2 || steps[0].Matches != nsg.No || !strings.Contains(steps[0].Why, "203.0.113.7") {
		t.Errorf("another source: %+v", steps)
	}
	if !strings.HasPrefix(e.Remedy, "A request would be denied.") || !strings.Contains(e.Remedy, "203.0.113.0/24") || e.Policy != "" {
		t.Errorf("the remedy for a source outside policy: %q", e.Remedy)
	}
}

// TestExplainPromisesNoMoreThanPolicyDoes: what may keep everybody out is said, what hangs
// on who asks and why is not.
func TestExplainPromisesNoMoreThanPolicyDoes(t *testing.T) {
	const closed = `conditions: [{expression: 'machine.name != "web01"', message: "This machine stays shut."}]`
	for _, c := range []struct{ rule, want string }{
		{"requesters: {users: [" + bobsID + "]}\njustification: {required: true}", "Policy allows a request for port 22/TCP from 203.0.113.7 to VM web01."},
		{closed, "Policy may allow a request, if: This machine stays shut."},
		{"justification: {pattern: ^INC-}\n" + closed, "Policy may allow a request, if: This machine stays shut."},
		{`conditions: [{expression: 'machine.tags["owner"] == requester.object', message: "Ask its owner."}]`, "Policy may allow a request, if: A condition of the policy for resource group rg-demo cannot be judged for this ask: no such key: owner. It reads: Ask its owner."},
		{"approval: {approvers: {users: [" + bobsID + "]}, quorum: 2}", "Policy may allow a request, if: " + demoScope + " version 2 wants 2 other people to agree and names fewer, so nobody could ever approve this; its owners must name more."},
		{"windows: [{zone: UTC, from: '10:00', to: '12:00'}]\n" + closed, "A request would be denied. The policy for resource group rg-demo allows access only every day 10:00–12:00 UTC, and access would open at Sun 2026-03-01 08:00 UTC; ask again from Sun 2026-03-01 10:00 UTC on. This machine stays shut."},
	} {
		w := newWorld(t)
		w.rule(c.rule)
		e := w.explain(question("web01", "203.0.113.7", 22))
		if e.Remedy != c.want || (e.Policy == "") != strings.HasPrefix(c.want, "A request would be denied.") {
			t.Errorf("%s: %q, policy %q", c.rule, e.Remedy, e.Policy)
		}
	}
}

func TestExplainFollowsEveryNSG(t *testing.T) {
	w := newWorld(t)
	w.edit(nicNSG, allowFrom("allow-ssh", 300, "*", "*", "22"))
	e := w.explain(question("app01", "203.0.113.7", 22))
	if e.Verdict != access.Stopped || len(e.Ways[0].NSGs) != 2 || e.Ways[0].NSGs[0].Verdict != access.Stopped || e.Ways[0].NSGs[1].Verdict != access.Allowed {
		t.Errorf("%+v", e)
	}
	block := allowFrom("block", 100, "*", "*", "22")
	block.Access = nsg.Deny
	w.edit(subnetNSG, block)
	if e = w.explain(question("app01", "203.0.113.7", 22)); !strings.Contains(e.Remedy, "not be enough") || !strings.Contains(e.Remedy, "block") {
		t.Errorf("a grant would not help: %q", e.Remedy)
	}
	w.edit(nicNSG, allowFrom("cloud", 110, "AzureCloud", "*", "3389"))
	w.edit(subnetNSG, allowFrom("rdp", 110, "*", "*", "3389"))
	if e = w.explain(question("app01", "203.0.113.7", 3389)); e.Verdict != access.Depends || e.Ways[0].NSGs[1].Verdict != access.Depends {
		t.Errorf("an unknown tag: %+v", e)
	}
	e = w.explain(question("lone01", "203.0.113.7", 22))
	if e.Verdict != access.Allowed || len(e.Ways[0].NSGs) != 0 {
		t.Errorf("nothing filters, and yet: %+v", e)
	}
	var refused access.Refusals
	if _, err := w.service.Explain(ctx, question("ghost", "203.0.113.7", 22)); !errors.As(err, &refused) || refused[0].Code != access.VMNotFound {
		t.Errorf("a VM that does not exist: %v", err)
	}
}

func TestReadQuestion(t *testing.T) {
	caller := netip.MustParseAddr("203.0.113.7")
	if q, err := access.ReadQuestion(vmID("web01"), "", 22, "udp", caller); err != nil || q.Source != caller || q.Protocol != nsg.UDP {
		t.Errorf("%+v, %v", q, err)
	}
	for _, c := range []struct {
		source, protocol string
		port             int
		want             access.Code
	}{
		{"nonsense", "", 22, access.SourceInvalid},
		{"10.0.0.0/8", "", 22, access.SourceInvalid},
		{"*", "", 22, access.SourceAny},
		{"", "", 0, access.PortInvalid},
		{"", "", 65536, access.PortInvalid},
		{"", "*", 22, access.ProtocolUnknown},
		{"", "icmp", 22, access.ProtocolUnknown},
	} {
		_, err := access.ReadQuestion(vmID("web01"), c.source, c.port, c.protocol, caller)
		var refused access.Refusals
		if !errors.As(err, &refused) || refused[0].Code != c.want {
			t.Errorf("%+v: %v", c, err)
		}
	}
}
