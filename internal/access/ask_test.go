package access_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"jitgate/internal/access"
)

const (
	subscription = "/subscriptions/00000000-0000-0000-0000-000000000001"
	web01        = subscription + "/resourceGroups/rg-demo/providers/Microsoft.Compute/virtualMachines/web01"
)

var defaults = access.Limits{Shortest: 5 * time.Minute, Longest: 24 * time.Hour}

func goodForm() access.Form {
	return access.Form{
		Targets:       []access.FormTarget{{VM: web01, Ports: []access.FormPort{{22, "TCP"}}}},
		Source:        "203.0.113.7",
		Duration:      "PT1H",
		Justification: "INC-1042 disk full",
	}
}

func TestGoodForms(t *testing.T) {
	ask, err := defaults.Read(goodForm(), netip.Addr{})
	if err != nil {
		t.Fatal(err)
	}
	if ask.Source != netip.MustParsePrefix("203.0.113.7/32") || ask.Duration != time.Hour || len(ask.Targets) != 1 {
		t.Errorf("read as %+v", ask)
	}
	f := goodForm()
	f.Source = ""
	ask, err = defaults.Read(f, netip.MustParseAddr("::ffff:198.51.100.9"))
	if err != nil || ask.Source != netip.MustParsePrefix("198.51.100.9/32") {
		t.Errorf("source left out: %v, %v", ask.Source, err)
	}
}

// TestBadForms is the table of what a form is refused for: one line per code.
func TestBadForms(t *testing.T) {
	manyTargets := make([]access.FormTarget, 21)
	manyPorts := make([]access.FormPort, 21)
	for _, c := range []struct {
		name  string
		spoil func(*access.Form)
		code  access.Code
		field string
	}{
		{"no targets", func(f *access.Form) { f.Targets = nil }, access.TargetsEmpty, "targets"},
		{"21 targets", func(f *access.Form) { f.Targets = manyTargets }, access.TargetsTooMany, "targets"},
		{"a name for an id", func(f *access.Form) { f.Targets[0].VM = "web01" }, access.VMIDInvalid, "targets[0].vm"},
		{"an NSG for a VM", func(f *access.Form) {
			f.Targets[0].VM = subscription + "/resourceGroups/r/providers/Microsoft.Network/networkSecurityGroups/n"
		}, access.VMIDInvalid, "targets[0].vm"},
		{"same VM twice", func(f *access.Form) {
			f.Targets = append(f.Targets, access.FormTarget{VM: strings.ToUpper(web01), Ports: f.Targets[0].Ports})
		}, access.TargetDuplicate, "targets[1].vm"},
		{"no ports", func(f *access.Form) { f.Targets[0].Ports = nil }, access.PortsEmpty, "targets[0].ports"},
		{"21 ports", func(f *access.Form) { f.Targets[0].Ports = manyPorts }, access.PortsTooMany, "targets[0].ports"},
		{"port 0", func(f *access.Form) { f.Targets[0].Ports[0].Port = 0 }, access.PortInvalid, "targets[0].ports[0].port"},
		{"port 65536", func(f *access.Form) { f.Targets[0].Ports[0].Port = 65536 }, access.PortInvalid, "targets[0].ports[0].port"},
		{"negative port", func(f *access.Form) { f.Targets[0].Ports[0].Port = -22 }, access.PortInvalid, "targets[0].ports[0].port"},
		{"ICMP", func(f *access.Form) { f.Targets[0].Ports[0].Protocol = "ICMP" }, access.ProtocolUnknown, "targets[0].ports[0].protocol"},
		{"no protocol", func(f *access.Form) { f.Targets[0].Ports[0].Protocol = "" }, access.ProtocolUnknown, "targets[0].ports[0].protocol"},
		{"port twice", func(f *access.Form) { f.Targets[0].Ports = append(f.Targets[0].Ports, access.FormPort{22, "tcp"}) }, access.PortDuplicate, "targets[0].ports[1]"},
		{"a name as source", func(f *access.Form) { f.Source = "example.org" }, access.SourceInvalid, "source"},
		{"half an address", func(f *access.Form) { f.Source = "203.0.113" }, access.SourceInvalid, "source"},
		{"host bits", func(f *access.Form) { f.Source = "203.0.113.7/24" }, access.SourceHostBits, "source"},
		{"star", func(f *access.Form) { f.Source = "*" }, access.SourceAny, "source"},
		{"Internet", func(f *access.Form) { f.Source = "Internet" }, access.SourceAny, "source"},
		{"0.0.0.0/0", func(f *access.Form) { f.Source = "0.0.0.0/0" }, access.SourceAny, "source"},
		{"::/0", func(f *access.Form) { f.Source = "::/0" }, access.SourceAny, "source"},
		{"source left out and not seen", func(f *access.Form) { f.Source = "" }, access.SourceUnknown, "source"},
		{"an hour in words", func(f *access.Form) { f.Duration = "1 hour" }, access.DurationInvalid, "duration"},
		{"Go's hour", func(f *access.Form) { f.Duration = "1h" }, access.DurationInvalid, "duration"},
		{"a month", func(f *access.Form) { f.Duration = "P1M" }, access.DurationInvalid, "duration"},
		{"negative", func(f *access.Form) { f.Duration = "-PT1H" }, access.DurationInvalid, "duration"},
		{"4 minutes 59", func(f *access.Form) { f.Duration = "PT4M59S" }, access.DurationTooShort, "duration"},
		{"a day and a second", func(f *access.Form) { f.Duration = "PT24H1S" }, access.DurationTooLong, "duration"},
		{"a novel", func(f *access.Form) { f.Justification = strings.Repeat("x", 1001) }, access.JustificationInvalid, "justification"},
		{"an escape sequence", func(f *access.Form) { f.Justification = "\x1b[2J" }, access.JustificationInvalid, "justification"},
	} {
		t.Run(c.name, func(t *testing.T) {
			form := goodForm()
			c.spoil(&form)
			_, err := defaults.Read(form, netip.Addr{})
			var refusals access.Refusals
			if !errors.As(err, &refusals) {
				t.Fatalf("got %v", err)
			}
			if refusals[0].Code != c.code || refusals[0].Field != c.field {
				t.Errorf("got %s at %s, want %s at %s", refusals[0].Code, refusals[0].Field, c.code, c.field)
			}
			if !strings.HasSuffix(refusals[0].Sentence, ".") {
				t.Errorf("not a sentence: %q", refusals[0].Sentence)
			}
		})
	}
}

