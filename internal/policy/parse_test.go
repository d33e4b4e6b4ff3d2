package policy

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"jitgate/internal/armid"
	"jitgate/internal/strictyaml"
)

const (
	subscription = "/subscriptions/00000000-0000-0000-0000-000000000001"
	group        = subscription + "/resourceGroups/rg-demo"
	machine      = group + "/providers/Microsoft.Compute/virtualMachines/vm-1"
)

const demo = `# who may reach the demo machines
apiVersion: jitgate/v1
scope: /subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-demo
ports:
  - {port: 22, protocol: TCP}
  - {port: 3389, protocol: TCP}
  - port: 53
    protocol: "*"   # any
sources:
  - range: 203.0.113.0/24
    widest: 32
  - range: 2001:db8::/32
  - range: 198.51.100.7
maxDuration: PT3H
`

func demoDocument() Document {
	return Document{
		APIVersion: APIVersion, Scope: ScopeOf(armid.MustParse(group)),
		Ports: []Port{{22, TCP}, {3389, TCP}, {53, AnyProtocol}},
		Sources: []Source{
			{netip.MustParsePrefix("203.0.113.0/24"), 32}, {netip.MustParsePrefix("2001:db8::/32"), 32}, {netip.MustParsePrefix("198.51.100.7/32"), 32},
		},
		MaxDuration: Duration(3 * time.Hour),
		Text:        demo,
	}
}

func parse(t interface {
	Helper()
	Fatalf(string, ...any)
}, text string) Document {
	t.Helper()
	d, err := Parse([]byte(text))
	if err != nil {
		t.Fatalf("%v\nin %s", err, text)
	}
	return d
}

var exactly = cmp.Options{
	cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
	cmp.Comparer(func(a, b Scope) bool { return a.String() == b.String() }),
	// Field by field: Document.Equal would hide what canonical leaves out.
	cmp.Transformer("fields", func(d Document) fields { return fields(d) }),
}

// fields is a document without its methods.
type fields Document

func TestParse(t *testing.T) {
	if diff := cmp.Diff(demoDocument(), parse(t, demo), exactly); diff != "" {
		t.Error(diff)
	}
}

func TestParseReadsTheSameInOtherWritings(t *testing.T) {
	for what, text := range map[string]string{
		"JSON": `{
	"apiVersion": "jitgate/v1",
	"scope": "/subscriptions/00000000-0000-0000-0000-000000000001\/resourceGroups/rg-demo",
	"ports": [{"port": 22, "protocol": "TCP"}, {"protocol": "tcp", "port": 3389}, {"port": 53, "protocol": "*"}],
	"sources": [{"range": "203.0.113.0/24", "widest": 32}, {"range": "2001:db8::/32"}, {"range": "198.51.100.7/32"}],
	"maxDuration": "PT180M"
}`,
		"byte order mark":        "\ufeff" + demo,
		"Windows line ends":      strings.ReplaceAll(demo, "\n", "\r\n"),
		"start and end marks":    "---\n" + demo + "...\n",
		"the default duration":   strings.Replace(demo, "maxDuration: PT3H\n", "", 1),
		"mapped range":           strings.Replace(demo, "198.51.100.7", "\"::ffff:198.51.100.7\"", 1),
		"scope in other letters": strings.Replace(demo, "resourceGroups/rg-demo", "RESOURCEGROUPS/RG-demo", 1),
	} {
		t.Run(what, func(t *testing.T) {
			d := parse(t, text)
			if d.Text != text {
				t.Errorf("the text became %q", d.Text)
			}
			if !d.Equal(demoDocument()) || d.Digest() != demoDocument().Digest() {
				t.Errorf("it reads as\n%s", d.YAML())
			}
		})
	}
}

