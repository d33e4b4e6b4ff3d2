package policy

import (
	"fmt"
	"math/big"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"jitgate/internal/armid"
)

func demoAsk() Ask {
	return Ask{
		VM:       armid.MustParse(machine),
		Ports:    []Port{{22, TCP}},
		Source:   netip.MustParsePrefix("203.0.113.7/32"),
		Duration: time.Hour,
	}
}

// refusals of an ask where d is the only policy.
func refusals(d Document, a Ask) []Refusal {
	return Set{New(d, 1)}.Decide(Question{Ask: a}).Refusals
}

func TestLimits(t *testing.T) {
	const ports = "it allows 22/TCP, 3389/TCP and 53/*."
	const sources = "single addresses of 203.0.113.0/24, 2001:db8::/32 and 198.51.100.7/32."
	refusal := func(code, sentence string) Refusal { return Refusal{Code: code, Sentence: sentence} }
	notAllowed := func(port string) Refusal {
		return refusal(PortNotAllowed, "The policy for resource group rg-demo does not allow port "+port+"; "+ports)
	}
	outside := func(source string) Refusal {
		return refusal(SourceNotAllowed, "The policy for resource group rg-demo does not allow the source "+source+"; it allows "+sources)
	}
	tooWide := func(source string) Refusal {
		return refusal(SourceTooWide, "The source "+source+" is wider than the policy for resource group rg-demo allows; ask for "+sources)
	}
	source := func(text string) func(*Ask) { return func(a *Ask) { a.Source = netip.MustParsePrefix(text) } }
	ask := func(ports ...Port) func(*Ask) { return func(a *Ask) { a.Ports = ports } }
	lasting := func(d time.Duration) func(*Ask) { return func(a *Ask) { a.Duration = d } }
	for _, c := range []struct {
		what   string
		change func(*Ask)
		want   []Refusal
	}{
		{"all met", func(*Ask) {}, nil},
		{"several ports", ask(Port{22, TCP}, Port{3389, TCP}), nil},
		{"one port not listed", ask(Port{22, TCP}, Port{25, TCP}), []Refusal{notAllowed("25/TCP")}},
		{"two ports not listed, one twice", ask(Port{25, TCP}, Port{5985, TCP}, Port{25, TCP}), []Refusal{notAllowed("25/TCP"), notAllowed("5985/TCP")}},
		{"another protocol", ask(Port{22, UDP}), []Refusal{notAllowed("22/UDP")}},
		{"any protocol where one is allowed", ask(Port{22, AnyProtocol}), []Refusal{notAllowed("22/*")}},
		{"one protocol where any is allowed", ask(Port{53, UDP}, Port{53, TCP}), nil},
		{"any protocol where any is allowed", ask(Port{53, AnyProtocol}), nil},
		{"no port", ask(), []Refusal{refusal(PortNotAllowed, "The ask names no port; the policy for resource group rg-demo allows 22/TCP, 3389/TCP and 53/*.")}},

		{"source outside", source("192.0.2.1/32"), []Refusal{outside("192.0.2.1/32")}},
		{"source of the other family", source("2001:db9::1/128"), []Refusal{outside("2001:db9::1/128")}},
		{"source as one part", source("203.0.113.6/31"), []Refusal{tooWide("203.0.113.6/31")}},
		{"source as the whole range", source("203.0.113.0/24"), []Refusal{tooWide("203.0.113.0/24")}},
		{"source around the range", source("203.0.0.0/16"), []Refusal{tooWide("203.0.0.0/16")}},
		{"everybody", source("0.0.0.0/0"), []Refusal{tooWide("0.0.0.0/0")}},
		{"a range that may be named whole", source("2001:db8::/32"), nil},
		{"a part of it", source("2001:db8:1::/48"), nil},
		{"no source", func(a *Ask) { a.Source = netip.Prefix{} }, []Refusal{refusal(SourceNotAllowed, "The ask names no source; the policy for resource group rg-demo allows "+sources)}},
		{"source as mapped IPv6", source("::ffff:203.0.113.7/128"), nil},

		{"as long as allowed", lasting(3 * time.Hour), nil},
		{"longer", lasting(3*time.Hour + time.Second), []Refusal{refusal(DurationOverPolicy, "The policy for resource group rg-demo allows at most 3h (PT3H); ask for less.")}},
		{"shortest", lasting(5 * time.Minute), nil},

		{"everything wrong", func(a *Ask) {
			ask(Port{25, TCP})(a)
			source("192.0.2.1/32")(a)
			lasting(24 * time.Hour)(a)
		}, []Refusal{notAllowed("25/TCP"), outside("192.0.2.1/32"), refusal(DurationOverPolicy, "The policy for resource group rg-demo allows at most 3h (PT3H); ask for less.")}},
		{"a machine elsewhere", func(a *Ask) {
			a.VM = armid.MustParse(subscription + "/resourceGroups/rg-other/providers/Microsoft.Compute/virtualMachines/vm-9")
		}, []Refusal{refusal(NoPolicyCode, "No policy covers VM vm-9; set one on it, on its resource group or on its subscription.")}},
		{"no machine", func(a *Ask) { a.VM = armid.ID{} }, []Refusal{NoPolicy(armid.ID{})}},
	} {
		t.Run(c.what, func(t *testing.T) {
			a := demoAsk()
			c.change(&a)
			if diff := cmp.Diff(c.want, refusals(demoDocument(), a), cmpopts.EquateEmpty(), cmpopts.IgnoreFields(Refusal{}, "Policy", "Passes")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestSentencesNameTheScopeAndStayReadable(t *testing.T) {
	d := demoDocument()
	d.MaxDuration = Duration(90 * time.Minute)
	for scope, start := range map[string]string{machine: "The policy for VM vm-1 ", group: "The policy for resource group rg-demo ", subscription: "The policy for subscription 00000000-0000-0000-0000-000000000001 "} {
		d.Scope = ScopeOf(armid.MustParse(scope))
		a := demoAsk()
		a.Duration = 2 * time.Hour
		got := refusals(d, a)
		if want := start + "allows at most 1h30m (PT1H30M); ask for less."; len(got) != 1 || got[0].Sentence != want {
			t.Errorf("%v, want %q", got, want)
		}
	}
	d = demoDocument()
	d.Ports = nil
	for n := range uint16(300) {
		d.Ports = append(d.Ports, Port{1000 + n, TCP})
	}
	d.Sources = []Source{{netip.MustParsePrefix("203.0.113.0/24"), 28}}
	a := demoAsk()
	a.Source = netip.MustParsePrefix("192.0.2.0/28")
	got := refusals(d, a)
	if len(got) != 2 || !strings.HasSuffix(got[0].Sentence, "1009/TCP and 290 more.") || !strings.HasSuffix(got[1].Sentence, "it allows at most a /28 of 203.0.113.0/24.") {
		t.Errorf("%v", got)
	}
}

// TestSourceIsJudgedByArithmetic compares Check with sums over whole addresses:
// first and last of the ask between first and last of a range, and no more of
// them than a prefix of the widest length holds.
func TestSourceIsJudgedByArithmetic(t *testing.T) {
	accepted, refused := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		d := demoDocument()
		d.Sources = nil
		for range rapid.IntRange(1, 3).Draw(t, "ranges") {
			p := drawPrefix(t)
			d.Sources = append(d.Sources, Source{p, rapid.IntRange(p.Bits(), p.Addr().BitLen()).Draw(t, "widest")})
		}
		a := demoAsk()
		// Mostly near one of the ranges: the same bits, a little longer or shorter.
		near := rapid.SampledFrom(d.Sources).Draw(t, "near").Range
		bits := min(max(near.Bits()+rapid.IntRange(-2, 12).Draw(t, "longer"), 0), near.Addr().BitLen())
		a.Source = netip.PrefixFrom(near.Addr(), bits).Masked()
		if rapid.IntRange(0, 3).Draw(t, "elsewhere") == 0 {
			a.Source = drawPrefix(t)
		}
		want := false
		first, last := bounds(a.Source)
		for _, s := range d.Sources {
			from, to := bounds(s.Range)
			size := new(big.Int).Lsh(big.NewInt(1), uint(s.Range.Addr().BitLen()-s.Widest))
			asked := new(big.Int).Add(new(big.Int).Sub(last, first), big.NewInt(1))
			if s.Range.Addr().BitLen() == a.Source.Addr().BitLen() && from.Cmp(first) <= 0 && last.Cmp(to) <= 0 && asked.Cmp(size) <= 0 {
				want = true
			}
		}
		got := refusals(d, a)
		if (len(got) == 0) != want {
			t.Fatalf("%s within %v: %v, want accepted %v", a.Source, d.Sources, got, want)
		}
		if want {
			accepted++
		} else {
			refused++
		}
	})
	if accepted == 0 || refused == 0 {
		t.Errorf("only one outcome was tried: %d accepted, %d refused", accepted, refused)
	}
}

func bounds(p netip.Prefix) (first, last *big.Int) {
	first = new(big.Int).SetBytes(p.Addr().AsSlice())
	size := new(big.Int).Lsh(big.NewInt(1), uint(p.Addr().BitLen()-p.Bits()))
	return first, new(big.Int).Sub(new(big.Int).Add(first, size), big.NewInt(1))
}

func TestNew(t *testing.T) {
	p := New(demoDocument(), 12)
	if p.Version != 12 || p.Hash != p.Document.Digest() || len(p.Hash) != 64 {
		t.Errorf("%d %q", p.Version, p.Hash)
	}
	if fmt.Sprint(p.Ports) != "[22/TCP 3389/TCP 53/*]" {
		t.Errorf("ports print as %v", p.Ports)
	}
}
