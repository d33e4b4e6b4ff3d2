package nsg

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWithoutGrants(t *testing.T) {
	g := Group{ID: "g", Defaults: defaults(), Rules: []Rule{
		in("theirs", 300, Allow, TCP, "*", "*", "443"),
		in(AllowName(request, 1), 100, Allow, TCP, "203.0.113.7", "10.0.0.5", "22"),
		in(DenyPrefix+"0123456789ab", 1000, Deny, AnyProtocol, "*", "10.0.0.5", "22"),
		in(AllowName(request, 2), 101, Allow, TCP, "203.0.113.8", "10.0.0.5", "22"),
		in("Jitgate-"+request+"-1", 102, Allow, TCP, "*", "*", "22"),
	}}
	if diff := cmp.Diff([]string{"theirs", DenyPrefix + "0123456789ab", "Jitgate-" + request + "-1"}, names(g.WithoutGrants().Rules)); diff != "" {
		t.Error(diff)
	}
	if len(g.Rules) != 5 || g.Rules[1].Name != AllowName(request, 1) || g.WithoutGrants().ID != "g" || len(g.WithoutGrants().Defaults) != 4 {
		t.Errorf("the group was changed: %+v", g)
	}
}

func TestDefenderMade(t *testing.T) {
	const hex = "0123456789abcdef0123456789abcdef"
	for name, want := range map[string]bool{
		"SecurityCenter-JITRule_-1234567_" + hex:         true,
		"SecurityCenter-JITRule-1234567-" + hex:          true,
		"MicrosoftDefenderForCloud-JITRule_99_" + hex:    true,
		"microsoftdefenderforcloud-jitrule-99-" + hex:    true,
		"SECURITYCENTER-JITRULE-1-" + hex:                true,
		"SecurityCenter-JIT":                             false,
		"my-SecurityCenter-JITRule-1":                    false,
		"MicrosoftDefenderForCloud":                      false,
		"jitgate-0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b-1": false,
		"": false,
	} {
		if got := DefenderMade(name); got != want {
			t.Errorf("%q: %v", name, got)
		}
	}
}