func TestCanonicalForms(t *testing.T) {
	d := demoDocument()
	yaml := `apiVersion: jitgate/v1
scope: /subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-demo
ports:
  - {port: 22, protocol: TCP}
  - {port: 3389, protocol: TCP}
  - {port: 53, protocol: "*"}
sources:
  - {range: 203.0.113.0/24, widest: 32}
  - {range: "2001:db8::/32", widest: 32}
  - {range: 198.51.100.7/32, widest: 32}
maxDuration: PT3H
`
	if diff := cmp.Diff(yaml, string(d.YAML())); diff != "" {
		t.Error(diff)
	}
	data, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	asJSON := `{"apiVersion":"jitgate/v1","scope":"/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-demo",` +
		`"ports":[{"port":22,"protocol":"TCP"},{"port":3389,"protocol":"TCP"},{"port":53,"protocol":"*"}],` +
		`"sources":[{"range":"203.0.113.0/24","widest":32},{"range":"2001:db8::/32","widest":32},{"range":"198.51.100.7/32","widest":32}],"maxDuration":"PT3H"}`
	if diff := cmp.Diff(asJSON, string(data)); diff != "" {
		t.Error(diff)
	}
	data, err = json.Marshal(New(d, 7))
	if err != nil {
		t.Fatal(err)
	}
	if want := strings.TrimSuffix(asJSON, "}") + `,"version":7,"hash":"` + d.Digest() + `"}`; string(data) != want {
		t.Errorf("a policy as JSON is %s", data)
	}
}

func TestDigestSeesEveryDifference(t *testing.T) {
	seen := map[string]string{demoDocument().Digest(): "the demo"}
	for what, change := range map[string]func(*Document){
		"scope":        func(d *Document) { d.Scope = ScopeOf(armid.MustParse(machine)) },
		"port":         func(d *Document) { d.Ports = d.Ports[1:] },
		"protocol":     func(d *Document) { d.Ports = []Port{{22, UDP}, {3389, TCP}, {53, AnyProtocol}} },
		"source":       func(d *Document) { d.Sources = d.Sources[1:] },
		"widest":       func(d *Document) { d.Sources = append([]Source{{d.Sources[0].Range, 24}}, d.Sources[1:]...) },
		"max duration": func(d *Document) { d.MaxDuration++ },
	} {
		d := demoDocument()
		change(&d)
		if other, twice := seen[d.Digest()]; twice {
			t.Errorf("%s has the digest of %s", what, other)
		}
		seen[d.Digest()] = what
	}
}

func TestCanonicalFormsReadBackEqual(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := drawDocument(t)
		asJSON, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range []string{string(d.YAML()), string(asJSON)} {
			got := parse(t, text)
			got.Text = ""
			if diff := cmp.Diff(d, got, exactly); diff != "" {
				t.Fatalf("%s reads as another document: %s", text, diff)
			}
			if !got.Equal(d) || got.Digest() != d.Digest() {
				t.Fatalf("%s: not equal or another digest", text)
			}
		}
	})
}

