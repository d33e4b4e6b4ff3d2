package e2e_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"jitgate/internal/api"
	"jitgate/internal/client"
	"jitgate/internal/local"
	"jitgate/internal/local/arm"
)

// protect has a machine protected and waits until nothing is left to be done.
func protect(t *testing.T, stack *local.Stack, vm string) api.Forecast {
	t.Helper()
	f, err := as(stack, "carol").Protect(t.Context(), vmID(vm), api.NewProtection{}, false)
	if err != nil {
		t.Fatalf("protect %s: %v", vm, err)
	}
	waitMachine(t, as(stack, "carol"), vm, "Protected")
	quiet(t, stack)
	return f
}

func unprotect(t *testing.T, stack *local.Stack, vm string) api.Forecast {
	t.Helper()
	f, err := as(stack, "carol").Unprotect(t.Context(), vmID(vm), api.EndProtection{}, false)
	if err != nil {
		t.Fatalf("unprotect %s: %v", vm, err)
	}
	waitMachine(t, as(stack, "carol"), vm, "Unprotected")
	quiet(t, stack)
	return f
}

func waitMachine(t *testing.T, c *client.Client, vm, state string) api.Protection {
	t.Helper()
	p, err := awaitMachine(t.Context(), c, vm, state, 30*time.Second)
	if err != nil {
		t.Fatalf("waiting for %s: %v", state, err)
	}
	return p
}

func awaitMachine(ctx context.Context, c *client.Client, vm, state string, patience time.Duration) (p api.Protection, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err = until(ctx, func() (err error) {
		if p, _, err = c.Machine(ctx, vmID(vm)); err == nil && p.State != state {
			err = fmt.Errorf("%s stays %s (%+v)", vm, p.State, p.NSGs)
		}
		return err
	})
	return p, err
}

// machineKinds is what the record of a machine says, in order.
func machineKinds(t *testing.T, stack *local.Stack, vm string) []string {
	t.Helper()
	events, err := as(stack, "carol").MachineEvents(t.Context(), vmID(vm))
	if err != nil {
		t.Fatal(err)
	}
	return kinds(events)
}

func kinds(events []api.Event) []string {
	out := make([]string, len(events))
	for i, e := range events {
		out[i] = e.Kind
	}
	return out
}

// fileRules are the rules that an NSG has in the topology file, which stands for the
// file of a template: from there they are deployed again.
func fileRules(t *testing.T, nsg string) []arm.Rule {
	t.Helper()
	topology, err := arm.ParseTopology(arm.DemoTopology())
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range topology.Subscriptions[0].ResourceGroups[0].NSGs {
		if g.Name == nsg {
			return g.Rules
		}
	}
	t.Fatalf("the demo has no NSG %s", nsg)
	return nil
}

func fileRule(t *testing.T, nsg, name string) arm.Rule {
	t.Helper()
	rules := fileRules(t, nsg)
	at := slices.IndexFunc(rules, func(r arm.Rule) bool { return r.Name == name })
	if at < 0 {
		t.Fatalf("%s has no rule %s", nsg, name)
	}
	return rules[at]
}

// wantChanged checks that an NSG changed exactly as was foretold, and in nothing else.
func wantChanged(t *testing.T, before, after string, foretold []api.RuleChange) {
	t.Helper()
	was, is := takeApart(t, before), takeApart(t, after)
	if diff := cmp.Diff(was.rest, is.rest); diff != "" {
		t.Errorf("something other than the rules changed (-before +after):\n%s", diff)
	}
	for _, change := range foretold {
		old, there := was.rules[change.Name]
		now, stays := is.rules[change.Name]
		if change.Action == "keep" {
			continue
		}
		if there == (change.Action == "add") || stays == (change.Action == "remove") {
			t.Errorf("%s %s: there before: %v, after: %v", change.Action, change.Name, there, stays)
			continue
		}
		text := now
		if change.Action == "remove" {
			text = old
		}
		if diff := cmp.Diff(change, ruleChange(t, change.Action, change.Name, text), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s %s (-foretold +found):\n%s", change.Action, change.Name, diff)
		}
		delete(was.rules, change.Name)
		delete(is.rules, change.Name)
	}
	if diff := cmp.Diff(was.rules, is.rules); diff != "" {
		t.Errorf("rules changed of which nothing was said (-before +after):\n%s", diff)
	}
}

// stored is an NSG as groupJSON writes it, the properties of its rules apart.
type stored struct {
	rest  map[string]any
	rules map[string]string
}

func takeApart(t *testing.T, text string) stored {
	t.Helper()
	var group struct {
		Properties struct {
			SecurityRules []struct {
				Name       string
				Properties json.RawMessage
			}
		}
	}
	s := stored{rules: map[string]string{}}
	if err := errors.Join(json.Unmarshal([]byte(text), &group), json.Unmarshal([]byte(text), &s.rest)); err != nil {
		t.Fatal(err)
	}
	for _, r := range group.Properties.SecurityRules {
		s.rules[r.Name] = string(r.Properties)
	}
	delete(s.rest["properties"].(map[string]any), "securityRules")
	return s
}

// ruleChange writes a rule as forecasts do.
func ruleChange(t *testing.T, action, name, properties string) api.RuleChange {
	t.Helper()
	var r arm.Rule
	if err := json.Unmarshal([]byte(properties), &r); err != nil {
		t.Fatal(err)
	}
	all := func(one string, several []string) []string {
		if one != "" {
			return []string{one}
		}
		return several
	}
	return api.RuleChange{Action: action, Name: name, Priority: r.Priority, Access: r.Access, Protocol: strings.ToUpper(r.Protocol),
		Sources:      all(r.SourceAddressPrefix, r.SourceAddressPrefixes),
		Destinations: all(r.DestinationAddressPrefix, r.DestinationAddressPrefixes),
		Ports:        all(r.DestinationPortRange, r.DestinationPortRanges)}
}

// reaches lists who can reach port 22 of an address by a forecast: "internet:
// open → closed" and the like.
func reaches(f api.Forecast, address string) []string {
	var out []string
	for _, v := range f.Verdicts {
		if v.Address == address && v.Ports.Ports == "22" {
			out = append(out, fmt.Sprintf("%s: %s → %s", v.From, v.Before.Reach, v.After.Reach))
		}
	}
	return out
}

// warnings lists what a forecast warns of, with the rule it is about.
func warnings(f api.Forecast) []string {
	var out []string
	for _, w := range f.Warnings {
		out = append(out, strings.TrimSpace(w.Code+" "+w.Rule))
	}
	slices.Sort(out)
	return out
}
