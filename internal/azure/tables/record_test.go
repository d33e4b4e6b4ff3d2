package tables

import (
	"encoding/json"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"jitgate/internal/access"
	"jitgate/internal/audit"
	"jitgate/internal/nsg"
)

// What is in customers' tables today must be readable tomorrow. If this test fails,
// the stored form has changed: readers must go on accepting the old one.
func TestStoredForm(t *testing.T) {
	r := sample(1)
	r.Justification, r.Events = "ticket", 2
	target := &r.Targets[0]
	target.State, target.Ending, target.Policy = access.Closing, access.Expired, "scope version 3"
	target.Reason = access.Reason{Code: access.NSGFull, Sentence: "Full."}
	target.ExpiresAt, target.OpenedAt, target.EndedAt = noon.Add(time.Hour), noon, noon.Add(1)
	target.Openings = []access.Opening{{NSG: nsgID, Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.4")}, Open: true, Closed: true,
		Rules: []access.PlannedRule{{Name: "rule", Protocol: nsg.TCP, Ports: []uint16{22}}}}}
	c, err := requestColumns(&r)
	if err != nil {
		t.Fatal(err)
	}
	wantColumns(t, c, `{"CreatedAt":"2026-03-01T12:01:00Z","Requester":"alice@example.com","State":"Closing","Body":
		{"id":"00000000-0000-7000-8000-000000000001","requester":{"tenant":"t-1","object":"o-1","name":"alice@example.com"},
		"source":"203.0.113.7/32","durationNanoseconds":3600000000000,"justification":"ticket","createdAt":"2026-03-01T12:01:00Z","fingerprint":"f00d",
		"targets":[{"vm":"`+vmID.String()+`","ports":[{"port":22,"protocol":"TCP"}],"state":"Closing","ending":"Expired",
			"reasonCode":"nsg_full","reasonSentence":"Full.","policy":"scope version 3",
			"expiresAt":"2026-03-01T13:00:00Z","openedAt":"2026-03-01T12:00:00Z","endedAt":"2026-03-01T12:00:00.000000001Z",
			"openings":[{"nsg":"`+nsgID.String()+`","addresses":["10.0.0.4"],"rules":[{"name":"rule","protocol":"Tcp","ports":[22]}],"open":true,"closed":true}]}],
		"events":2}}`)

	c, err = eventColumns(audit.Event{Sequence: 2, At: noon, Kind: audit.RuleCreated, Actor: "o", Name: "n", VM: "v", NSG: "g", Rule: "r", Policy: "p", Text: "t"})
	if err != nil {
		t.Fatal(err)
	}
	wantColumns(t, c, `{"At":"2026-03-01T12:00:00Z","Kind":"rule.created","Body":
		{"sequence":2,"at":"2026-03-01T12:00:00Z","kind":"rule.created","actor":"o","name":"n","vm":"v","nsg":"g","rule":"r","policy":"p","text":"t"}}`)

	g := sampleGrant(1)
	g.WakeUp, g.Opened, g.Closing = 7, true, true
	if c, err = grantColumns(g); err != nil {
		t.Fatal(err)
	}
	wantColumns(t, c, `{"Closing":true,"Opened":true,"WakeUp":"7","ExpiresAt":"2026-03-01T13:00:00Z","Request":"00000000-0000-7000-8000-000000000001","Body":
		{"request":"00000000-0000-7000-8000-000000000001","target":1,"rule":"jitgate-00000000-0000-7000-8000-000000000001-0","requester":"alice@example.com",
		"source":"203.0.113.7/32","addresses":["10.0.0.4"],"protocol":"Tcp","ports":[22],"expiresAt":"2026-03-01T13:00:00Z"}}`)

	wantColumns(t, headColumns(access.Head{NSG: nsgID, Generation: 3, Enforced: 2, NextDue: noon}),
		`{"NSG":"`+nsgID.String()+`","Generation":"3","Enforced":"2","NextDue":"2026-03-01T12:00:00Z","ChangedAt":""}`)
}