// TestWordsThatMislead: what approvers read must be what was written.
func TestWordsThatMislead(t *testing.T) {
	for _, r := range "\u061c\u200b\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff" {
		form := goodForm()
		form.Justification = "restart" + string(r) + "web01"
		_, err := defaults.Read(form, netip.Addr{})
		wantCode(t, err, access.JustificationInvalid)
		if want := fmt.Sprintf("%U", r); err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s is not named in %q", want, err)
		}
	}
	form := goodForm()
	form.Justification = "INC-1:\n\tнарушение, שבר, \U0001f469\u200d\U0001f4bb, می\u200cخواهم" // joiners are part of writing
	if _, err := defaults.Read(form, netip.Addr{}); err != nil {
		t.Error(err)
	}
}

func TestAllFaultsAreReportedTogether(t *testing.T) {
	_, err := defaults.Read(access.Form{Source: "x", Duration: "y"}, netip.Addr{})
	var refusals access.Refusals
	if !errors.As(err, &refusals) || len(refusals) != 3 {
		t.Errorf("got %v, want faults of source, duration and targets", refusals)
	}
}

func TestFingerprintTellsBodiesApart(t *testing.T) {
	caller := netip.MustParseAddr("203.0.113.7")
	first, _ := defaults.Read(goodForm(), caller)
	again, _ := defaults.Read(goodForm(), netip.MustParseAddr("203.0.113.8"))
	if first.Fingerprint != again.Fingerprint {
		t.Error("the same form has two fingerprints")
	}
	for name, change := range map[string]func(*access.Form){
		"port":          func(f *access.Form) { f.Targets[0].Ports[0].Port = 23 },
		"source":        func(f *access.Form) { f.Source = "" },
		"justification": func(f *access.Form) { f.Justification = "other" },
	} {
		f := goodForm()
		change(&f)
		other, err := defaults.Read(f, caller)
		if err != nil || other.Fingerprint == first.Fingerprint {
			t.Errorf("%s changed, fingerprint did not (%v)", name, err)
		}
	}
}

// FuzzForm: whatever a body holds, it is refused with codes and sentences or read
// into something within all bounds.
func FuzzForm(f *testing.F) {
	good, _ := json.Marshal(goodForm())
	f.Add(good)
	f.Add([]byte(`{"Source":"::ffff:1.2.3.4/128","Duration":"P1DT1S"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		var form access.Form
		if json.Unmarshal(body, &form) != nil {
			return
		}
		ask, err := defaults.Read(form, netip.Addr{})
		var refusals access.Refusals
		if err != nil {
			if !errors.As(err, &refusals) || len(refusals) == 0 || refusals[0].Code == "" {
				t.Fatalf("refused without a code: %v", err)
			}
			return
		}
		if !ask.Source.IsValid() || ask.Source.Bits() == 0 || ask.Source != ask.Source.Masked() || ask.Source.Addr().Is4In6() ||
			ask.Duration < defaults.Shortest || ask.Duration > defaults.Longest || len(ask.Targets) == 0 || len(ask.Targets) > access.MaxTargets {
			t.Fatalf("accepted %+v", ask)
		}
	})
}

func FuzzNudge(f *testing.F) {
	f.Add([]byte(`{"request":"0192f0c1-2222-7333-8444-555566667777"}`))
	f.Add([]byte(`{"nsg":"` + subscription + `/resourceGroups/r/providers/Microsoft.Network/networkSecurityGroups/n"}`))
	f.Add([]byte(`{"request":"a","state":"Active"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		n, err := access.ParseNudge(body)
		if err == nil && (n.Request == "") == n.NSG.IsZero() {
			t.Fatalf("%q read as %+v", body, n)
		}
	})
}
