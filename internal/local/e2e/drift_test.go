package e2e_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"jitgate/internal/api"
	"jitgate/internal/local"
	"jitgate/internal/local/arm"
)

// TestDrift changes the rules of an NSG behind jitgate's back, in the ways that people
// and their tools do. One sweep finds it, and everything is as it was; a second sweep
// finds nothing to do.
func TestDrift(t *testing.T) {
	t.Parallel()
	stack := start(t, local.Options{})
	alice := as(stack, "alice")
	const group = "nsg-open01"
	web := arm.Rule{Name: "allow-https", Priority: 1200, Direction: "Inbound", Access: "Allow", Protocol: "Tcp",
		SourceAddressPrefix: "Internet", SourcePortRange: "*", DestinationAddressPrefix: "*", DestinationPortRange: "443"}
	file := append(fileRules(t, group), web)
	edit := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	edit(stack.ARM.ReplaceRules(nsgID(group), file))
	before := groupJSON(t, stack, group)
	protect(t, stack, "open01")
	r := create(t, alice, ask("open01", "PT1H"))
	r = waitFor(t, alice, r.ID, "Active")
	quiet(t, stack)
	steady := groupJSON(t, stack, group)
	allow := r.Targets[0].NSGs[0].Rules[0]
	deny := ours(stack, nsgID(group))
	deny = slices.DeleteFunc(deny, func(name string) bool { return name == allow })
	if len(deny) != 1 {
		t.Fatalf("deny rules: %v", deny)
	}
	// changed puts a rule back by hand with something else in it.
	changed := func(name string, change func(*arm.Rule)) {
		t.Helper()
		edit(stack.ARM.PutRule(nsgID(group), storedRule(t, stack, group, name, change)))
	}

	for _, c := range []struct {
		what    string
		edit    func()
		opened  string   // who gets in that should not
		request []string // said in the request's record
		machine []string // and in the machine's
	}{
		{"terraform apply", func() { edit(stack.ARM.ReplaceRules(nsgID(group), file)) }, stranger,
			[]string{"rule.repaired " + allow}, []string{"drift.deny-repaired " + deny[0], "drift.rule-returned allow-ssh", "rule.repaired " + allow}},
		{"deny rule deleted", func() { edit(stack.ARM.DeleteRule(nsgID(group), deny[0])) }, neighbour,
			nil, []string{"drift.deny-repaired " + deny[0]}},
		{"deny rule turned round", func() { changed(deny[0], func(r *arm.Rule) { r.Access = "Allow" }) }, stranger,
			nil, []string{"drift.deny-repaired " + deny[0]}},
		{"deny rule sent elsewhere", func() {
			changed(deny[0], func(r *arm.Rule) { r.DestinationAddressPrefix, r.DestinationAddressPrefixes = "10.20.9.0/24", nil })
		}, neighbour, nil, []string{"drift.deny-repaired " + deny[0]}},
		{"allow rule widened", func() { changed(allow, func(r *arm.Rule) { r.SourceAddressPrefix = "*" }) }, stranger,
			[]string{"rule.repaired " + allow}, []string{"rule.repaired " + allow}},
		{"allow rule deleted", func() { edit(stack.ARM.DeleteRule(nsgID(group), allow)) }, "",
			[]string{"rule.repaired " + allow}, []string{"rule.repaired " + allow}},
		{"a back door under our prefix", func() {
			edit(stack.ARM.PutRule(nsgID(group), arm.Rule{Name: "jitgate-mine", Priority: 150, Direction: "Inbound", Access: "Allow", Protocol: "*",
				SourceAddressPrefix: "*", SourcePortRange: "*", DestinationAddressPrefix: "*", DestinationPortRange: "22"}))
		}, stranger, nil, []string{"drift.rule-unbacked jitgate-mine"}},
	} {
		told, noted := len(events(t, stack, r.ID)), len(machineKinds(t, stack, "open01"))
		c.edit()
		if c.opened != "" {
			probe(t, stack, "open01", c.opened, "Allow")
		}
		sweep(t, stack)
		if now := groupJSON(t, stack, group); now != steady {
			t.Errorf("%s: not put right (-before +now):\n%s", c.what, cmp.Diff(steady, now))
		}
		probe(t, stack, "open01", inside, "Allow")
		probe(t, stack, "open01", stranger, "Deny")
		probe(t, stack, "open01", neighbour, "Deny")
		if diff := cmp.Diff(c.request, findings(events(t, stack, r.ID)[told:])); diff != "" {
			t.Errorf("%s: the request's record (-want +got):\n%s", c.what, diff)
		}
		of, err := alice.MachineEvents(t.Context(), vmID("open01"))
		if err != nil {
			t.Fatal(err)
		}
		want := slices.Clone(c.machine)
		for _, found := range c.machine {
			want = append(want, "drift.repaired "+found[strings.Index(found, " ")+1:])
		}
		slices.Sort(want)
		if diff := cmp.Diff(want, findings(of[noted:])); diff != "" {
			t.Errorf("%s: the machine's record (-want +got):\n%s", c.what, diff)
		}
		wantNoWork(t, stack, c.what)
	}
	if r = waitFor(t, alice, r.ID, "Active"); r.Targets[0].NSGs[0].State != "open" {
		t.Errorf("the grant: %+v", r.Targets[0].NSGs)
	}
	if _, _, err := alice.Revoke(t.Context(), r.ID); err != nil {
		t.Fatal(err)
	}
	waitFor(t, alice, r.ID, "Revoked")
	unprotect(t, stack, "open01")
	if now := groupJSON(t, stack, group); now != before {
		t.Errorf("after all that (-before +now):\n%s", cmp.Diff(before, now))
	}
}

func ruleJSON(t *testing.T, stack *local.Stack, nsg, name string) string {
	t.Helper()
	text, err := stack.ARM.RuleJSON(nsgID(nsg), name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// storedRule reads a rule as it stands and changes it.
func storedRule(t *testing.T, stack *local.Stack, nsg, name string, change func(*arm.Rule)) arm.Rule {
	t.Helper()
	var r arm.Rule
	if err := json.Unmarshal([]byte(ruleJSON(t, stack, nsg, name)), &r); err != nil {
		t.Fatal(err)
	}
	r.Name = name
	change(&r)
	return r
}

func events(t *testing.T, stack *local.Stack, request string) []api.Event {
	t.Helper()
	list, err := as(stack, "carol").Events(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// findings lists events with the rules they are about, in an order of their own:
// what one look at an NSG finds is found at the same time.
func findings(events []api.Event) []string {
	var out []string
	for _, e := range events {
		out = append(out, strings.TrimSpace(e.Kind+" "+e.Rule))
	}
	slices.Sort(out)
	return out
}