func wantColumns(t *testing.T, c columns, want string) {
	t.Helper()
	got := map[string]any{}
	for k, v := range c {
		got[k] = v
	}
	if text := c.text("Body"); text != "" {
		got["Body"] = json.RawMessage(text)
	}
	data, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	var a, b any
	if err := json.Unmarshal([]byte(want), &a); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &b); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(a, b); d != "" {
		t.Errorf("stored form (-want +got):\n%s", d)
	}
}

// A field added to the domain and forgotten here would be lost without a sound.
// Every field is filled, so that one that is not stored comes back empty.
func TestNothingIsLost(t *testing.T) {
	var r access.Request
	fill(t, reflect.ValueOf(&r).Elem())
	c, err := requestColumns(&r)
	if err != nil {
		t.Fatal(err)
	}
	back, err := readRequest(c)
	wantSame(t, r, back, err)

	var e audit.Event
	fill(t, reflect.ValueOf(&e).Elem())
	if c, err = eventColumns(e); err != nil {
		t.Fatal(err)
	}
	event, err := readEvent(c)
	wantSame(t, e, event, err)

	var g access.Grant
	fill(t, reflect.ValueOf(&g).Elem())
	if c, err = grantColumns(g); err != nil {
		t.Fatal(err)
	}
	grant, err := readGrant(c)
	wantSame(t, g, grant, err)

	var h access.Head
	fill(t, reflect.ValueOf(&h).Elem())
	head, err := readHead(headColumns(h))
	wantSame(t, h, head, err)
}

func wantSame[T any](t *testing.T, want, got T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Prefix{}, netip.Addr{})); d != "" {
		t.Errorf("%T (-want +got):\n%s", want, d)
	}
}

// fill sets everything in v to something that is not zero.
func fill(t *testing.T, v reflect.Value) {
	switch v.Interface().(type) {
	case time.Time:
		v.Set(reflect.ValueOf(noon.Add(123456789)))
		return
	case netip.Prefix:
		v.Set(reflect.ValueOf(netip.MustParsePrefix("2001:db8::/64")))
		return
	case netip.Addr:
		v.Set(reflect.ValueOf(netip.MustParseAddr("2001:db8::1")))
		return
	}
	switch {
	case v.Type() == reflect.TypeOf(nsgID):
		v.Set(reflect.ValueOf(nsgID))
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			fill(t, v.Field(i))
		}
	case v.Kind() == reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fill(t, v.Index(0))
		fill(t, v.Index(1))
	case v.Kind() == reflect.String:
		v.SetString("text of " + v.Type().Name())
	case v.Kind() == reflect.Bool:
		v.SetBool(true)
	case v.CanInt():
		v.SetInt(42)
	case v.CanUint():
		v.SetUint(42)
	default:
		t.Fatalf("no sample for %s", v.Type())
	}
}

func TestLongText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		piece := rapid.StringOfN(rapid.RuneFrom([]rune("aé€𝄞\"\\\n")), 1, 40, -1).Draw(t, "piece")
		text := strings.Repeat(piece, rapid.IntRange(0, 4000).Draw(t, "times"))
		c := columns{}
		if err := c.setText("Body", text); err != nil {
			t.Fatal(err)
		}
		for name, part := range c {
			if units := len(utf16.Encode([]rune(part.(string)))); units > partUnits {
				t.Fatalf("%s holds %d units", name, units)
			}
			if strings.ContainsRune(part.(string), '\uFFFD') {
				t.Fatalf("%s was cut inside a character", name)
			}
		}
		if c.text("Body") != text {
			t.Fatal("the text came back different")
		}
	})
	if err := (columns{}).setText("Body", strings.Repeat("x", maxParts*partUnits+1)); err == nil {
		t.Error("text beyond what a row holds was accepted")
	}
}
