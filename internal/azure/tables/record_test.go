package tables

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"jitgate/internal/access"
	"jitgate/internal/armid"
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
	target.Reason, target.Warning = access.Reason{Code: access.NSGFull, Sentence: "Full."}, access.Reason{Code: access.NSGFull, Sentence: "Nearly."}
	target.Ways = []access.Interface{{ID: nicID, Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.4")}, NSGs: []armid.ID{nsgID}, Public: true,
		Network: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, ASGs: []string{"asg"}}}
	target.ExpiresAt, target.OpenedAt, target.EndedAt = noon.Add(time.Hour), noon, noon.Add(1)
	target.Openings = []access.Opening{{NSG: nsgID, Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.4")}, Open: true, Closed: true, Stuck: true,
		Rules: []access.PlannedRule{{Name: "rule", Protocol: nsg.TCP, Ports: []uint16{22}}}}}
	c, err := requestColumns(&r)
	if err != nil {
		t.Fatal(err)
	}
	wantColumns(t, c, `{"CreatedAt":"2026-03-01T12:01:00Z","Requester":"alice@example.com","State":"Closing","Body":
		{"id":"00000000-0000-7000-8000-000000000001","requester":{"tenant":"t-1","object":"o-1","name":"alice@example.com"},
		"source":"203.0.113.7/32","durationNanoseconds":3600000000000,"justification":"ticket","createdAt":"2026-03-01T12:01:00Z","fingerprint":"f00d",
		"targets":[{"vm":"`+vmID.String()+`","ports":[{"port":22,"protocol":"TCP"}],"state":"Closing","ending":"Expired",
			"reasonCode":"nsg_full","reasonSentence":"Full.","warning":{"code":"nsg_full","sentence":"Nearly."},"policy":"scope version 3",
			"expiresAt":"2026-03-01T13:00:00Z","openedAt":"2026-03-01T12:00:00Z","endedAt":"2026-03-01T12:00:00.000000001Z",
			"ways":[{"id":"`+nicID.String()+`","addresses":["10.0.0.4"],"nsgs":["`+nsgID.String()+`"],"public":true,"firewall":false,"network":["10.0.0.0/8"],"asgs":["asg"]}],
			"openings":[{"nsg":"`+nsgID.String()+`","addresses":["10.0.0.4"],"rules":[{"name":"rule","protocol":"Tcp","ports":[22]}],"open":true,"closed":true,"stuck":true}]}],
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

func TestStoredFormOfProtection(t *testing.T) {
	removed := nsg.Rule{Name: "open", Description: "d", Direction: nsg.Inbound, Access: nsg.Allow, Protocol: nsg.TCP, Priority: 300,
		Sources: []string{"*"}, SourcePorts: []string{"1"}, SourceASGs: []string{"s"},
		Destinations: []string{"10.0.0.4"}, DestinationPorts: []string{"22"}, DestinationASGs: []string{"d"}, Verbatim: []byte(`{ "a":1}`)}
	wantRule := `{"name":"open","description":"d","direction":"Inbound","access":"Allow","protocol":"Tcp","priority":300,"sources":["*"],"sourcePorts":["1"],"sourceASGs":["s"],
		"destinations":["10.0.0.4"],"destinationPorts":["22"],"destinationASGs":["d"],"verbatim":"{ \"a\":1}"}`
	ports := []nsg.PortRange{{Protocol: nsg.UDP, First: 53, Last: 54}}
	addresses := []netip.Addr{netip.MustParseAddr("10.0.0.4")}
	wantPorts, wantAddresses := `[{"protocol":"Udp","first":53,"last":54}]`, `["10.0.0.4"]`

	g := access.Guard{VM: vmID, Revision: 3, Restore: true, Ports: ports, Addresses: addresses,
		Former: []nsg.Cover{{Ports: ports, Addresses: addresses}}, Removed: []nsg.Rule{removed}, FlushSet: true, Done: true}
	c, err := guardColumns(g)
	if err != nil {
		t.Fatal(err)
	}
	wantColumns(t, c, `{"VM":"`+vmID.String()+`","Revision":"3","Done":true,"LetGo":false,"Body":
		{"vm":"`+vmID.String()+`","wanted":false,"restore":true,"ports":`+wantPorts+`,"addresses":`+wantAddresses+`,
		"former":[{"ports":`+wantPorts+`,"addresses":`+wantAddresses+`}],"removed":[`+wantRule+`],"flush":false,"flushSet":true}}`)

	p := access.Protection{VM: vmID, Wanted: true, Ports: ports, AllInterfaces: true, By: person, ChangedAt: noon, Revision: 3,
		Reason: access.Reason{Code: access.VMNotFound, Sentence: "Gone."}, Events: 2,
		Parts: []access.Part{{NSG: nsgID, Addresses: addresses, Interfaces: []string{nicID.String()}, Former: g.Former, Removed: g.Removed, SetAside: []string{"open"}, FlushSet: true, Done: true,
			Problem: access.Reason{Code: access.NSGFull, Sentence: "Full."}}}}
	if c, err = protectionColumns(&p); err != nil {
		t.Fatal(err)
	}
	wantColumns(t, c, `{"VM":"`+vmID.String()+`","State":"Blocked","ChangedAt":"2026-03-01T12:00:00Z","Body":
		{"vm":"`+vmID.String()+`","wanted":true,"ports":`+wantPorts+`,"allInterfaces":true,"flush":false,
		"by":{"tenant":"t-1","object":"o-1","name":"alice@example.com"},"changedAt":"2026-03-01T12:00:00Z","revision":3,
		"parts":[{"nsg":"`+nsgID.String()+`","addresses":`+wantAddresses+`,"interfaces":["`+nicID.String()+`"],"former":[{"ports":`+wantPorts+`,"addresses":`+wantAddresses+`}],
			"removed":[`+wantRule+`],"setAside":["open"],"flushSet":true,"done":true,"problem":{"code":"nsg_full","sentence":"Full."}}],
		"reason":{"code":"vm_not_found","sentence":"Gone."},"events":2}}`)
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

	var p access.Protection
	fill(t, reflect.ValueOf(&p).Elem())
	if c, err = protectionColumns(&p); err != nil {
		t.Fatal(err)
	}
	protection, err := readProtection(c)
	wantSame(t, p, protection, err)

	var guarded access.Guard
	fill(t, reflect.ValueOf(&guarded).Elem())
	if c, err = guardColumns(guarded); err != nil {
		t.Fatal(err)
	}
	guard, err := readGuard(c)
	wantSame(t, guarded, guard, err)

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

// A rule is put back as it was: its copy comes back byte for byte, or is refused.
func FuzzVerbatim(f *testing.F) {
	f.Add([]byte("{ \"a\":\t1.50,\r\n\"\\u00e9\": \"<é𝄞>\\/\"}"))
	f.Add([]byte("\x00\u2028\ufffd"))
	f.Add([]byte("{\"a\":\"\xff\"}"))
	f.Fuzz(func(t *testing.T, copied []byte) {
		c, err := guardColumns(access.Guard{VM: vmID, Removed: []nsg.Rule{{Verbatim: copied}}})
		if !utf8.Valid(copied) {
			if err == nil {
				t.Error("what would come back different was accepted")
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		g, err := readGuard(c)
		if err != nil || !bytes.Equal(g.Removed[0].Verbatim, copied) {
			t.Errorf("%q came back as %q, error %v", copied, g.Removed[0].Verbatim, err)
		}
	})
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
	if err := (columns{}).setText("Body", strings.Repeat("x", maxParts*partUnits+1)); !errors.Is(err, access.ErrTooLarge) {
		t.Errorf("text beyond what a row holds: error %v, want ErrTooLarge", err)
	}
}
