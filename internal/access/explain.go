package access

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"jitgate/internal/armid"
	"jitgate/internal/nsg"
	"jitgate/internal/policy"
)

// Question asks whether a packet reaches a machine.
type Question struct {
	VM       armid.ID
	Source   netip.Addr
	Port     uint16
	Protocol nsg.Protocol // Tcp or Udp
}

// Explanation is the answer, with everything that led to it.
type Explanation struct {
	Question
	Verdict Verdict // over all ways: allowed when one of the addresses can be reached
	Ways    []Way
	Grants  []LiveGrant // that bear on it
	Remedy  string      // one sentence: what would open it; empty when it is open
	Policy  string      // scope and version of the policy that would or may allow a request; empty when none does
	Blind   []string    // sentences on what is not seen
}

// Verdict of a packet.
type Verdict string

const (
	Allowed Verdict = "allow"
	Stopped Verdict = "deny"
	Depends Verdict = "depends" // rules decide that cannot be judged
)

// Way is one address of the machine and the NSGs before it.
type Way struct {
	Interface armid.ID
	Address   netip.Addr
	Verdict   Verdict
	NSGs      []NSGExplanation // empty: nothing filters
}

// NSGExplanation is what one NSG makes of the packet.
type NSGExplanation struct {
	NSG     armid.ID
	Verdict Verdict
	Steps   []nsg.Step // in order of priority, the deciding rule last
}

// LiveGrant is an open grant, as its rule tells.
type LiveGrant struct {
	Request   string
	Rule      string
	NSG       armid.ID
	ExpiresAt time.Time
}

// blind is what no NSG tells; every explanation says so.
var blind = []string{
	"Security admin rules of Azure Virtual Network Manager come before every NSG and are not read.",
	"An Azure Firewall or another appliance on the way may stop or translate what an NSG lets through.",
	"A load balancer's inbound NAT rules may lead to this port from another one.",
	"What the machine's own firewall does is not seen.",
}

// ReadQuestion checks a question as a caller wrote it; a source left out is the
// caller's own address. All faults are returned together as [Refusals].
func ReadQuestion(vm armid.ID, source string, port int, protocol string, caller netip.Addr) (Question, error) {
	var c check
	from := c.source(source, caller)
	q := Question{VM: vm, Source: from.Addr(), Port: uint16(port)}
	if from.IsValid() && !from.IsSingleIP() {
		c.fault(SourceInvalid, "source", "A connection comes from one address, and %s is a range; send an address in it.", from)
	}
	if port < 1 || port > 65535 {
		c.fault(PortInvalid, "port", "%d is not a port; send one from 1 to 65535.", port)
	}
	var known bool
	if q.Protocol, known = c.protocol(protocol, "protocol"); known && q.Protocol == nsg.AnyProtocol {
		c.fault(ProtocolUnknown, "protocol", "A connection is of one protocol; send TCP or UDP.")
	}
	if len(c.faults) > 0 {
		return Question{}, c.faults
	}
	return q, nil
}

// Explain answers a question. It looks at every interface of the machine. Errors:
// [Refusals] as [Network.Locate] has them, and ScopeNotLookedAt; [ErrUnavailable];
// [ErrForbidden].
func (s *Service) Explain(ctx context.Context, q Question) (Explanation, error) {
	if err := s.inCare("", q.VM); len(err) > 0 {
		return Explanation{}, err
	}
	m, err := s.Network.Locate(ctx, q.VM)
	if err != nil {
		return Explanation{}, err
	}
	q.VM = m.VM
	e := Explanation{Question: q, Verdict: Stopped, Blind: blind}
	views, err := s.views(ctx, m.Interfaces, Protection{})
	if err != nil {
		return Explanation{}, err
	}
	for _, i := range m.Interfaces {
		groups := groupsOf(views, i)
		around, err := s.surroundings(ctx, i, groups)
		if err != nil {
			return Explanation{}, err
		}
		for _, address := range i.Addresses {
			if address.Is4() == q.Source.Is4() {
				e.addWay(i, address, around, groups)
			}
		}
	}
	if e.Verdict != Allowed {
		err = s.addRemedy(ctx, &e, m, views)
	}
	return e, err
}

func groupsOf(views []view, i Interface) []nsg.Group {
	var out []nsg.Group
	for _, id := range i.NSGs {
		at := slices.IndexFunc(views, func(v view) bool { return v.NSG.Equal(id) })
		out = append(out, views[at].group)
	}
	return out
}

