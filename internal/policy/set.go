package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"jitgate/internal/armid"
)

// Set is the policies in force, in any order. Those that have nothing to do with
// a machine do no harm.
type Set []Policy

// Nearest finds the policy that governs a machine: one of its own, else of its
// resource group, its subscription, the tenant; at one scope the one that selects
// by the most tags. The refusal, if any, says why there is none: nothing covers
// the machine, or two cover it alike and neither may be guessed.
//
// A guardrail is never the nearest: if it could be, adding one might allow what
// was refused before.
func (s Set) Nearest(vm armid.ID, tags map[string]string) (Policy, []Refusal) {
	var best []Policy
	for _, p := range s.covering(vm, tags) {
		if p.Enforced {
			continue
		}
		if len(best) > 0 && nearness(p, best[0]) != 0 {
			break
		}
		best = append(best, p)
	}
	switch len(best) {
	case 0:
		return Policy{}, []Refusal{NoPolicy(vm)}
	case 1:
		return best[0], nil
	}
	words := make([]string, len(best))
	for i, p := range best {
		words[i] = p.Name()
	}
	return Policy{}, []Refusal{{
		Code:     AmbiguousCode,
		Sentence: fmt.Sprintf("The policies for %s cover %s alike, and it is not clear which is meant; its owners must give one of them more tags.", listed(words), nameOf(vm)),
		Policy:   best[0].Ref(),
	}}
}

// covering are the policies that apply to a machine, nearest first.
func (s Set) covering(vm armid.ID, tags map[string]string) Set {
	var out Set
	for _, p := range s {
		if p.Scope.Contains(vm) && p.matches(tags) {
			out = append(out, p)
		}
	}
	slices.SortStableFunc(out, func(a, b Policy) int {
		return cmp.Or(nearness(a, b), strings.Compare(a.Key(), b.Key()))
	})
	return out
}

// nearness puts the nearer policy first, and of two at one scope the one with
// more tags.
func nearness(a, b Policy) int {
	return cmp.Or(cmp.Compare(b.Scope.rank(), a.Scope.rank()), cmp.Compare(len(b.Tags), len(a.Tags)))
}

// applying are all policies that a machine's asks must pass: the nearest and
// every guardrail, nearest first.
func (s Set) applying(vm armid.ID, tags map[string]string) (nearest Policy, all Set, refusals []Refusal) {
	nearest, refusals = s.Nearest(vm, tags)
	if len(refusals) == 0 {
		all = append(all, nearest)
	}
	for _, p := range s.covering(vm, tags) {
		if p.Enforced {
			all = append(all, p)
		}
	}
	return nearest, all, refusals
}

// NeedsTags reports whether the tags of a machine can make a difference.
func (s Set) NeedsTags(vm armid.ID) bool {
	return slices.ContainsFunc(s, func(p Policy) bool {
		return p.Scope.Contains(vm) && (len(p.Tags) > 0 || slices.ContainsFunc(p.Conditions, Condition.tagged))
	})
}

func nameOf(vm armid.ID) string { return ScopeOf(vm).Name() }
