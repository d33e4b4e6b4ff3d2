package policy

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const oneCase = `- name: an hour
  vm: ` + machine + `
  tags: {Env: prod, owner: alice}
  ports: [22/TCP, 53]
  source: 203.0.113.7
  duration: PT1H
  justification: INC-7 disk full
  requester: {object: ` + alice + `, name: alice, roles: [Jit.Oncall], groups: [` + groupA + `], application: false}
  at: 2026-03-10T10:00:00+01:00
  expect: deny
  codes: [port_not_allowed]
`

func TestParseCases(t *testing.T) {
	cases, err := ParseCases([]byte(oneCase))
	if err != nil {
		t.Fatal(err)
	}
	q := fullQuestion(t)
	q.Tags = map[string]string{"Env": "prod", "owner": "alice"}
	q.Ports = []Port{{22, TCP}, {53, TCP}}
	q.Requester.Roles, q.Requester.Groups = []string{"Jit.Oncall"}, []string{groupA}
	want := []Case{{Name: "an hour", Question: q, Expect: Deny, Codes: []string{"port_not_allowed"}}}
	if diff := cmp.Diff(fmt.Sprintf("%+v", want), fmt.Sprintf("%+v", cases)); diff != "" {
		t.Error(diff)
	}
}

func TestARequesterOfAnotherTenant(t *testing.T) {
	cases, err := ParseCases([]byte(strings.Replace(oneCase, "name: alice,", "name: alice, tenant: "+strings.ToUpper(fabrikam)+",", 1)))
	if err != nil {
		t.Fatal(err)
	}
	if who := cases[0].Question.Requester; who.Tenant != fabrikam || !who.Guest {
		t.Errorf("%+v", who)
	}
}

func TestFaultsOfCases(t *testing.T) {
	for _, c := range []struct{ old, new, want string }{
		{"- name: an hour", "name: an hour", "line 1, column 7: The document is no YAML"},
		{oneCase, "name: x", "line 1, column 1: The document must be a list, not keys and values."},
		{oneCase, "[]", "line 1, column 1: The list is empty; write a case."},
		{oneCase, "- {}", "line 1, column 3: name is missing.\nline 1, column 3: vm is missing.\nline 1, column 3: ports is missing.\nline 1, column 3: source is missing.\nline 1, column 3: expect is missing."},
		{"\n  codes: [port_not_allowed]", "", "line 1, column 3: codes is missing; with deny, list the codes of all refusals."},
		{"[port_not_allowed]", "[]", "line 11, column 10: [0].codes is empty"},
		{"expect: deny", "expect: allow", "line 11, column 10: codes goes with deny only."},
		{"203.0.113.7", "0.0.0.0/0", `line 5, column 11: source "0.0.0.0/0" is everybody, which no request may ask for; write an address or a range.`},
		{"203.0.113.7", "any", `line 5, column 11: source "any" is everybody`},
		{"vm: " + machine, "vm: " + group, "line 2, column 7: vm is not the id of a VM: a resource of type"},
		{"53]", "0]", "line 4, column 19: The port is not usable: 0 does not lie between 1 and 65535."},
		{"53]", "true]", "line 4, column 19: [0].ports[1] must be text, not true."},
		{"203.0.113.7", "home", `line 5, column 11: source is not usable: not an address or range: "home".`},
		{"name: alice,", "tenant: home,", `line 8, column 69: "home" is no tenant id; write the GUID that Entra ID shows, or leave it out for somebody of the home tenant.`},
		{"PT1H", "1h", `line 6, column 13: duration is not usable: "1h" is not in ISO 8601 form`},
		{"name: alice,", "mail: alice,", `line 8, column 61: "mail" is not known here`},
		{"at: 2026-03-10T10:00:00+01:00", "at: noon", `line 9, column 7: "noon" is no instant`},
		{"at: 2026-03-10T10:00:00+01:00", "at: 9999-12-31T23:59:59-01:00", `line 9, column 7: "9999-12-31T23:59:59-01:00" is no instant`},
		{"expect: deny", "expect: refuse", `line 10, column 11: expect "refuse" is not known; write allow, deny or approval.`},
		{"codes: [port_not_allowed]", "code: port_not_allowed", "line 1, column 3: codes is missing; with deny, list the codes of all refusals.\n" + `line 11, column 3: "code" is not known here`},
	} {
		cases, err := ParseCases([]byte(strings.Replace(oneCase, c.old, c.new, 1)))
		var faults Faults
		if !errors.As(err, &faults) || !strings.HasPrefix(err.Error(), c.want) || cases != nil {
			t.Errorf("%q: %v, want %s", c.new, err, c.want)
		}
	}
}

func TestRunCases(t *testing.T) {
	set := Set{New(parse(t, full), 3)}
	q := fullQuestion(t)
	denied := q
	denied.Ports, denied.Requester.Object = []Port{{23, TCP}, {24, TCP}}, bob
	for _, c := range []struct {
		c    Case
		want string // sentence
	}{
		{Case{Question: q, Expect: NeedsApproval}, ""},
		{Case{Question: q, Expect: Allow}, "Expected allow, got approval."},
		{Case{Question: denied, Expect: Deny}, "Expected the codes"},
		{Case{Question: denied, Expect: Deny, Codes: []string{RequesterNotAllowed, PortNotAllowed}}, ""},
		{Case{Question: denied, Expect: Deny, Codes: []string{PortNotAllowed}}, "Expected the codes port_not_allowed, got port_not_allowed and requester_not_allowed. The policy for resource group rg-demo (Env=prod) does not allow port 23/TCP;"},
		{Case{Question: denied, Expect: Deny, Codes: []string{PortNotAllowed, RequesterNotAllowed, OutsideWindow}}, "Expected the codes outside_window, port_not_allowed and requester_not_allowed, got"},
		{Case{Question: denied, Expect: Allow}, "Expected allow, got deny. The policy for"},
	} {
		got := RunCases(set, []Case{c.c})[0]
		if got.Passed != (c.want == "") || !strings.HasPrefix(got.Sentence, c.want) || got.Passed && got.Sentence != "" {
			t.Errorf("%+v", got)
		}
	}
	q.Duration = 0
	byDefault := RunCases(set, []Case{{Question: q, ByDefault: true, Expect: NeedsApproval}})[0]
	if !byDefault.Passed || byDefault.Case.Question.Duration != 30*time.Minute {
		t.Errorf("%+v", byDefault)
	}
	if got := New(demoDocument(), 1).Default(); got != 3*time.Hour {
		t.Errorf("without a default %v", got)
	}
	short := demoDocument()
	short.MaxDuration = Duration(time.Hour)
	if got := New(short, 1).Default(); got != time.Hour {
		t.Errorf("with a limit below the default %v", got)
	}
}

func FuzzParseCases(f *testing.F) {
	f.Add(oneCase)
	f.Add("- {name: x, vm: " + machine + ", ports: [22], source: '::/0', expect: allow}")
	f.Add("- - ")
	set := Set{New(demoDocument(), 1), New(parse(f, full), 1)}
	f.Fuzz(func(t *testing.T, text string) {
		cases, err := ParseCases([]byte(text))
		if err != nil {
			return
		}
		for _, r := range RunCases(set, cases) {
			if r.Passed == (r.Sentence != "") {
				t.Errorf("%+v", r)
			}
		}
	})
}
