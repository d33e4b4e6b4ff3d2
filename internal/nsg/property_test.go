package nsg

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

func TestPlanIsStableAndKnowsNoOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawScene(t)
		before := Group{ID: s.group.ID, Rules: slices.Clone(s.group.Rules), Defaults: s.group.Defaults, FlushConnection: s.group.FlushConnection}
		plan := MakePlan(s.group, s.desired, s.bands)
		after := plan.Apply(s.group)
		if diff := cmp.Diff(before, s.group); diff != "" {
			t.Fatalf("the group handed in was changed: %s", diff)
		}
		if diff := cmp.Diff(s.group.Defaults, after.Defaults); diff != "" {
			t.Fatalf("default rules changed: %s", diff)
		}
		if s.desired.Flush != nil && after.FlushConnection != *s.desired.Flush {
			t.Fatalf("the flush is %v", after.FlushConnection)
		}
		again := MakePlan(after, s.desired, s.bands)
		if !again.Empty() {
			t.Fatalf("planned again it still has to do %+v", again)
		}
		if diff := cmp.Diff(plan.Unplaced, again.Unplaced); diff != "" {
			t.Fatalf("planned again it complains differently: %s", diff)
		}

		shuffled, d := s.group, s.desired
		shuffled.Rules = rapid.Permutation(s.group.Rules).Draw(t, "shuffled rules")
		d.Open = rapid.Permutation(d.Open).Draw(t, "shuffled wants")
		d.Closed = rapid.Permutation(d.Closed).Draw(t, "shuffled covers")
		d.Away = rapid.Permutation(d.Away).Draw(t, "shuffled away")
		d.Released = rapid.Permutation(d.Released).Draw(t, "shuffled releases")
		for i := range d.Released {
			d.Released[i].Back = rapid.Permutation(d.Released[i].Back).Draw(t, "shuffled back")
		}
		if diff := cmp.Diff(plan, MakePlan(shuffled, d, s.bands), cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("another order gives another plan: %s", diff)
		}
	})
}

func TestPlanOpensWhatIsWantedAndNothingElse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawScene(t)
		plan := MakePlan(s.group, s.desired, s.bands)
		after := plan.Apply(s.group)
		ours, _ := split(after)
		unplaced := map[string]bool{}
		for _, u := range plan.Unplaced {
			unplaced[u.Name] = true
		}
		for _, w := range s.desired.Open {
			r, there := ours[w.Name]
			there = there && !r.denies()
			if there == unplaced[w.Name] {
				t.Fatalf("%s: there is %v, unplaced is %v", w.Name, there, unplaced[w.Name])
			}
			if !there {
				continue
			}
			if !r.SameMeaning(ruleFor(t, w, 0)) {
				t.Fatalf("not what was wanted: %+v", r)
			}
			if !s.bands.Allow.has(r.Priority) {
				t.Fatalf("%s lies at %d, outside %v", r.Name, r.Priority, s.bands.Allow)
			}
			delete(ours, w.Name)
			for _, port := range w.Ports {
				v := after.Decide(Packet{Source: w.Source.Addr(), Destination: w.Destinations[0], Port: port, Protocol: TCP}, home)
				if v.Rule.Name != w.Name && v.Rule.Priority > r.Priority {
					t.Fatalf("the packet of %s at %d is decided by %s at %d", w.Name, r.Priority, v.Rule.Name, v.Rule.Priority)
				}
			}
		}
		for _, r := range ours {
			if !r.denies() {
				t.Fatalf("nobody wants %+v", r)
			}
		}
	})
}

func TestPlanLeavesForeignRulesAlone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawScene(t)
		after := MakePlan(s.group, s.desired, s.bands).Apply(s.group)
		_, before := split(s.group)
		_, foreign := split(after)
		var back []Rule
		for _, r := range s.desired.Released {
			back = append(back, r.Back...)
		}
		is := func(r Rule) func(Rule) bool {
			return func(o Rule) bool { return o.Name == r.Name && o.Priority == r.Priority && o.SameMeaning(r) }
		}
		for name, r := range before {
			left, there := foreign[name]
			if away := slices.ContainsFunc(s.desired.Away, is(r)); there == away {
				t.Fatalf("%s: to be away is %v, there is %v", name, away, there)
			}
			if diff := cmp.Diff(r, left); there && diff != "" {
				t.Fatalf("%s changed: %s", name, diff)
			}
		}
		for name, r := range foreign {
			if _, was := before[name]; was {
				continue
			}
			if !slices.ContainsFunc(back, func(o Rule) bool { return cmp.Equal(o, r) }) {
				t.Fatalf("%+v comes from nowhere", r)
			}
		}
	})
}

