package policy

import (
	"fmt"
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

// Requesters are people and applications of some tenants, and of these whoever is
// named; if nobody is, all of them.
type Requesters struct {
	Tenants []string `json:"tenants,omitempty"` // tenant ids, lower case, and [Home]; none = Home alone
	Principals
}

// Home stands for the installation's own tenant, whatever its id is.
const Home = "home"

// Subject is who asks or decides, as a checked token tells it.
type Subject struct {
	Object, Name  string // object id, and a name for people only
	Tenant        string // tenant id
	Guest         bool   // of another tenant than the installation's own
	Roles, Groups []string
	// GroupsIncomplete: in more groups than a token names. Groups is empty then and says
	// nothing, so that nothing may follow from who is not in it.
	GroupsIncomplete bool
	Application      bool // acts for itself, no person is signed in
}

// Match reports whether s is among those that r admits.
func (r Requesters) Match(s Subject) bool {
	home := len(r.Tenants) == 0 || slices.Contains(r.Tenants, Home)
	if !(home && !s.Guest) && !has(r.Tenants, s.Tenant) {
		return false
	}
	return r.empty() || r.names(s)
}

// Match reports whether s is of the home tenant and among p: only [Requesters] let in
// anybody else.
func (p Principals) Match(s Subject) bool { return !s.Guest && p.names(s) }

// names reports whether s is among p. A name never counts: anyone may choose one.
func (p Principals) names(s Subject) bool {
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

// String lists them for a sentence: "group 11111111-… (of tenant 22222222-… or the home
// tenant)", or "those of the home tenant".
func (r Requesters) String() string {
	words := make([]string, len(r.Tenants))
	for i, t := range r.Tenants {
		if words[i] = "tenant " + t; t == Home {
			words[i] = "the home tenant"
		}
	}
	of := "of " + enumerated(words, " or ")
	switch {
	case len(words) == 0:
		return r.Principals.String()
	case r.empty():
		return "those " + of
	}
	return fmt.Sprintf("%s (%s)", r.Principals, of)
}

// people are the users when only users are named: then it is known how many.
func (r *Requesters) people() ([]string, bool) {
	if r == nil || r.empty() {
		return nil, false
	}
	return r.Principals.people()
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
