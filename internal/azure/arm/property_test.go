package arm_test

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"jitgate/internal/access"
	local "jitgate/internal/local/arm"
	"jitgate/internal/nsg"
)

func drawForeign(t *rapid.T, label string) local.Rule {
	ports := rapid.SliceOfN(rapid.SampledFrom([]string{"22", "3389", "80-90", "443", "0-65535"}), 2, 3)
	r := local.Rule{
		Name:                     label,
		Description:              rapid.StringMatching(`[ -~éü]{0,30}`).Draw(t, label+" description"),
		Priority:                 rapid.OneOf(rapid.IntRange(100, 112), rapid.IntRange(113, 4000)).Draw(t, label+" priority"),
		Direction:                rapid.SampledFrom([]string{"Inbound", "Inbound", "Outbound"}).Draw(t, label+" direction"),
		Access:                   rapid.SampledFrom([]string{"Allow", "Deny"}).Draw(t, label+" access"),
		Protocol:                 rapid.SampledFrom([]string{"*", "Tcp", "udp", "Icmp"}).Draw(t, label+" protocol"),
		SourcePortRange:          "*",
		DestinationAddressPrefix: rapid.SampledFrom([]string{"*", "VirtualNetwork", "10.0.1.0/24"}).Draw(t, label+" destination"),
		DestinationPortRanges:    ports.Draw(t, label+" ports"),
	}
	switch rapid.IntRange(0, 2).Draw(t, label+" source") {
	case 0:
		r.SourceAddressPrefix = "Internet"
	case 1:
		r.SourceAddressPrefixes = []string{"192.0.2.0/24", "198.51.100.7"}
	case 2:
		r.SourceApplicationSecurityGroups = []string{"asg-web"}
	}
	return r
}

func drawWants(t *rapid.T) []nsg.Want {
	var out []nsg.Want
	for _, n := range rapid.SliceOfNDistinct(rapid.IntRange(0, 9), 0, 10, rapid.ID[int]).Draw(t, "wants") {
		w := want(n)
		w.Source = rapid.SampledFrom([]netip.Prefix{netip.MustParsePrefix("203.0.113.9/32"), netip.MustParsePrefix("198.51.100.0/24")}).Draw(t, "source")
		w.Ports = rapid.SliceOfNDistinct(rapid.SampledFrom([]uint16{22, 3389, 5985}), 1, 3, rapid.ID[uint16]).Draw(t, "ports")
		w.Protocol = rapid.SampledFrom([]nsg.Protocol{nsg.TCP, nsg.UDP, nsg.AnyProtocol}).Draw(t, "protocol")
		w.Destinations = rapid.SliceOfNDistinct(rapid.SampledFrom([]netip.Addr{netip.MustParseAddr("10.0.1.4"), netip.MustParseAddr("10.0.1.5")}), 1, 2, rapid.ID[netip.Addr]).Draw(t, "destinations")
		out = append(out, w)
	}
	return out
}

// trouble spoils a fixed list of calls, whatever they are, and then stops.
type trouble struct {
	*estate
	mu      sync.Mutex
	plan    []string
	intrude []local.Rule
	foreign map[string]string // what others left behind
}

func (x *trouble) before(op local.Op) *local.Fault {
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.plan) == 0 || op.Kind == "operation.get" || op.Kind == "rule.get" {
		return nil
	}
	next := x.plan[0]
	x.plan = x.plan[1:]
	write := strings.HasSuffix(op.Kind, ".put") || strings.HasSuffix(op.Kind, ".delete")
	switch {
	case next == "409":
		return &local.Fault{Status: 409, Code: "AnotherOperationInProgress"}
	case next == "412":
		return &local.Fault{Status: 412, Code: "PreconditionFailed"}
	case next == "429":
		return &local.Fault{Status: 429, Code: "RetryableError"}
	case next == "500":
		return &local.Fault{}
	case next == "403" && op.Kind == "nsg.put":
		return &local.Fault{Status: 403, Code: "AuthorizationFailed"}
	case next == "drop":
		return &local.Fault{Drop: true}
	case next == "superseded" && write:
		x.SupersedeNext(op.Kind, 1)
	case next == "failed" && write:
		x.FailOperationNext(op.Kind, 1, "InternalServerError", "")
	case next == "intruder" && len(x.intrude) > 0:
		r := x.intrude[0]
		x.intrude = x.intrude[1:]
		if x.PutRule(nsgID, r) == nil { // else its priority is taken
			text, err := x.RuleJSON(nsgID, r.Name)
			if err == nil {
				x.foreign[r.Name] = string(text)
			}
		}
	case next == "removal" && len(x.foreign) > 0:
		name := slices.Sorted(maps.Keys(x.foreign))[0]
		if x.DeleteRule(nsgID, name) == nil {
			delete(x.foreign, name)
		}
	}
	return nil
}

