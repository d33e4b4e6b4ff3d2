package web

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

func TestAMachinesPathIsTakenInAnyCase(t *testing.T) {
	const sub = "/api/machines/subscriptions/00000000-0000-0000-0000-00000000000A"
	const web01 = sub + "/resourceGroups/Rg-Demo/providers/Microsoft.Compute/virtualMachines/Web01"
	for _, c := range []struct{ name, path, want string }{
		{"as it is", web01, web01},
		{"all upper case", "/api/machines/SUBSCRIPTIONS/X/RESOURCEGROUPS/RG/PROVIDERS/MICROSOFT.COMPUTE/VIRTUALMACHINES/WEB01/protect",
			"/api/machines/subscriptions/X/resourceGroups/RG/providers/Microsoft.Compute/virtualMachines/WEB01/protect"},
		{"as Azure often has it", strings.Replace(web01, "resourceGroups", "resourcegroups", 1), web01},
		{"the rest keeps its case", strings.Replace(web01, "Microsoft.Compute", "microsoft.compute", 1) + "/Explain", web01 + "/Explain"},
		{"a name that is a fixed word", "/api/machines/Subscriptions/PROVIDERS/resourceGroups/RESOURCEGROUPS/providers/Microsoft.Compute/virtualMachines/VIRTUALMACHINES",
			"/api/machines/subscriptions/PROVIDERS/resourceGroups/RESOURCEGROUPS/providers/Microsoft.Compute/virtualMachines/VIRTUALMACHINES"},
		{"an escaped slash stays in its name", strings.Replace(sub, "subscriptions", "Subscriptions", 1) + "/resourceGroups/a%2Fb/providers/Microsoft.Compute/virtualMachines/%C3%84",
			sub + "/resourceGroups/a%2Fb/providers/Microsoft.Compute/virtualMachines/%C3%84"},
		{"another type", sub + "/RESOURCEGROUPS/rg/providers/Microsoft.Network/virtualMachines/x", sub + "/RESOURCEGROUPS/rg/providers/Microsoft.Network/virtualMachines/x"},
		{"too short", sub + "/RESOURCEGROUPS/rg", sub + "/RESOURCEGROUPS/rg"},
		{"the report", "/api/machines/report", "/api/machines/report"},
		{"another function", strings.Replace(web01, "machines", "policies", 1), strings.Replace(web01, "machines", "policies", 1)},
		{"the function in another case", strings.Replace(web01, "/api/machines", "/api/Machines", 1), strings.Replace(web01, "/api/machines", "/api/Machines", 1)},
	} {
		got, changed := spellMachinePath(c.path)
		if got != c.want || changed != (got != c.path) {
			t.Errorf("%s: %s (changed: %t), want %s", c.name, got, changed, c.want)
		}
	}
}

// TestOperationsSeeTheSpelledPath: what the mux reads, path and escaped path, agree.
func TestOperationsSeeTheSpelledPath(t *testing.T) {
	var seen *url.URL
	inner := spelled(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen = r.URL }))
	const path = "/api/machines/Subscriptions/s/resourcegroups/r%2Fx/providers/Microsoft.Compute/virtualMachines/%C3%84?port=1"
	r := httptest.NewRequest("GET", path, nil)
	inner.ServeHTTP(httptest.NewRecorder(), r)
	if want := "/api/machines/subscriptions/s/resourceGroups/r%2Fx/providers/Microsoft.Compute/virtualMachines/%C3%84"; seen.EscapedPath() != want || seen.RawQuery != "port=1" ||
		seen.Path != "/api/machines/subscriptions/s/resourceGroups/r/x/providers/Microsoft.Compute/virtualMachines/Ä" {
		t.Errorf("seen %s (%s)", seen, seen.Path)
	}
	if r.URL.RequestURI() != path {
		t.Errorf("the call itself was changed: %s", r.URL)
	}
}

// FuzzMachinePath: only letters' case ever changes, and only once.
func FuzzMachinePath(f *testing.F) {
	f.Add("/api/machines/SUBSCRIPTIONS/s/resourcegroups/r/providers/microsoft.compute/virtualmachines/v/explain")
	f.Add("/api/machines/subscriptions//resourceGroups//providers/Microsoft.Compute/virtualMachines/")
	f.Fuzz(func(t *testing.T, path string) {
		got, changed := spellMachinePath(path)
		if !strings.EqualFold(got, path) || changed != (got != path) || strings.Count(got, "/") != strings.Count(path, "/") {
			t.Fatalf("%q became %q", path, got)
		}
		if again, changed := spellMachinePath(got); changed {
			t.Fatalf("%q became %q and then %q", path, got, again)
		}
	})
}