func (e *Explanation) addWay(i Interface, address netip.Addr, around nsg.Surroundings, groups []nsg.Group) {
	packet := nsg.Packet{Source: e.Source, Destination: address, Port: e.Port, Protocol: e.Protocol}
	way := Way{Interface: i.ID, Address: address, Verdict: Allowed}
	for n, g := range groups {
		v := g.Decide(packet, around)
		step := NSGExplanation{NSG: i.NSGs[n], Verdict: Stopped, Steps: g.Explain(packet, around)}
		switch {
		case !v.Sure():
			step.Verdict = Depends
		case v.Access == nsg.Allow:
			step.Verdict = Allowed
		}
		if request, _, ours := nsg.ParseAllowName(v.Rule.Name); ours {
			until, _ := nsg.ExpiryOf(v.Rule)
			e.Grants = append(e.Grants, LiveGrant{Request: request, Rule: v.Rule.Name, NSG: i.NSGs[n], ExpiresAt: until})
		}
		way.Verdict = worse(way.Verdict, step.Verdict)
		way.NSGs = append(way.NSGs, step)
	}
	e.Ways = append(e.Ways, way)
	e.Verdict = better(e.Verdict, way.Verdict)
}

// rank orders verdicts by how much they let through.
var rank = map[Verdict]int{Stopped: 0, Depends: 1, Allowed: 2}

func worse(a, b Verdict) Verdict {
	if rank[b] < rank[a] {
		return b
	}
	return a
}

func better(a, b Verdict) Verdict {
	if rank[b] > rank[a] {
		return b
	}
	return a
}

// aboutTheAsker are refusals that hang on who asks, and why, alone. Neither is part of a
// question.
var aboutTheAsker = map[Code]bool{
	Code(policy.RequesterNotAllowed): true, Code(policy.JustificationRequired): true, Code(policy.JustificationPattern): true,
}

// mayNotApply are refusals that may hang on who asks, and may as well meet everybody.
var mayNotApply = map[Code]bool{
	Code(policy.ConditionUnmet): true, Code(policy.ConditionFailed): true, NoApprover: true,
}

// addRemedy says what would open the way: it asks policy as a request would, and
// plans the grant to see whether it would be enough.
func (s *Service) addRemedy(ctx context.Context, e *Explanation, m Machine, views []view) error {
	rules, err := s.rulebook(ctx, []armid.ID{m.VM})
	if err != nil {
		return err
	}
	source := netip.PrefixFrom(e.Source, e.Source.BitLen())
	asked := policy.TCP
	if e.Protocol == nsg.UDP {
		asked = policy.UDP
	}
	// Who asks and why is not part of the question: what hangs on that is not held
	// against it.
	out := rules.rule(enquiry{Ask: policy.Ask{VM: m.VM, Ports: []policy.Port{{Number: e.Port, Protocol: asked}}, Source: source, Duration: s.Limits.Shortest}, Tags: m.Tags})
	refusals := slices.DeleteFunc(out.refusals, func(r Refusal) bool { return aboutTheAsker[r.Code] })
	if slices.ContainsFunc(refusals, func(r Refusal) bool { return !mayNotApply[r.Code] }) {
		e.Remedy = "A request would be denied. " + refusals.Error()
		return nil
	}
	p := out.nearest
	ways, err := waysIn(m, p.Interfaces == policy.AllInterfaces, source)
	var refused Refusals
	if errors.As(err, &refused) {
		e.Remedy = "A request would be denied. " + refused.Error()
		return nil
	}
	e.Policy = p.Ref()
	remedy, would := fmt.Sprintf("Policy allows a request for port %s from %s to VM %s.", PortText(nsg.PortRange{Protocol: e.Protocol, First: e.Port, Last: e.Port}), e.Source, m.VM.Name()), "would"
	if len(refusals) > 0 {
		remedy, would = "Policy may allow a request, if: "+refusals.Error(), "may"
	}
	for _, way := range ways {
		around, err := s.surroundings(ctx, way, groupsOf(views, way))
		if err != nil {
			return err
		}
		var after []nsg.Group
		for _, g := range groupsOf(views, way) {
			want := nsg.Want{Name: nsg.AllowName("00000000-0000-8000-8000-000000000000", 0), Source: source,
				Destinations: way.Addresses, Protocol: e.Protocol, Ports: []uint16{e.Port}}
			v := slices.IndexFunc(views, func(v view) bool { return v.group.ID == g.ID })
			d := views[v].book.desired(g, views[v].book.live(s.now()))
			d.Open = append(d.Open, want)
			after = append(after, nsg.MakePlan(g, d, s.Bands).Apply(g))
		}
		ports := nsg.PortRange{Protocol: e.Protocol, First: e.Port, Last: e.Port}
		for _, address := range way.Addresses {
			if why := whyNot(source, address, ports, around, after); why.Code != "" {
				e.Remedy = "Policy " + would + " allow a request, but it would not be enough. " + why.Sentence
				return nil
			}
		}
	}
	e.Remedy = remedy
	return nil
}