func (x *trouble) spent() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return len(x.plan) == 0
}

// guests are three rules of others that a plan takes away and puts back, with a
// member that nobody knows. Nobody else takes their priorities.
func guests(t tb, e *estate) []nsg.Rule {
	t.Helper()
	for i := range 3 {
		text := fmt.Sprintf(`{"access":"Allow","direction":"Inbound","priority":%d,"protocol":"Tcp","sourceAddressPrefix":"*","sourcePortRange":"*",
			"destinationAddressPrefix":"*","destinationPortRange":"%d","unknown":{"n":1.%d0}}`, 4090+i, 7000+i, i)
		if err := e.PutRuleJSON(nsgID, fmt.Sprintf("guest-%d", i), []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	g, err := e.Group(e.ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	return []nsg.Rule{rule(t, g, "guest-0"), rule(t, g, "guest-1"), rule(t, g, "guest-2")}
}

func isGuest(name string) bool { return strings.HasPrefix(name, "guest-") }

// TestAlwaysEndsAtTheWants: whatever the foreign rules, the wants and the faults
// on the way, once the faults stop the NSG holds exactly the wants, the guests that
// were put back as they had been, FlushConnection as asked for, and of the rest
// exactly what its owners left there.
func TestAlwaysEndsAtTheWants(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var foreign []local.Rule
		taken := map[string]bool{}
		for i := range rapid.IntRange(0, 8).Draw(t, "foreign rules") {
			r := drawForeign(t, fmt.Sprintf("theirs-%d", i))
			if slot := fmt.Sprint(r.Direction, r.Priority); !taken[slot] {
				taken[slot] = true
				foreign = append(foreign, r)
			}
		}
		e := start(t, local.Options{Topology: topology(foreign...), SupersededSurvives: rapid.Bool().Draw(t, "superseded survives")})
		x := &trouble{estate: e, foreign: e.foreign(t)}
		rules := guests(t, e)
		texts := e.foreign(t)
		maps.DeleteFunc(texts, func(name, _ string) bool { return !isGuest(name) })
		for i := range rapid.IntRange(0, 3).Draw(t, "intruders") {
			x.intrude = append(x.intrude, drawForeign(t, fmt.Sprintf("intruder-%d", i)))
		}
		e.SetHooks(x.before, nil)
		faults := rapid.SliceOfN(rapid.SampledFrom([]string{"", "409", "412", "429", "500", "403", "drop", "superseded", "failed", "intruder", "removal"}), 0, 12)

		for range rapid.IntRange(1, 3).Draw(t, "rounds") {
			list, extra, stay := drawWants(t), nsg.Plan{Flush: rapid.SampledFrom([]*bool{yes, no}).Draw(t, "flush")}, maps.Clone(texts)
			for _, r := range rules {
				if rapid.Bool().Draw(t, r.Name) {
					extra.Put = append(extra.Put, r)
				} else {
					extra.Delete = append(extra.Delete, r.Name)
					delete(stay, r.Name)
				}
			}
			plan := func(g nsg.Group) nsg.Plan {
				p, more := nsg.MakePlan(g, nsg.Desired{Open: list}, nsg.DefaultBands), once(extra)(g)
				p.Put, p.Delete, p.Flush = append(p.Put, more.Put...), append(p.Delete, more.Delete...), more.Flush
				return p
			}
			x.mu.Lock()
			x.plan = faults.Draw(t, "faults")
			x.mu.Unlock()
			var got access.Outcome
			for try := 0; ; try++ {
				if try == 20 {
					t.Fatal("no end in sight")
				}
				var err error
				if got, err = e.Match(e.ctx, id, plan); err != nil && !errors.Is(err, access.ErrUnavailable) {
					t.Fatal(err)
				}
				if err == nil && len(got.Refused) == 0 && x.spent() {
					break
				}
			}
			if len(got.Unplaced) > 0 {
				t.Fatal("unplaced:", got.Unplaced)
			}
			if left := plan(got.Group); !left.Empty() || got.Group.FlushConnection != *extra.Flush {
				t.Fatalf("not what was wanted: %+v, flush %v", left, got.Group.FlushConnection)
			}
			var wanted []string
			for _, w := range list {
				wanted = append(wanted, w.Name)
			}
			slices.Sort(wanted)
			if diff := cmp.Diff(wanted, e.ours()); diff != "" {
				t.Fatal(diff)
			}
			maps.Copy(stay, x.foreign)
			if diff := cmp.Diff(stay, e.foreign(t)); diff != "" {
				t.Fatal(diff)
			}
		}
	})
}
