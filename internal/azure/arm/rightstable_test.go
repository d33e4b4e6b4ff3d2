package arm_test

import (
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/fake"
	"github.com/google/go-cmp/cmp"

	"jitgate/internal/azure/arm"
)

func TestParseRights(t *testing.T) {
	got, err := arm.ParseRights(` { "` + strings.ToUpper(askers) + `" : ["Jit.Request"], "` + masters + `":["Jit.Approve","Jit.Request"]} `)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][]string{askers: {"Jit.Request"}, masters: {"Jit.Approve", "Jit.Request"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if _, err := arm.NewRights(arm.Config{Credential: &fake.TokenCredential{}}, got); err != nil {
		t.Error(err)
	}
}

func TestParseRightsFaults(t *testing.T) {
	q := `"` + askers + `"`
	for text, want := range map[string][]string{
		``:                                      {"must be a JSON object"},
		`[]`:                                    {"must be a JSON object"},
		`null`:                                  {"must be a JSON object"},
		`{}`:                                    {"no role definition is named"},
		`{` + q + `: ["Jit.Request"]`:           {"not JSON"},
		`{` + q + `: ["Jit.Request"]} {}`:       {"behind the JSON object"},
		`{` + q + `: ["Jit.Request"]} x`:        {"behind the JSON object"},
		`{"Contributor": ["Jit.Request"]}`:      {`"Contributor": it must be the GUID`},
		`{"{` + askers + `}": ["Jit.Request"]}`: {"must be the GUID"},
		`{` + q + `: []}`:                       {"gives no app role"},
		`{` + q + `: null}`:                     {"gives no app role"},
		`{` + q + `: [null]}`:                   {`"" cannot be given`},
		`{` + q + `: "Jit.Request"}`:            {"must have a list of app roles"},
		`{` + q + `: [7]}`:                      {"must have a list of app roles"},
		`{` + q + `: ["Jit.Admin"]}`:            {`"Jit.Admin" cannot be given, only Jit.Request and Jit.Approve`},
		`{` + q + `: ["jit.request"]}`:          {`"jit.request" cannot be given`},
		`{` + q + `: ["Jit.Request", "Jit.Request"]}`:                      {"Jit.Request is named twice"},
		`{` + q + `: ["Jit.Request"], ` + q + `: ["Jit.Approve"]}`:         {"it is named twice"},
		`{` + q + `: [], ` + strings.ToUpper(q) + `: ["Jit.Approve"]}`:     {"gives no app role", "it is named twice"},
		`{"Owner": ["Jit.Audit", 3], ` + q + `: ["Jit.Audit"], "x": ["y"]`: {`"Owner": it must have a list`, `"Jit.Audit" cannot`, `"x": it must be the GUID`, `"y" cannot`, "not JSON"},
		`{"Owner": ["Jit.Audit"], ` + q + `: ["Jit.Decide.Workflow"]} x`:   {`"Owner": it must be`, `"Jit.Audit" cannot`, `"Jit.Decide.Workflow" cannot`, "behind"},
		`{"` + "\x1b[31m\n" + `": ["Jit.Request"]}`:                        {"not JSON"},
		`{"\u001b[31m\n": ["Jit.Request"]}`:                                {`"\x1b[31m\n": it must be`},
	} {
		got, err := arm.ParseRights(text)
		if err == nil || got != nil {
			t.Errorf("%s: %v, %v", text, got, err)
			continue
		}
		lines := strings.Split(err.Error(), "\n")
		if len(lines) != len(want) {
			t.Errorf("%s: %d faults: %v, want %d", text, len(lines), err, len(want))
		}
		for _, w := range want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %v, want %q in it", text, err, w)
			}
		}
	}
}

func TestNewRightsRefuses(t *testing.T) {
	good := arm.Config{Credential: &fake.TokenCredential{}}
	for name, test := range map[string]struct {
		config arm.Config
		table  map[string][]string
		want   string
	}{
		"no table":             {good, nil, "no role definition is named"},
		"a role by name":       {good, map[string][]string{"Owner": {"Jit.Request"}}, "GUID"},
		"an app role too many": {good, map[string][]string{askers: {"Jit.Request", "Jit.Admin"}}, `"Jit.Admin" cannot be given`},
		"one role twice":       {good, map[string][]string{askers: {"Jit.Request"}, strings.ToUpper(askers): {"Jit.Approve"}}, "named twice"},
		"no credential":        {arm.Config{}, table(), "credential"},
		"plain http":           {arm.Config{Credential: good.Credential, Endpoint: "http://example.com"}, table(), "https"},
	} {
		if r, err := arm.NewRights(test.config, test.table); r != nil || err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q in it", name, err, test.want)
		}
	}
}

func FuzzParseRights(f *testing.F) {
	f.Add(`{"` + askers + `":["Jit.Request","Jit.Approve"]}`)
	f.Add(`{"a":[1],"a":null} x`)
	f.Add(`{"a":[`)
	f.Fuzz(func(t *testing.T, text string) {
		got, err := arm.ParseRights(text)
		if (err == nil) != (len(got) > 0) {
			t.Fatalf("%v, %v", got, err)
		}
		if err == nil {
			if _, err := arm.NewRights(arm.Config{Credential: &fake.TokenCredential{}}, got); err != nil {
				t.Errorf("taken, then refused: %v", err)
			}
		}
	})
}
