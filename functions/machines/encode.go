package machines

import (
	"cmp"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"jitgate/internal/access"
	"jitgate/internal/api"
	"jitgate/internal/nsg"
	"jitgate/internal/web"
)

// maxAllowed bounds the sources listed in one exposure: the space behind a few odd
// rules can fall into hundreds of prefixes, which nobody reads.
const maxAllowed = 20

// each never returns nil, so that lists are sent as [] and not as null.
func each[A, B any](in []A, f func(A) B) []B {
	out := make([]B, len(in))
	for i, v := range in {
		out[i] = f(v)
	}
	return out
}

func encodeProtection(p access.Protection) api.Protection {
	out := api.Protection{
		VM: p.VM.String(), State: string(p.State()), Ports: each(p.Ports, encodePorts),
		AllInterfaces: p.AllInterfaces, FlushConnection: p.Flush,
		NSGs: each(p.Parts, encodePart), Reason: web.Reason(p.Reason),
	}
	if p.By != (access.Person{}) {
		out.By = &api.Person{Object: p.By.Object, Name: p.By.Name}
	}
	if !p.ChangedAt.IsZero() {
		out.ChangedAt = new(p.ChangedAt)
	}
	return out
}

func encodePart(p access.Part) api.ProtectedNSG {
	return api.ProtectedNSG{
		NSG: p.NSG.String(), Addresses: each(p.Addresses, netip.Addr.String), Done: p.Done, Problem: web.Reason(p.Problem),
		Removed: each(p.Removed, func(r nsg.Rule) api.RemovedRule { return api.RemovedRule{Name: r.Name, Priority: r.Priority} }),
	}
}

// encodePorts writes a range as it is written in a form.
func encodePorts(p nsg.PortRange) api.PortRange {
	ports := strconv.Itoa(int(p.First))
	if p.Last != p.First {
		ports += "-" + strconv.Itoa(int(p.Last))
	}
	return api.PortRange{Ports: ports, Protocol: access.ProtocolText(p.Protocol)}
}

func encodeForecast(f access.Forecast) api.Forecast {
	return api.Forecast{
		Protection: encodeProtection(f.Protection), NSGs: each(f.NSGs, encodeNSG),
		Verdicts: each(f.Verdicts, encodeVerdict), Warnings: each(f.Warnings, encodeWarning),
	}
}

func encodeNSG(n access.NSGForecast) api.NSGChange {
	out := api.NSGChange{NSG: n.NSG.String(), Rules: []api.RuleChange{}, FlushConnection: n.Plan.Flush}
	before := map[string]nsg.Rule{}
	for _, r := range n.Before.Rules {
		before[r.Name] = r
	}
	put := map[string]bool{}
	for _, r := range n.Plan.Put {
		put[r.Name] = true
		action := "add"
		if _, there := before[r.Name]; there {
			action = "change"
		}
		out.Rules = append(out.Rules, encodeRule(action, r))
	}
	for _, name := range n.Plan.Delete {
		// One that is deleted and put again is a change, and stands there already.
		if r, there := before[name]; there && !put[name] {
			out.Rules = append(out.Rules, encodeRule("remove", r))
		}
	}
	for _, r := range n.Kept {
		out.Rules = append(out.Rules, encodeRule("keep", r))
	}
	// What goes comes before what takes its priority.
	order := []string{"remove", "change", "add", "keep"}
	slices.SortFunc(out.Rules, func(a, b api.RuleChange) int {
		return cmp.Or(cmp.Compare(a.Priority, b.Priority),
			cmp.Compare(slices.Index(order, a.Action), slices.Index(order, b.Action)), strings.Compare(a.Name, b.Name))
	})
	return out
}