// TestPlanClosesUntilReleased checks every deny rule against what is known to be
// wanted and released, told apart by what the plan says it could not bring back.
func TestPlanClosesUntilReleased(t *testing.T) {
	happened, hindered, kept, moved := 0, 0, 0, 0
	rapid.Check(t, func(t *rapid.T) {
		s := drawScene(t)
		plan := MakePlan(s.group, s.desired, s.bands)
		after := plan.Apply(s.group)
		unplaced := map[string]bool{}
		for _, u := range plan.Unplaced {
			unplaced[u.Name] = true
		}
		was, is := named(s.group.Rules), named(after.Rules)
		wanted, freed, reserved := coverage{}, coverage{}, map[int]bool{}
		for _, c := range s.desired.Closed {
			wanted.add(c)
		}
		for _, r := range s.desired.Away {
			reserved[r.Priority] = true
		}
		for _, released := range s.desired.Released {
			to := freed
			for _, r := range released.Back {
				reserved[r.Priority] = true
				if unplaced[r.Name] {
					to = wanted
				}
			}
			for _, c := range released.Covers {
				to.add(c)
			}
			for _, r := range released.Back {
				away := slices.ContainsFunc(s.desired.Away, r.stands)
				before, there := was[r.Name]
				back, now := is[r.Name]
				switch {
				case away && now && back.stands(r):
					t.Fatalf("%s is back and must be away", r.Name)
				case unplaced[r.Name] || !away && !(now && back.stands(r)):
					hindered++
					if (there != now || there && !cmp.Equal(before, back)) && !slices.ContainsFunc(s.desired.Away, before.stands) {
						t.Fatalf("%s of a hindered release changed", r.Name)
					}
				case !away && !there:
					happened++
					if diff := cmp.Diff(r, back); diff != "" {
						t.Fatalf("not back as it was: %s", diff)
					}
				}
				if !away && !unplaced[r.Name] && !(now && back.stands(r)) && !slices.ContainsFunc(released.Back, func(o Rule) bool { return unplaced[o.Name] }) {
					t.Fatalf("%s does not come back and nobody says why", r.Name)
				}
			}
		}
		for key, addresses := range wanted {
			for a := range addresses {
				if !closes(after, key, a) && !unplaced[key.name()] {
					t.Fatalf("%s is not closed by %s", a, key.name())
				}
			}
			r := is[key.name()]
			if unplaced[key.name()] {
				if old := was[key.name()]; old.denies() && !cmp.Equal(old, r) {
					t.Fatalf("%s has no room and changed all the same", key.name())
				}
				continue
			}
			if !r.SameMeaning(key.rule(key.name(), destinations(&r, key.v6, nil, nil))) || !s.bands.Deny.has(r.Priority) || reserved[r.Priority] {
				t.Fatalf("not what closes %v: %+v", key, r)
			}
			lowest := r.Priority
			for p := s.bands.Deny.First; p < lowest; p++ {
				if !reserved[p] && !slices.ContainsFunc(after.Rules, func(o Rule) bool { return o.Direction == Inbound && o.Priority == p }) {
					lowest = p
				}
			}
			// What may let in what the rule closes, as Touches has it.
			closing := Cover{Addresses: destinations(&r, key.v6, nil, nil)}
			runs, _ := portSet(r.DestinationPorts)
			for _, run := range runs {
				closing.Ports = append(closing.Ports, PortRange{key.protocol, run.first, run.last})
			}
			overtaking := func(first, last int) func(Rule) bool {
				return func(o Rule) bool {
					return !o.ours() && !o.denies() && first < o.Priority && o.Priority < last && o.Touches(closing)
				}
			}
			old, stood := was[r.Name]
			stood = stood && old.Direction == Inbound && s.bands.Deny.has(old.Priority) && !reserved[old.Priority]
			switch {
			case stood && old.Priority == r.Priority:
				kept++
				if i := slices.IndexFunc(after.Rules, overtaking(lowest, r.Priority)); i >= 0 {
					t.Fatalf("%s stays at %d behind %s, %d is free", r.Name, r.Priority, after.Rules[i].Name, lowest)
				}
			// The place of one that was made to allow may have gone to another.
			case stood && old.denies() && (old.Priority < r.Priority || !slices.ContainsFunc(after.Rules, overtaking(r.Priority, old.Priority))):
				t.Fatalf("%s moved from %d to %d for nothing", r.Name, old.Priority, r.Priority)
			case lowest < r.Priority:
				t.Fatalf("%s was put at %d, %d is free", r.Name, r.Priority, lowest)
			case stood:
				moved++
			}
		}
		for _, r := range s.group.Rules {
			if !r.ours() || !r.denies() {
				continue
			}
			if slices.ContainsFunc(s.desired.Open, func(w Want) bool { return w.Name == r.Name }) {
				continue
			}
			untouched := true // a rule that a release speaks of may have to make way for what comes back
			for key, addresses := range freed {
				if r.Name != key.name() {
					continue
				}
				untouched = false
				for a := range addresses {
					if !wanted[key][a] && closes(after, key, a) && !unplaced[r.Name] {
						t.Fatalf("%s is still closed by %s", a, r.Name)
					}
				}
			}
			for key := range wanted {
				untouched = untouched && r.Name != key.name()
			}
			if diff := cmp.Diff(r, is[r.Name]); untouched && diff != "" {
				t.Fatalf("nobody spoke of %s: %s", r.Name, diff)
			}
			left := is[r.Name]
			for _, text := range r.Destinations {
				a, single := singleAddress(text)
				if single && !slices.ContainsFunc(left.Destinations, func(text string) bool { b, _ := singleAddress(text); return a == b }) && !freedOf(freed, r.Name)[a] {
					t.Fatalf("%s lost %s that nobody released", r.Name, text)
				}
			}
		}
		for _, r := range plan.Put {
			_, _, grant := ParseAllowName(r.Name)
			if grant && reserved[r.Priority] {
				t.Fatalf("%s takes the priority of a rule that is to come back", r.Name)
			}
		}
	})
	if !testing.Short() && !t.Failed() && (happened == 0 || hindered == 0 || kept == 0 || moved == 0) {
		t.Errorf("%d rules came back, %d could not, %d deny rules stayed, %d moved: that proves little", happened, hindered, kept, moved)
	}
}

