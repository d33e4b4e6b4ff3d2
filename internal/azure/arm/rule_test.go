package arm

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/network/armnetwork/v9"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"jitgate/internal/nsg"
)

func TestWriteRule(t *testing.T) {
	for name, test := range map[string]struct {
		rule nsg.Rule
		want string
	}{
		"one of each": {
			nsg.Rule{Name: "r", Description: "d", Direction: nsg.Inbound, Access: nsg.Allow, Protocol: nsg.TCP, Priority: 100,
				Sources: []string{"203.0.113.7"}, SourcePorts: []string{"*"}, Destinations: []string{"10.0.0.4"}, DestinationPorts: []string{"22"}},
			`{"name":"r","properties":{"access":"Allow","description":"d","destinationAddressPrefix":"10.0.0.4","destinationPortRange":"22","direction":"Inbound","priority":100,"protocol":"Tcp","sourceAddressPrefix":"203.0.113.7","sourcePortRange":"*"}}`,
		},
		"several of each": {
			nsg.Rule{Name: "r", Direction: nsg.Outbound, Access: nsg.Deny, Protocol: nsg.AnyProtocol, Priority: 4096,
				Sources: []string{"1.0.0.0/8", "2.0.0.0/8"}, SourcePorts: []string{"1", "2-3"}, Destinations: []string{"10.0.0.4", "10.0.0.5"}, DestinationPorts: []string{"22", "80-90"}},
			`{"name":"r","properties":{"access":"Deny","destinationAddressPrefixes":["10.0.0.4","10.0.0.5"],"destinationPortRanges":["22","80-90"],"direction":"Outbound","priority":4096,"protocol":"*","sourceAddressPrefixes":["1.0.0.0/8","2.0.0.0/8"],"sourcePortRanges":["1","2-3"]}}`,
		},
		"security groups instead of addresses": {
			nsg.Rule{Name: "r", Direction: nsg.Inbound, Access: nsg.Allow, Protocol: nsg.UDP, Priority: 101,
				SourceASGs: []string{"/a"}, SourcePorts: []string{"*"}, DestinationASGs: []string{"/b", "/c"}, DestinationPorts: []string{"53"}},
			`{"name":"r","properties":{"access":"Allow","destinationApplicationSecurityGroups":[{"id":"/b"},{"id":"/c"}],"destinationPortRange":"53","direction":"Inbound","priority":101,"protocol":"Udp","sourceApplicationSecurityGroups":[{"id":"/a"}],"sourcePortRange":"*"}}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := json.Marshal(writeRule(test.rule))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, string(got)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestReadRule(t *testing.T) {
	const own = "jitgate-0198c0de-0000-7000-8000-000000000001-0"
	for name, test := range map[string]struct {
		text string
		want nsg.Rule
	}{
		"unused plurals are empty lists": {
			`{"name":"r","properties":{"access":"Allow","direction":"Inbound","priority":100,"protocol":"TCP","provisioningState":"Succeeded",
			  "sourceAddressPrefix":"*","sourceAddressPrefixes":[],"sourcePortRange":"*","sourcePortRanges":[],
			  "destinationAddressPrefix":"10.0.0.4","destinationAddressPrefixes":[],"destinationPortRange":"","destinationPortRanges":["22","3389"]}}`,
			nsg.Rule{Name: "r", Access: nsg.Allow, Direction: nsg.Inbound, Priority: 100, Protocol: nsg.TCP, Sources: []string{"*"}, SourcePorts: []string{"*"},
				Destinations: []string{"10.0.0.4"}, DestinationPorts: []string{"22", "3389"}},
		},
		"both forms are merged": {
			`{"name":"r","properties":{"access":"deny","direction":"OUTBOUND","priority":100,"protocol":"*","sourceAddressPrefix":"1.1.1.1","sourceAddressPrefixes":["2.2.2.2"],
			  "destinationApplicationSecurityGroups":[{"id":"/a"},{}]}}`,
			nsg.Rule{Name: "r", Access: nsg.Deny, Direction: nsg.Outbound, Priority: 100, Protocol: nsg.AnyProtocol, Sources: []string{"1.1.1.1", "2.2.2.2"}, DestinationASGs: []string{"/a"}},
		},
		"an unknown protocol passes": {`{"name":"r","properties":{"protocol":"Sctp"}}`, nsg.Rule{Name: "r", Protocol: "Sctp"}},
		"nothing but a name":         {`{"name":"r"}`, nsg.Rule{Name: "r"}},
		"ours, failed":               {`{"name":"` + own + `","properties":{"protocol":"Tcp","priority":100,"provisioningState":"Failed"}}`, nsg.Rule{Name: own, Priority: 100, Protocol: notInForce}},
		"ours, cancelled":            {`{"name":"` + own + `","properties":{"protocol":"Tcp","provisioningState":"canceled"}}`, nsg.Rule{Name: own, Protocol: notInForce}},
		"another's, failed":          {`{"name":"r","properties":{"protocol":"Tcp","provisioningState":"Failed"}}`, nsg.Rule{Name: "r", Protocol: nsg.TCP}},
	} {
		t.Run(name, func(t *testing.T) {
			var r armnetwork.SecurityRule
			if err := json.Unmarshal([]byte(test.text), &r); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, readRule(&r)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestNotInForceDiffers ties the mark to what it is for.
func TestNotInForceDiffers(t *testing.T) {
	r := nsg.Rule{Name: "jitgate-0198c0de-0000-7000-8000-000000000001-0", Protocol: nsg.TCP}
	failed := r
	failed.Protocol = notInForce
	for _, p := range append(armnetwork.PossibleSecurityRuleProtocolValues(), "") {
		if r.Protocol = nsg.Protocol(p); r.SameMeaning(failed) {
			t.Errorf("a failed rule means the same as one for %q", p)
		}
	}
}

func TestRulesSurviveTheRoundTrip(t *testing.T) {
	list := func(values ...string) *rapid.Generator[[]string] {
		return rapid.SliceOfNDistinct(rapid.SampledFrom(values), 0, 3, rapid.ID[string])
	}
	rapid.Check(t, func(t *rapid.T) {
		r := nsg.Rule{
			Name: rapid.StringMatching(`[a-z]{1,20}`).Draw(t, "name"), Description: rapid.String().Draw(t, "description"),
			Direction: rapid.SampledFrom([]nsg.Direction{nsg.Inbound, nsg.Outbound}).Draw(t, "direction"),
			Access:    rapid.SampledFrom([]nsg.Access{nsg.Allow, nsg.Deny}).Draw(t, "access"),
			Protocol:  rapid.SampledFrom([]nsg.Protocol{nsg.TCP, nsg.UDP, nsg.ICMP, nsg.ESP, nsg.AH, nsg.AnyProtocol}).Draw(t, "protocol"),
			Priority:  rapid.IntRange(100, 4096).Draw(t, "priority"),
			Sources:   list("1.1.1.1", "10.0.0.0/8", "Internet").Draw(t, "sources"), SourcePorts: list("*", "1-2").Draw(t, "source ports"),
			Destinations: list("10.0.0.4", "fd00::/64").Draw(t, "destinations"), DestinationPorts: list("22", "80-90").Draw(t, "ports"),
			SourceASGs: list("/a").Draw(t, "groups"), DestinationASGs: list("/b", "/c").Draw(t, "groups"),
		}
		text, err := json.Marshal(writeRule(r))
		if err != nil {
			t.Fatal(err)
		}
		var back armnetwork.SecurityRule
		if err := json.Unmarshal(text, &back); err != nil {
			t.Fatal(err)
		}
		if got := readRule(&back); !got.SameMeaning(r) || got.Priority != r.Priority || !strings.HasPrefix(got.Name, r.Name) {
			t.Fatalf("%+v came back as %+v", r, got)
		}
	})
}

func TestPick(t *testing.T) {
	one, two := to.Ptr("one"), to.Ptr("two")
	isTwo := func(s *string) bool { return *s == "two" }
	for want, items := range map[*string][]*string{
		nil: {}, one: {one}, two: {one, two},
	} {
		before := slices.Clone(items)
		if got := pick(items, isTwo); got != want {
			t.Errorf("picked %v", got)
		}
		if !slices.Equal(before, items) {
			t.Error("the list was changed")
		}
	}
	if got := pick([]*string{nil, one, nil}, isTwo); got != one {
		t.Error("a sole item among nothing")
	}
	if got := pick([]*string{one, one}, isTwo); got != nil {
		t.Error("none is primary")
	}
}
