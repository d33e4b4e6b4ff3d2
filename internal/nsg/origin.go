package nsg

import (
	"slices"
	"strings"
)

// Without gives the group without the rules of these grants that stand as they are
// wanted, at whatever priority. One that only bears such a name, or that somebody
// has widened, opens more than was granted and stays. g is left alone.
func (g Group) Without(wants []Want) Group {
	granted := make(map[string][]Rule, len(wants))
	for _, w := range wants {
		if r, fault := w.rule(); fault == "" {
			granted[w.Name] = append(granted[w.Name], r)
		}
	}
	// ARM keeps the case of names: in other letters the rule is somebody else's.
	g.Rules = slices.DeleteFunc(slices.Clone(g.Rules), func(r Rule) bool {
		return slices.ContainsFunc(granted[r.Name], r.SameMeaning)
	})
	return g
}

// DefenderMade reports whether a rule of this name is one that Defender for
// Cloud's own just-in-time access writes, deny or allow. The prefix changed in
// 2023 (Defender release notes), older rules keep the older one; what follows it
// differs by kind and is not looked at.
func DefenderMade(name string) bool {
	name = strings.ToLower(name)
	return strings.HasPrefix(name, "securitycenter-jitrule") || strings.HasPrefix(name, "microsoftdefenderforcloud-jitrule")
}