func TestFaults(t *testing.T) {
	for _, c := range []struct {
		what, old, new string
		want           []string // "line:column path: part of the sentence"
	}{
		{"unknown key", "maxDuration: PT3H", "maxDurations: PT3H", []string{`14:1 maxDurations: "maxDurations" is not known here; the keys are apiVersion`}},
		{"unknown key inside", "    widest: 32", "    widest: 32\n    approval: true", []string{`12:5 sources[0].approval: "approval" is not known`}},
		{"key in other letters", "ports:", "Ports:", []string{"2:1 ports: ports is missing", `4:1 Ports: "Ports" is not known`}},
		{"key twice", "maxDuration: PT3H", "maxDuration: PT3H\nmaxDuration: PT1H", []string{"15:1 maxDuration: maxDuration is given twice"}},
		{"key that is no word", "maxDuration: PT3H", "1: PT3H", []string{"14:1 : A key is a plain word"}},
		{"complex key", "maxDuration: PT3H", "? maxDuration\n: PT3H", []string{"14:1 : A key is a plain word"}},
		{"merge key", "maxDuration: PT3H", "<<: {maxDuration: PT3H}", []string{"14:1 : A key is a plain word"}},

		{"no version", "apiVersion: jitgate/v1\n", "", []string{"2:1 apiVersion: apiVersion is missing."}},
		{"another version", "jitgate/v1", "jitgate/v2", []string{`2:13 apiVersion: apiVersion "jitgate/v2" is not known; write jitgate/v1.`}},
		{"version as number", "jitgate/v1", "1", []string{"2:13 apiVersion: apiVersion must be text, not the number 1."}},
		{"version as truth", "jitgate/v1", "true", []string{"2:13 apiVersion: apiVersion must be text, not true."}},

		{"no scope", "scope:", "# scope:", []string{"2:1 scope: scope is missing."}},
		{"scope without value", "scope: /subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-demo", "scope:", []string{"3:1 scope: scope has no value; it must be text."}},
		{"scope that is no id", "scope: /subscriptions/00000000-0000-0000-0000-000000000001", "scope: /subscriptions/1", []string{"3:8 scope: scope is no ARM id: the subscription is not a UUID."}},
		{"scope of another kind", "rg-demo", "rg-demo/providers/Microsoft.Network/networkSecurityGroups/n", []string{"3:8 scope: scope is a Microsoft.Network/networkSecurityGroups; a policy covers"}},
		{"scope over lines", "scope: /", "scope: >-\n  /", []string{"3:8 scope: scope must be text, not text of several lines."}},

		{"ports of the wrong kind", "ports:\n", "ports: 22\nx:\n", []string{"4:8 ports: ports must be a list, not the number 22.", `5:1 x: "x" is not known`}},
		{"port of the wrong kind", "{port: 22, protocol: TCP}", "22", []string{"5:5 ports[0]: ports[0] must be keys and values, not the number 22."}},
		{"port as text", "port: 22,", "port: \"22\",", []string{"5:12 ports[0].port: ports[0].port must be a whole number in plain digits, not text."}},
		{"port as fraction", "port: 22,", "port: 22.0,", []string{"5:12 ports[0].port: ports[0].port must be a whole number in plain digits, not the number 22.0."}},
		{"port octal", "port: 22,", "port: 022,", []string{"5:12 ports[0].port: ports[0].port must be a whole number in plain digits, not the number 022."}},
		{"port hexadecimal", "port: 22,", "port: 0x16,", []string{"5:12 ports[0].port: ports[0].port must be a whole number"}},
		{"port with underscore", "port: 22,", "port: 2_2,", []string{"5:12 ports[0].port: ports[0].port must be a whole number"}},
		{"port 0", "port: 22,", "port: 0,", []string{"5:12 ports[0].port: Port 0 does not lie between 1 and 65535."}},
		{"port below", "port: 22,", "port: -1,", []string{"5:12 ports[0].port: Port -1 does not lie"}},
		{"port above", "port: 22,", "port: 65536,", []string{"5:12 ports[0].port: Port 65536 does not lie"}},
		{"port far above", "port: 22,", "port: 99999999999999999999,", []string{"5:12 ports[0].port: ports[0].port must be a whole number"}},
		{"no port", "{port: 22, ", "{", []string{"5:5 ports[0].port: port is missing."}},
		{"no protocol", "{port: 22, protocol: TCP}", "{port: 22}", []string{"5:5 ports[0].protocol: protocol is missing."}},
		{"unknown protocol", "port: 3389, protocol: TCP", "port: 3389, protocol: ICMP", []string{`6:28 ports[1].protocol: Protocol "ICMP" is not known; write TCP, UDP or "*" in quotes.`}},
		{"protocol null", "port: 3389, protocol: TCP", "port: 3389, protocol: null", []string{"6:18 ports[1].protocol: ports[1].protocol has no value"}},
		{"port twice", "port: 3389", "port: 22", []string{"6:12 ports[1].port: Port 22/TCP is listed twice, the other time as 22/TCP"}},
		{"port within any", "port: 3389", "port: 53", []string{"7:11 ports[2].port: Port 53/* is listed twice, the other time as 53/TCP"}},
		{"empty ports", "  - {port: 22, protocol: TCP}\n  - {port: 3389, protocol: TCP}\n  - port: 53\n    protocol: \"*\"", "  []", []string{"5:3 ports: ports is empty; a policy that allows nothing is no policy."}},

		{"range that is none", "198.51.100.7", "office", []string{`13:12 sources[2].range: "office" is no IPv4 or IPv6 address or CIDR range.`}},
		{"range too long", "203.0.113.0/24", "203.0.113.0/33", []string{`10:12 sources[0].range: "203.0.113.0/33" is no IPv4`}},
		{"range with a zone", "198.51.100.7", "fe80::1%eth0", []string{`13:12 sources[2].range: "fe80::1%eth0" is no IPv4`}},
		{"range of both families", "198.51.100.7", "\"::ffff:0.0.0.0/90\"", []string{`13:12 sources[2].range: "::ffff:0.0.0.0/90" is no IPv4`}},
		{"range as tag", "198.51.100.7", "Internet", []string{`13:12 sources[2].range: "Internet" is no IPv4`}},
		{"host bits", "203.0.113.0/24", "203.0.113.5/24", []string{`10:12 sources[0].range: Range has host bits set: "203.0.113.5/24"; write 203.0.113.0/24 for the range or 203.0.113.5 for the address.`}},
		{"range twice", "198.51.100.7", "203.0.113.0/24", []string{"13:12 sources[2].range: Range 203.0.113.0/24 is listed twice; keep one of them."}},
		{"no range", "range: 198.51.100.7", "widest: 32", []string{"13:5 sources[2].range: range is missing."}},
		{"everybody without a word", "198.51.100.7", "0.0.0.0/0", []string{"13:12 sources[2].range: Range 0.0.0.0/0 is everybody; say with widest how much of it one ask may name (32 for one address"}},
		{"everybody over IPv6", "198.51.100.7", `"::/0"`, []string{"13:12 sources[2].range: Range ::/0 is everybody; say with widest how much of it one ask may name (128"}},
		{"wider than the range", "widest: 32", "widest: 16", []string{"11:13 sources[0].widest: widest is a prefix length within 203.0.113.0/24, so between 24 and 32."}},
		{"narrower than an address", "widest: 32", "widest: 33", []string{"11:13 sources[0].widest: widest is a prefix length"}},
		{"widest as text", "widest: 32", "widest: /32", []string{"11:13 sources[0].widest: sources[0].widest must be a whole number in plain digits, not text."}},
		{"sources as map", "  - range: 203.0.113.0/24\n    widest: 32\n  - range: 2001:db8::/32\n  - range: 198.51.100.7\n", "  range: 203.0.113.0/24\n", []string{"10:3 sources: sources must be a list, not keys and values."}},

		{"duration in Go", "PT3H", "3h", []string{`14:14 maxDuration: maxDuration is not usable: "3h" is not in ISO 8601 form, such as PT30M or PT1H30M.`}},
		{"duration in years", "PT3H", "P1Y", []string{`14:14 maxDuration: maxDuration is not usable: "P1Y" has years or months, which have no fixed length`}},
		{"duration negative", "PT3H", "-PT3H", []string{`14:14 maxDuration: maxDuration is not usable: "-PT3H" is negative.`}},
		{"duration short", "PT3H", "PT4M59S", []string{"14:14 maxDuration: maxDuration is 4m59s (PT4M59S); it must lie between 5m (PT5M) and 24h (PT24H)."}},
		{"duration long", "PT3H", "P1DT1S", []string{"14:14 maxDuration: maxDuration is 24h0m1s (PT24H1S); it must lie"}},
		{"duration as number", "PT3H", "3", []string{"14:14 maxDuration: maxDuration must be text, not the number 3."}},

		{"anchor", "PT3H", "&max PT3H", []string{"14:14 maxDuration: maxDuration is an anchor or alias"}},
		{"alias", "PT3H", "*max", []string{"14:14 maxDuration: maxDuration is an anchor or alias"}},
		{"tag", "PT3H", "!!str PT3H", []string{"14:14 maxDuration: maxDuration must be text, not a tagged value."}},
		{"second document", "maxDuration: PT3H", "---\nmaxDuration: PT3H", []string{"14:1 : A second document starts here"}},
		{"second document after an end", "maxDuration: PT3H", "...\nmaxDuration: PT3H", []string{"15:12 : A second document starts here"}},
		{"empty second document", "maxDuration: PT3H", "---", []string{"14:1 : A second document starts here"}},
		{"directive", "# who may reach the demo machines", "%YAML 1.2\n---", []string{"1:1 : Directives are not read"}},
		{"no YAML", "maxDuration: PT3H", "maxDuration: [PT3H", []string{"14:14 : The document is no YAML or JSON"}},
		{"star without quotes", `{port: 3389, protocol: TCP}`, `{port: 3389, protocol: *}`, []string{`6:29 : The document is no YAML or JSON: unexpected scalar value type. If * is meant as a value, write "*" in quotes.`}},
		{"not UTF-8", "demo machines", "d\xe9mo", []string{"1:22 : The document is not in UTF-8."}},

		{"all at once", "  - {port: 22, protocol: TCP}\n  - {port: 3389, protocol: TCP}", "  - {port: 0, protocol: x}\n  - 7\n  - {prt: 1}", []string{
			"5:12 ports[0].port: Port 0", `5:25 ports[0].protocol: Protocol "x"`, "6:5 ports[1]: ports[1] must be keys",
			"7:5 ports[2].port: port is missing", "7:5 ports[2].protocol: protocol is missing", `7:6 ports[2].prt: "prt" is not known`,
		}},
	} {
		t.Run(c.what, func(t *testing.T) {
			text := strings.Replace(demo, c.old, c.new, 1)
			if text == demo {
				t.Fatal("nothing was replaced")
			}
			checkFaults(t, text, c.want)
		})
	}
}

