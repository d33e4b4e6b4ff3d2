package armid_test

import (
	"errors"
	"strings"
	"testing"

	"jitgate/internal/armid"
)

const sub = "/subscriptions/00000000-0000-0000-0000-000000000001"
const vm = sub + "/resourceGroups/rg-demo/providers/Microsoft.Compute/virtualMachines/web01"

func TestParse(t *testing.T) {
	for text, wantType := range map[string]string{
		sub:                              "",
		sub + "/resourceGroups/rg_1.(x)": "",
		vm:                               armid.VirtualMachine,
		strings.ToUpper(vm):              strings.ToUpper(armid.VirtualMachine),
		sub + "/resourceGroups/r/providers/Microsoft.Network/virtualNetworks/v/subnets/s": "Microsoft.Network/virtualNetworks/subnets",
	} {
		id, err := armid.Parse(text)
		if err != nil || id.String() != text || id.Type() != wantType {
			t.Errorf("Parse(%q) = %v type %q, %v", text, id, id.Type(), err)
		}
	}
	for _, text := range []string{"", "web01", "/subscriptions/x", sub + "/", sub + "/resourceGroups/", sub + "/resourceGroups/r/providers/Microsoft.Compute",
		vm + "/", vm + "/extensions", strings.Replace(vm, "web01", "we b01", 1), strings.Replace(vm, "web01", "", 1), strings.Replace(vm, "web01", "-web01", 1),
		vm + "?x=1", vm + "#", "https://management.azure.com" + vm, vm + strings.Repeat("/a/b", 300)} {
		if _, err := armid.Parse(text); !errors.Is(err, armid.ErrInvalid) {
			t.Errorf("Parse(%q) = %v, want ErrInvalid", text, err)
		}
	}
	if _, err := armid.ParseType(sub, armid.VirtualMachine); !errors.Is(err, armid.ErrInvalid) {
		t.Errorf("a subscription passed as a VM: %v", err)
	}
}

func TestCaseDoesNotMatter(t *testing.T) {
	a, b := armid.MustParse(vm), armid.MustParse(strings.ToUpper(vm))
	if !a.Equal(b) || a.Key() != b.Key() || !a.Within(b) {
		t.Error("ids that differ only in case must be the same machine")
	}
	if len(a.Key()) != 64 {
		t.Errorf("key has %d characters", len(a.Key()))
	}
}

func TestScopes(t *testing.T) {
	id := armid.MustParse(vm)
	scopes := id.Scopes()
	if len(scopes) != 3 || !scopes[0].Equal(id) || scopes[1].String() != sub+"/resourceGroups/rg-demo" || scopes[2].String() != sub {
		t.Errorf("scopes = %v", scopes)
	}
	for _, s := range scopes {
		if !id.Within(s) {
			t.Errorf("%v is not within %v", id, s)
		}
		reparsed, err := armid.Parse(s.String())
		if err != nil || reparsed.Key() != s.Key() {
			t.Errorf("scope %v does not parse to itself: %v", s, err)
		}
	}
	for _, other := range []string{sub + "/resourceGroups/rg-demo2", sub + "/resourceGroups/rg", strings.Replace(vm, "web01", "web0", 1), strings.Replace(sub, "1", "2", 1)} {
		if id.Within(armid.MustParse(other)) {
			t.Errorf("%v must not lie in %v", id, other)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(vm)
	f.Add(sub)
	f.Fuzz(func(t *testing.T, text string) {
		id, err := armid.Parse(text)
		if err != nil {
			return
		}
		again, err := armid.Parse(id.String())
		if err != nil || again.Key() != id.Key() || strings.ContainsAny(id.Name(), "/\\#?") {
			t.Fatalf("%q: %v %v", text, again, err)
		}
	})
}