func encodeRule(action string, r nsg.Rule) api.RuleChange {
	itself := func(s string) string { return s }
	return api.RuleChange{
		Action: action, Name: r.Name, Priority: r.Priority, Access: string(r.Access), Protocol: access.ProtocolText(r.Protocol),
		Sources:      each(slices.Concat(r.Sources, r.SourceASGs), itself),
		Destinations: each(slices.Concat(r.Destinations, r.DestinationASGs), itself),
		Ports:        each(r.DestinationPorts, itself),
	}
}

func encodeVerdict(v access.VerdictChange) api.VerdictChange {
	return api.VerdictChange{
		Interface: v.Interface.String(), Address: v.Address.String(), Ports: encodePorts(v.Ports), From: v.From,
		Before: encodeExposure(v.Before), After: encodeExposure(v.After),
	}
}

func encodeExposure(e nsg.Exposure) api.Exposure {
	out := api.Exposure{Reach: string(e.Reach), By: each(e.By, encodeDecider), Depends: each(e.Depends, encodeDecider)}
	if e.Reach == nsg.Partly {
		out.Allowed = each(e.Allowed[:min(len(e.Allowed), maxAllowed)], netip.Prefix.String)
	}
	return out
}

func encodeDecider(d nsg.Decider) api.Decider {
	return api.Decider{NSG: d.Group, Rule: d.Rule.Name, Priority: d.Rule.Priority, Access: string(d.Rule.Access)}
}

func encodeWarning(w access.Warning) api.Finding {
	return api.Finding{Code: string(w.Code), NSG: w.NSG.String(), Rule: w.Rule, Text: w.Sentence}
}

func encodeExplanation(e access.Explanation) api.Explanation {
	return api.Explanation{
		VM: e.VM.String(), Source: e.Source.String(), Port: int(e.Port), Protocol: access.ProtocolText(e.Protocol),
		Verdict: string(e.Verdict), Ways: each(e.Ways, encodeWay), Remedy: e.Remedy, Policy: e.Policy,
		Grants: each(e.Grants, func(g access.LiveGrant) api.LiveGrant {
			return api.LiveGrant{Request: g.Request, Rule: g.Rule, NSG: g.NSG.String(), ExpiresAt: g.ExpiresAt}
		}),
		Blind: each(e.Blind, func(s string) string { return s }),
	}
}

func encodeWay(w access.Way) api.Way {
	return api.Way{
		Interface: w.Interface.String(), Address: w.Address.String(), Verdict: string(w.Verdict),
		NSGs: each(w.NSGs, func(n access.NSGExplanation) api.NSGExplanation {
			return api.NSGExplanation{NSG: n.NSG.String(), Verdict: string(n.Verdict), Steps: each(n.Steps, encodeStep)}
		}),
	}
}

func encodeStep(s nsg.Step) api.RuleStep {
	return api.RuleStep{Rule: s.Rule.Name, Priority: s.Rule.Priority, Access: string(s.Rule.Access), Matches: s.Matches.String(), Why: s.Why}
}

func encodeReport(r access.Report) api.Report {
	out := api.Report{CheckedAt: r.CheckedAt, Machines: each(r.Machines, encodeMachine)}
	count := func(n *int, counts bool) {
		if counts {
			*n++
		}
	}
	for _, m := range r.Machines {
		out.Summary.Machines++
		count(&out.Summary.Closed, m.Closed)
		count(&out.Summary.Open, !m.Closed)
		count(&out.Summary.Protected, m.Protected)
	}
	return out
}

func encodeMachine(m access.MachineReport) api.MachineReport {
	return api.MachineReport{
		VM: m.VM.String(), Closed: m.Closed, Protected: m.Protected, State: string(m.Protection), Findings: each(m.Findings, encodeWarning),
		Ports: each(m.Ports, func(p access.PortReport) api.PortReport {
			return api.PortReport{
				Interface: p.Interface.String(), Address: p.Address.String(), Ports: encodePorts(p.Ports),
				Internet: encodeExposure(p.Internet), Network: encodeExposure(p.Network), Protected: p.Protected,
			}
		}),
	}
}