func TestFaultsOfWholeTexts(t *testing.T) {
	for _, c := range []struct {
		what, text string
		want       []string
	}{
		{"nothing", "", []string{"1:1 : The document is empty."}},
		{"only a comment", "# soon\n", []string{"1:1 : The document is empty."}},
		{"null", "null\n", []string{"1:1 : The document is empty."}},
		{"a list", "\n- a\n", []string{"2:1 : The document must be keys and values, not a list."}},
		{"a word", "policy", []string{"1:1 : The document must be keys and values, not text."}},
		{"no keys", "{}", []string{"1:1 apiVersion: apiVersion is missing.", "1:1 scope: scope is missing.", "1:1 ports: ports is missing.", "1:1 sources: sources is missing."}},
		{"too large", strings.Repeat("#", MaxSize+1), []string{"1:1 : The document has 65537 bytes; at most 65536 are read."}},
		{"deep brackets", "a: " + strings.Repeat("[", MaxSize-3), []string{"1:24 : The document is nested more than 20 levels deep."}},
		{"deep braces", strings.Repeat("{a: ", MaxSize/4), []string{"1:81 : The document is nested more than 20 levels deep."}},
		{"deep entries", strings.Repeat("- ", MaxSize/2), []string{"1:41 : The document is nested more than 20 levels deep."}},
		{"two JSON values", "{} {}", []string{"1:4 : The document is no YAML or JSON"}},
		{"an alias bomb", "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\n", []string{
			`1:1 a: "a" is not known`, "1:1 apiVersion: apiVersion is missing.", "1:1 scope: ", "1:1 ports: ", "1:1 sources: ", `2:1 b: "b" is not known`, `3:1 c: "c" is not known`,
		}},
	} {
		t.Run(c.what, func(t *testing.T) { checkFaults(t, c.text, c.want) })
	}
}

