package nsg

import (
	"slices"
	"strings"
)

// WithoutGrants gives the group as it would be if every grant had ended: without
// the rules whose names [ParseAllowName] accepts. g is left alone.
func (g Group) WithoutGrants() Group {
	g.Rules = slices.DeleteFunc(slices.Clone(g.Rules), func(r Rule) bool {
		_, _, ours := ParseAllowName(r.Name)
		return ours
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