// TestPlanCanBeWrittenStepByStep writes one change at a time, as ARM is asked
// to: it refuses a rule whose name or priority another one holds at that moment.
func TestPlanCanBeWrittenStepByStep(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawScene(t)
		plan := MakePlan(s.group, s.desired, s.bands)
		g := s.group
		var steps []Plan
		for _, name := range plan.Delete {
			steps = append(steps, Plan{Delete: []string{name}})
		}
		for _, r := range plan.Put {
			steps = append(steps, Plan{Put: []Rule{r}})
		}
		for _, step := range steps {
			before := len(g.Rules)
			g = step.Apply(g)
			if len(step.Delete) > 0 && len(g.Rules) != before-1 {
				t.Fatalf("%s is deleted and is not there", step.Delete)
			}
			names, priorities := map[string]bool{}, map[string]bool{}
			for _, r := range g.Rules {
				name, priority := strings.ToLower(r.Name), fmt.Sprint(r.Direction, r.Priority)
				if names[name] || priorities[priority] {
					t.Fatalf("%s at %s meets another rule", name, priority)
				}
				names[name], priorities[priority] = true, true
			}
			if len(g.Rules) > MaxRules {
				t.Fatalf("%d rules", len(g.Rules))
			}
		}
		if diff := cmp.Diff(named(plan.Apply(s.group).Rules), named(g.Rules)); diff != "" {
			t.Fatalf("step by step it ends elsewhere: %s", diff)
		}
	})
}

// A machine is protected and released again while others come and go. Every rule
// of others is then what it was, to the byte, and so is the whole group if it was
// alone.
func TestProtectingAndReleasingLeavesNoTrace(t *testing.T) {
	removed := 0
	rapid.Check(t, func(t *rapid.T) {
		g := Group{Defaults: defaults()}
		priorities := rapid.Permutation(slices.Concat(seq(100, 106), seq(1000, 1012))).Draw(t, "priorities")
		for i := range rapid.IntRange(0, 9).Draw(t, "foreign") {
			r := drawForeign(t, fmt.Sprintf("theirs-%d", i))
			r.Priority = priorities[i]
			r.Direction = rapid.SampledFrom([]Direction{Inbound, Inbound, Inbound, Outbound}).Draw(t, "direction")
			g.Rules = append(g.Rules, r)
		}
		before := g
		c := drawCover(t, 1)
		away, _ := g.Opens(c, rapid.Bool().Draw(t, "alone"))
		removed += len(away)

		var grants []Want
		var others []Cover
		step := func(d Desired) Plan {
			if rapid.Bool().Draw(t, "grants change") {
				grants = nil
				for i := range rapid.IntRange(0, 8).Draw(t, "grants") {
					grants = append(grants, want(i))
				}
			}
			d.Open = grants
			d.Closed = append(d.Closed, others...)
			plan := MakePlan(g, d, DefaultBands)
			g = plan.Apply(g)
			return plan
		}
		company := rapid.Bool().Draw(t, "company")
		for range rapid.IntRange(1, 3).Draw(t, "times") {
			if company {
				others = append(others, drawCover(t, rapid.IntRange(2, 5).Draw(t, "other")))
			}
			step(Desired{Closed: []Cover{c}, Away: away})
		}
		for _, r := range away {
			if hasFolded(g, r.Name) {
				t.Fatalf("%s is still there", r.Name)
			}
		}
		for range rapid.IntRange(1, 2).Draw(t, "times released") {
			if plan := step(Desired{Released: []Release{{Covers: []Cover{c}, Back: away}}}); len(plan.Unplaced) > 0 {
				t.Fatalf("%+v", plan.Unplaced)
			}
		}
		if company {
			_, foreign := split(g)
			g.Rules = nil
			for _, r := range foreign {
				g.Rules = append(g.Rules, r)
			}
		} else {
			grants = nil
			g = MakePlan(g, Desired{}, DefaultBands).Apply(g)
		}
		if diff := cmp.Diff(named(before.Rules), named(g.Rules)); diff != "" {
			t.Fatalf("traces are left: %s", diff)
		}
	})
	if !testing.Short() && !t.Failed() && removed == 0 {
		t.Error("nothing was ever removed: that proves little")
	}
}
