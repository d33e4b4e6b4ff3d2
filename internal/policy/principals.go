package policy

import (
	"slices"
	"strings"
)

// Principals names people and applications. One match suffices; the zero value
// matches nobody.
type Principals struct {
	Roles        []string `json:"roles,omitempty"`        // values of app roles, compared exactly
	Groups       []string `json:"groups,omitempty"`       // object ids, lower case
	Users        []string `json:"users,omitempty"`        // object ids, lower case
	Applications []string `json:"applications,omitempty"` // object ids of service principals, lower case
}

// Subject is who asks or decides, as a checked token tells it.
type Subject struct {
	Object, Name  string // object id, and a name for people only
	Roles, Groups []string
	// GroupsIncomplete: in more groups than a token names. Groups is empty then and says
	// nothing, so that nothing may follow from who is not in it.
	GroupsIncomplete bool
	Application      bool // acts for itself, no person is signed in
}

// Match reports whether s is among p. A name never counts: anyone may choose one.
func (p Principals) Match(s Subject) bool {
	ids := p.Users
	if s.Application {
		ids = p.Applications
	}
	return has(ids, s.Object) ||
		slices.ContainsFunc(s.Roles, func(role string) bool { return slices.Contains(p.Roles, role) }) ||
		slices.ContainsFunc(s.Groups, func(group string) bool { return has(p.Groups, group) })
}

// has finds an object id.
func has(list []string, id string) bool {
	return id != "" && slices.ContainsFunc(list, func(x string) bool { return strings.EqualFold(x, id) })
}

// String lists them for a sentence: "role Jit.Oncall, group 11111111-… or user
// 22222222-…".
func (p Principals) String() string {
	var words []string
	for _, kind := range []struct {
		word string
		list []string
	}{{"role ", p.Roles}, {"group ", p.Groups}, {"user ", p.Users}, {"application ", p.Applications}} {
		for _, x := range kind.list {
			words = append(words, kind.word+x)
		}
	}
	return enumerated(words, " or ")
}

// people are the users when only users are named: then it is known how many.
func (p *Principals) people() ([]string, bool) {
	if p == nil || len(p.Roles)+len(p.Groups)+len(p.Applications) > 0 {
		return nil, false
	}
	return p.Users, true
}

func (p Principals) empty() bool {
	return len(p.Roles)+len(p.Groups)+len(p.Users)+len(p.Applications) == 0
}

func (p Principals) equal(o Principals) bool {
	same := func(a, b []string) bool {
		return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
	}
	return same(p.Roles, o.Roles) && same(p.Groups, o.Groups) && same(p.Users, o.Users) && same(p.Applications, o.Applications)
}
