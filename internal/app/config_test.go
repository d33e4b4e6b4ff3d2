package app_test

import (
	"encoding/json"
	"log/slog"
	"os"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"jitgate/internal/access"
	"jitgate/internal/app"
	"jitgate/internal/nsg"
)

// example reads the example's settings and its comments.
func example(t *testing.T) (settings map[string]string, comments string) {
	t.Helper()
	text, err := os.ReadFile("../../local.settings.json.example")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Comments    []string `json:"//"`
		IsEncrypted bool
		Values      map[string]string
	}
	if err := json.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	return file.Values, strings.Join(file.Comments, "\n")
}

// TestTheExampleIsComplete: every setting is explained in the example, nothing in it is
// unknown, and it loads as it is.
func TestTheExampleIsComplete(t *testing.T) {
	settings, comments := example(t)
	known := map[string]bool{"FUNCTIONS_WORKER_RUNTIME": true, "AzureWebJobsStorage": true, "AZURE_CLIENT_ID": true}
	fields := reflect.TypeFor[app.Config]()
	for i := range fields.NumField() {
		name := fields.Field(i).Tag.Get("env")
		if name == "-" || name == "FUNCTIONS_CUSTOMHANDLER_PORT" {
			continue
		}
		known[name] = true
		if !strings.Contains(comments, name) {
			t.Errorf("%s is not explained in local.settings.json.example", name)
		}
	}
	for name := range settings {
		if !known[name] {
			t.Errorf("local.settings.json.example shows %s, which nothing reads", name)
		}
	}
	settings["FUNCTIONS_CUSTOMHANDLER_PORT"] = "7071"
	c, err := app.Load(settings)
	if err != nil {
		t.Fatalf("the example does not load: %v", err)
	}
	if time.Duration(c.Shortest) != 5*time.Minute || time.Duration(c.Longest) != 24*time.Hour || c.Priorities != (app.Band{First: 100, Last: 999}) {
		t.Errorf("read as %+v", c)
	}
}

// TestDenyRulesComeBehindTheAllowRules: in front of them no grant would open
// anything, and the last priority there is stays within Azure's.
func TestDenyRulesComeBehindTheAllowRules(t *testing.T) {
	settings, _ := example(t)
	settings["FUNCTIONS_CUSTOMHANDLER_PORT"] = "1"
	for text, want := range map[string]nsg.Bands{
		"100-999":   nsg.DefaultBands,
		"200-299":   {Allow: nsg.Band{First: 200, Last: 299}, Deny: nsg.Band{First: 1000, Last: 4096}},
		"100-1000":  {Allow: nsg.Band{First: 100, Last: 1000}, Deny: nsg.Band{First: 1001, Last: 4096}},
		"2000-4095": {Allow: nsg.Band{First: 2000, Last: 4095}, Deny: nsg.Band{First: 4096, Last: 4096}},
	} {
		settings["JITGATE_RULE_PRIORITIES"] = text
		settings["JITGATE_TABLES"] = "DefaultEndpointsProtocol=http;AccountName=a;AccountKey=a2V5;TableEndpoint=http://127.0.0.1:1/a;"
		c, err := app.Load(settings)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		a, err := app.New(c, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		if a.Service.Bands != want {
			t.Errorf("%s: %+v, want %+v", text, a.Service.Bands, want)
		}
	}
	settings["JITGATE_RULE_PRIORITIES"] = "100-4096"
	if _, err := app.Load(settings); err == nil {
		t.Error("a band that leaves the deny rules no priority is accepted")
	}
}

// TestThresholdsThatAreNeverReached: no more than so much is remembered.
func TestThresholdsThatAreNeverReached(t *testing.T) {
	for _, name := range []string{"JITGATE_SUSPECT_DENIALS", "JITGATE_SUSPECT_APPROVALS"} {
		settings, _ := example(t)
		settings["FUNCTIONS_CUSTOMHANDLER_PORT"] = "1"
		settings[name] = strconv.Itoa(access.MaxRemembered)
		if _, err := app.Load(settings); err != nil {
			t.Error(err)
		}
		settings[name] = strconv.Itoa(access.MaxRemembered + 1)
		if _, err := app.Load(settings); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAllFaultsOfTheSettingsAtOnce(t *testing.T) {
	_, err := app.Load(map[string]string{
		"JITGATE_SUBSCRIPTIONS": "x", "JITGATE_SHORTEST_DURATION": "soon", "JITGATE_RULE_PRIORITIES": "1-2",
		"JITGATE_SERVICEBUS": "a", "JITGATE_SERVICEBUS__fullyQualifiedNamespace": "b", "JITGATE_ARM_ENDPOINT": "nowhere",
	})
	if err == nil {
		t.Fatal("accepted")
	}
	for _, name := range []string{"FUNCTIONS_CUSTOMHANDLER_PORT", "JITGATE_TENANT_ID", "JITGATE_AUDIENCE", "JITGATE_SUBSCRIPTIONS", "JITGATE_SHORTEST_DURATION",
		"JITGATE_RULE_PRIORITIES", "JITGATE_SERVICEBUS__", "JITGATE_TABLES", "JITGATE_ARM_ENDPOINT"} {
		if !strings.Contains(err.Error(), name) {
			t.Errorf("%s is not named in: %v", name, err)
		}
	}
}
