package tables

import (
	"bytes"
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
	"jitgate/internal/audit"
	"jitgate/internal/nsg"
	"jitgate/internal/policy"
)

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

	var l access.Ledger
	fill(t, reflect.ValueOf(&l).Elem())
	if c, err = ledgerColumns(&l); err != nil {
		t.Fatal(err)
	}
	ledger, err := readLedger(c)
	wantSame(t, l, ledger, err)

	var habits access.Habits
	fill(t, reflect.ValueOf(&habits).Elem())
	if c, err = habitsColumns(&habits); err != nil {
		t.Fatal(err)
	}
	remembered, err := readHabits(c)
	wantSame(t, habits, remembered, err)

	var a access.Signal
	fill(t, reflect.ValueOf(&a).Elem())
	if c, err = signalColumns(a); err != nil {
		t.Fatal(err)
	}
	signal, err := readSignal(c)
	wantSame(t, a, signal, err)

	var proposed access.Proposal
	fill(t, reflect.ValueOf(&proposed).Elem())
	if c, err = proposalColumns(proposed); err != nil {
		t.Fatal(err)
	}
	proposal, err := readProposal(c)
	wantSame(t, proposed, proposal, err)

	var given access.AlertRules
	fill(t, reflect.ValueOf(&given).Elem())
	given.Hash = textHash(given.Text)
	if c, err = rulesColumns(given.Text, given.Version, given.Signature); err != nil {
		t.Fatal(err)
	}
	rules, err := readRules(c)
	wantSame(t, given, rules, err)

	version := access.PolicyVersion{Policy: policy.New(samplePolicy(22), 42), Removed: true}
	fill(t, reflect.ValueOf(&version.Signature).Elem())
	if c, err = policyColumns(version.Policy, version.Signature); err != nil {
		t.Fatal(err)
	}
	c["Removed"] = true
	kept, err := readVersion(c)
	wantSame(t, version, kept, err)
	wantSame(t, version.Text, kept.Text, nil)
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
	case v.Type() == reflect.TypeOf(policy.Tenant):
		v.Set(reflect.ValueOf(policy.ScopeOf(vmID)))
	case v.Kind() == reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(t, v.Elem())
	case v.Kind() == reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		value := reflect.New(v.Type().Elem()).Elem()
		fill(t, value)
		v.SetMapIndex(reflect.ValueOf("key"), value)
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