func checkFaults(t *testing.T, text string, want []string) {
	t.Helper()
	d, err := Parse([]byte(text))
	var faults Faults
	if !errors.As(err, &faults) {
		t.Fatalf("no faults but %v, %v", d, err)
	}
	if d.APIVersion != "" || d.Ports != nil {
		t.Errorf("a faulty document comes out: %v", d)
	}
	var got []string
	for _, f := range faults {
		got = append(got, fmt.Sprintf("%d:%d %s: %s", f.Line, f.Column, f.Path, f.Sentence))
	}
	ok := len(got) == len(want)
	for i := range want {
		ok = ok && strings.HasPrefix(got[i], want[i])
	}
	if !ok {
		t.Errorf("got\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
	if lines := strings.Split(err.Error(), "\n"); len(lines) != len(faults) || !strings.HasPrefix(lines[0], fmt.Sprintf("line %d, column %d: ", faults[0].Line, faults[0].Column)) {
		t.Errorf("as an error it is %q", err)
	}
}

func TestFaultsQuoteLittle(t *testing.T) {
	long := strings.Repeat("x", 10000)
	for _, text := range []string{
		long + ": 1", "apiVersion: " + long, "scope: " + long, "maxDuration: PT" + long,
		"ports: [{port: 1, protocol: " + long + "}]", "sources: [{range: " + long + "}]",
	} {
		if _, err := Parse([]byte(text)); err == nil || len(err.Error()) > 1000 {
			t.Errorf("%.30s…: %d characters", text, len(err.Error()))
		}
	}
}

func TestFaultsAreNotEndless(t *testing.T) {
	_, err := Parse([]byte(strings.Repeat("a: 1\n", 10000)))
	var faults Faults
	if !errors.As(err, &faults) || len(faults) != strictyaml.MaxFaults {
		t.Errorf("%d faults", len(faults))
	}
}

func FuzzParse(f *testing.F) {
	f.Add(demo)
	f.Add(string(demoDocument().YAML()))
	f.Add(`{"apiVersion":"jitgate/v1","scope":"` + subscription + `","ports":[{"port":22,"protocol":"*"}],"sources":[{"range":"::/0","widest":0}]}`)
	f.Add(full)
	f.Add("apiVersion: jitgate/v1\nscope: tenant\nenforced: true\ntags: {\"a b\": \"\\u00e9: #\"}\nconditions:\n  - expression: |\n      request.duration <\n      duration('1h')\n    message: \"1e5\"\n")
	f.Add("a: &a [*a]\n<<: *a\n? {}\n: !!binary x\n--- |\n x\n...\n%TAG ! x\n")
	f.Add("ports: [{port: 1e3, protocol: *}]\n\"\\x")
	f.Add("- - - ? : - \n\t'")
	f.Fuzz(func(t *testing.T, text string) {
		d, err := Parse([]byte(text))
		if err != nil {
			var faults Faults
			if !errors.As(err, &faults) || len(faults) == 0 {
				t.Fatalf("an error without faults: %v", err)
			}
			for _, fault := range faults {
				if fault.Line < 1 || fault.Column < 1 || fault.Sentence == "" {
					t.Fatalf("a fault nowhere: %+v", fault)
				}
			}
			return
		}
		if d.Text != text || d.Scope.IsZero() || d.MaxDuration > Duration(MaxDuration) {
			t.Fatalf("accepted as %+v", d)
		}
		if !d.Enforced && (len(d.Ports) == 0 || len(d.Sources) == 0 || d.MaxDuration < Duration(MinDuration)) {
			t.Fatalf("accepted as %+v", d)
		}
		if diff := Diff(d, d); diff != "" {
			t.Fatalf("differs from itself: %s", diff)
		}
		again, err := Parse(d.YAML())
		if err != nil || !again.Equal(d) {
			t.Fatalf("its canonical form %s is another: %v", d.YAML(), err)
		}
	})
}
