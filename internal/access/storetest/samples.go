package storetest

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"jitgate/internal/access"
	"jitgate/internal/armid"
	"jitgate/internal/audit"
	"jitgate/internal/nsg"
	"jitgate/internal/policy"
)

const subscription = "/subscriptions/11111111-2222-3333-4444-555555555555"

var (
	noon  = time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.UTC)
	alice = access.Person{Tenant: "99999999-0000-0000-0000-000000000001", Object: "aaaaaaaa-0000-0000-0000-000000000001", Name: "alice@example.com"}
	bob   = access.Person{Tenant: alice.Tenant, Object: "bbbbbbbb-0000-0000-0000-000000000002", Name: "bob@example.com"}
)

func vm(n int) armid.ID {
	return armid.MustParse(fmt.Sprintf("%s/resourceGroups/Rg-One/providers/Microsoft.Compute/virtualMachines/vm-%d", subscription, n))
}

func group(n int) armid.ID {
	return armid.MustParse(fmt.Sprintf("%s/resourceGroups/Rg-Net/providers/Microsoft.Network/networkSecurityGroups/nsg-%d", subscription, n))
}

func id(n int) string { return fmt.Sprintf("00000000-0000-7000-8000-%012d", n) }

// request n was made n minutes after noon by alice for VM n.
func request(n int) access.Request {
	return access.Request{
		ID: id(n), Requester: alice, Source: netip.MustParsePrefix("203.0.113.7/32"), Duration: time.Hour,
		Justification: "ticket 4711", CreatedAt: noon.Add(time.Duration(n) * time.Minute), Fingerprint: "f00d",
		Targets: []access.Target{{
			VM: vm(n), State: access.Pending,
			Ports: []policy.Port{{Number: 22, Protocol: policy.TCP}},
		}},
		Events: 1,
	}
}

func created(r access.Request) []audit.Event {
	return []audit.Event{{Sequence: 1, At: r.CreatedAt, Kind: audit.RequestCreated, Actor: r.Requester.Object, Name: r.Requester.Name, Text: "Asked."}}
}

func note(text string) []audit.Event {
	return []audit.Event{{At: noon, Kind: audit.RequestApproved, Actor: audit.System, Name: audit.System, Text: text}}
}

// largest is as big as a request may become.
func largest() access.Request {
	r := request(1)
	r.Justification = strings.Repeat("é𝄞\n\"", access.MaxJustification/4)
	r.Targets = nil
	name := strings.Repeat("n", 70)
	for i := range access.MaxTargets {
		t := access.Target{
			VM:    armid.MustParse(fmt.Sprintf("%s/resourceGroups/%s/providers/Microsoft.Compute/virtualMachines/%s%02d", subscription, strings.Repeat("g", 90), name, i)),
			State: access.Closing, Ending: access.Revoked, Policy: vm(i).String() + " version 12",
			Reason:    access.Reason{Code: access.NSGFull, Sentence: strings.Repeat("Reason enough. ", 20)},
			ExpiresAt: noon.Add(time.Hour), OpenedAt: noon.Add(time.Minute), EndedAt: noon.Add(2 * time.Hour),
		}
		for p := range access.MaxPorts {
			t.Ports = append(t.Ports, policy.Port{Number: uint16(60000 + p), Protocol: policy.TCP})
		}
		for n := range 2 {
			o := access.Opening{
				NSG:       armid.MustParse(fmt.Sprintf("%s/resourceGroups/%s/providers/Microsoft.Network/networkSecurityGroups/%s%d", subscription, strings.Repeat("g", 90), name, n)),
				Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.4"), netip.MustParseAddr("fd00::1234:5678:9abc:def0")},
				Open:      n == 0, Closed: n == 1,
			}
			rule := access.PlannedRule{Name: nsg.AllowName(r.ID, i), Protocol: nsg.TCP}
			for _, p := range t.Ports {
				rule.Ports = append(rule.Ports, p.Number)
			}
			o.Rules = append(o.Rules, rule)
			t.Openings = append(t.Openings, o)
		}
		r.Targets = append(r.Targets, t)
	}
	return r
}

// grant is target n of request r.
func grant(r, n int) access.Grant {
	return access.Grant{
		Request: id(r), Target: n, Rule: nsg.AllowName(id(r), 0), Requester: alice.Name,
		Source: netip.MustParsePrefix("203.0.113.0/28"), Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.4")},
		Protocol: nsg.TCP, Ports: []uint16{22, 3389}, ExpiresAt: noon.Add(time.Hour),
	}
}

func document(scope armid.ID, port int) policy.Document {
	d, err := policy.Parse([]byte(fmt.Sprintf(`# kept as written
apiVersion: jitgate/v1
scope: %s
ports:
  - {port: %d, protocol: TCP}
sources:
  - range: 203.0.113.0/24
    widest: 32
maxDuration: PT1H
`, scope, port)))
	if err != nil {
		panic(err)
	}
	return d
}
