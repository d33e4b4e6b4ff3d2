package host

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var busSettings = settings{"BUS": "Endpoint=sb://127.0.0.1:1;SharedAccessKeyName=n;SharedAccessKey=k;UseDevelopmentEmulator=true", "QUEUE": "requests"}

func queueFunction(extra string) string {
	return `{"bindings":[{"type":"serviceBusTrigger","direction":"in","name":"message","queueName":"%QUEUE%","connection":"BUS"` + extra + `}]}`
}

func TestLoadApp(t *testing.T) {
	root := stage(t, `{"version":"2.0","functionTimeout":"00:10:00","logging":{"logLevel":{"default":"Information"}},
	  "customHandler":{"description":{"defaultExecutablePath":"handler"},"enableForwardingHttpRequest":true},
	  "extensionBundle":{"id":"Microsoft.Azure.Functions.ExtensionBundle","version":"[4.*, 5.0.0)"},
	  "extensions":{"http":{"routePrefix":""},"ServiceBus":{"autoCompleteMessages":false,"maxConcurrentCalls":7,"maxConcurrentSessions":3,
	    "sessionIdleTimeout":"00:00:02","maxAutoLockRenewalDuration":"-00:00:00.0010000","maxMessageBatchSize":16}}}`,
		map[string]string{
			"Zulu":     open(`,"methods":["get","post"],"route":"api/z/{id?}"`),
			"alpha":    queueFunction(`,"isSessionsEnabled":true,"dataType":"binary","cardinality":"one","maxMessageBatchSize":16`),
			"beta":     timerFunction("%WHEN%", ""),
			"catchall": open(`,"route":"{*path}"`),
			"disabled": `{"disabled":true,"bindings":[{"type":"timerTrigger","direction":"in","name":"t","schedule":"01:00:00"}]}`,
			"docs":     queueFunction(""),
		})
	env := settings{"WHEN": "0 */5 * * * *", "AzureWebJobs.docs.Disabled": "true"}
	for k, v := range busSettings {
		env[k] = v
	}
	if err := os.Mkdir(filepath.Join(root, "nofunction"), 0o755); err != nil {
		t.Fatal(err)
	}
	a, err := loadApp(root, env)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, fn := range a.functions {
		names = append(names, fn.name)
		if fn.disabled != (fn.name == "disabled" || fn.name == "docs") {
			t.Errorf("%s: disabled %t", fn.name, fn.disabled)
		}
	}
	if diff := cmp.Diff([]string{"alpha", "beta", "catchall", "disabled", "docs", "Zulu"}, names); diff != "" {
		t.Errorf("functions, by name without case (-want +got):\n%s", diff)
	}
	want := busOptions{autoComplete: false, maxRenewal: -time.Millisecond, maxCalls: 7, maxSessions: 3, sessionIdle: 2 * time.Second}
	if a.bus != want || a.functionTimeout != 10*time.Minute || a.initTimeout != 30*time.Second {
		t.Errorf("bus %+v, timeouts %v %v", a.bus, a.functionTimeout, a.initTimeout)
	}
	if q := a.functions[0].queue; q.queue != "requests" || !q.sessions || !q.binary || !q.autoComplete || q.connection != env["BUS"] {
		t.Errorf("alpha %+v", q)
	}
	all := strings.Join(a.warnings, "\n")
	for _, warning := range []string{
		"function alpha: autoCompleteMessages is true",
		"function catchall: its route /{*path} matches /alpha",
	} {
		if !strings.Contains(all, warning) {
			t.Errorf("no warning %q in:\n%s", warning, all)
		}
	}
	if strings.Contains(all, "Zulu") {
		t.Errorf("a warning about a harmless route:\n%s", all)
	}
}

func TestLoadAppReportsAllFaults(t *testing.T) {
	root := stage(t, `{"version":"1.0","functionTimeout":"10","concurrency":{},"surprise":1,
	  "customHandler":{"enableProxyingHttpRequest":true,"description":{"defaultExecutablePath":"absent","arguments":"x"}},
	  "extensions":{"http":{"maxConcurrentRequests":1},"queues":{},"serviceBus":{"messageHandlerOptions":{},"maxConcurrentCalls":0,
	    "maxConcurrentCallsPerSession":2,"prefetchCount":9,"sessionIdleTimeout":"-00:00:01"}}}`,
		map[string]string{
			"1st":      timerFunction("0 0 0 * * *", ""),
			"broken":   `{"bindings":`,
			"none":     `{"bindings":[]}`,
			"two":      `{"bindings":[{"type":"timerTrigger","direction":"in","name":"a","schedule":"0 0 0 * * *"},{"type":"httpTrigger","direction":"in","name":"b"}]}`,
			"blob":     `{"bindings":[{"type":"blobTrigger","direction":"in","name":"b"}]}`,
			"queue":    `{"bindings":[{"type":"serviceBusTrigger","direction":"out","name":"m","queueName":"%NOQUEUE%","connection":"NOBUS","accessRights":"Manage","cardinality":"many","dataType":"stream"}]}`,
			"identity": `{"bindings":[{"type":"serviceBusTrigger","direction":"in","connection":"ID","name":"m"}]}`,
			"timer":    timerFunction("* * *", `,"runonstart":true`),
			"rare":     timerFunction("0 0 0 30 2 *", ""),
			"both":     timerFunction("0 0 0 1 * 1", ""),
			"webA":     open(`,"route":"x/{a}","methods":["GET"]`),
			"webB":     open(`,"route":"X/{b}/","methods":["POST","GET"]`),
			"webC":     open(`,"route":"X/{b}","methods":["PUT"],"authLevel":"user"`),
			"webD":     open(`,"route":"a-{b}"`),
			"noOutput": `{"bindings":[{"type":"httpTrigger","direction":"in","name":"req"}]}`,
			"retrying": `{"retry":{},"bindings":[{"type":"timerTrigger","direction":"in","name":"t","schedule":"0 0 0 * * *"}]}`,
		})
	_, err := loadApp(root, settings{"FUNCTIONS_WORKER_RUNTIME": "node", "AzureFunctionsJobHost__version": "2.0", "ID__fullyQualifiedNamespace": "ns"})
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		`version is "1.0"`, `functionTimeout: "10" is no time span`, "concurrency is not supported", `unknown property "surprise"`,
		"enableProxyingHttpRequest is not supported", "defaultExecutablePath", "arguments", "maxConcurrentRequests is not supported",
		`unknown property "queues"`, `unknown property "messageHandlerOptions"`, "maxConcurrentCalls is 0", "maxConcurrentCallsPerSession 2",
		"prefetchCount 9", "sessionIdleTimeout must be positive", "FUNCTIONS_WORKER_RUNTIME", "AzureFunctionsJobHost__version",
		"function 1st: the folder's name", "function broken", "function none: it has 0 triggers", "function two: it has 2 triggers",
		`type "blobTrigger" is unknown`, `direction is "out"`, "no app setting defines %NOQUEUE%", `connection "NOBUS"`, `unknown property "accessRights"`,
		"cardinality many is not supported", `dataType is "stream"`, "identity-based", "queueName is missing", `function timer: bindings[0]: schedule`, `unknown property "runonstart"`,
		"never fires", "day of month together", "functions webA and webB have the same route /api/X/{b}",
		`function webC: bindings[0]: authLevel "user"`, `"a-{b}" is not supported`, "function noOutput: an httpTrigger needs exactly one output",
		"retry is not supported", "enableForwardingHttpRequest", "no extensionBundle",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no fault %q", want)
		}
	}
	if t.Failed() {
		t.Logf("faults:\n%v", err)
	}
	if strings.Contains(err.Error(), "webC have the same") {
		t.Error("routes that share no method do not collide")
	}
}

func TestLoadAppWithoutAnything(t *testing.T) {
	if _, err := loadApp(t.TempDir(), nil); err == nil || !strings.Contains(err.Error(), "host.json must lie at the root") {
		t.Errorf("no host.json: %v", err)
	}
	if _, err := loadApp(stage(t, plainHostJSON, nil), nil); err == nil || !strings.Contains(err.Error(), "no function found") {
		t.Errorf("no function: %v", err)
	}
	if _, err := loadApp(stage(t, `{"version":"2.0"}`, map[string]string{"a": open("")}), nil); err == nil || !strings.Contains(err.Error(), "defaultExecutablePath is missing") {
		t.Errorf("no handler: %v", err)
	}
}

func TestParseTimeSpan(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"00:05:00": 5 * time.Minute, "1.02:03:04.5000000": 26*time.Hour + 3*time.Minute + 4500*time.Millisecond,
		"-00:00:00.0010000": -time.Millisecond, "23:59:59": 24*time.Hour - time.Second,
	} {
		if got, err := parseTimeSpan(text); err != nil || got != want {
			t.Errorf("parseTimeSpan(%q) = %v, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "10", "24:00:00", "00:60:00", "00:00:60", "5m", "00:05", "1:2:3:4", "99999.00:00:00"} {
		if got, err := parseTimeSpan(text); err == nil {
			t.Errorf("parseTimeSpan(%q) = %v, want an error", text, got)
		}
	}
}

func TestParseSchedule(t *testing.T) {
	from := time.Date(2026, 3, 1, 12, 0, 30, 0, time.UTC) // a Sunday
	for text, want := range map[string]time.Time{
		"0 */5 * * * *":    time.Date(2026, 3, 1, 12, 5, 0, 0, time.UTC),
		"*/5 * * * *":      time.Date(2026, 3, 1, 12, 5, 0, 0, time.UTC),
		"30 0 9 * * 1-5":   time.Date(2026, 3, 2, 9, 0, 30, 0, time.UTC),
		"0 0 9 * * Mon":    time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC),
		"0 0 0 1 Apr *":    time.Date(2026, 4, 1, 0, 0, 0, 0, time.UTC),
		"01:30:00":         from.Add(90 * time.Minute),
		"*/10 * * * * *":   from.Add(10 * time.Second),
		"  0 0 13 * * *  ": time.Date(2026, 3, 1, 13, 0, 0, 0, time.UTC),
	} {
		s, err := parseSchedule(text)
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		if got := s.Next(from); !got.Equal(want) {
			t.Errorf("%q: next %v, want %v", text, got, want)
		}
	}
	for _, text := range []string{"", "@hourly", "TZ=UTC 0 0 0 * * *", "0 0 0 ? * *", "0 0 0 0 0", "00:00:00", "61 * * * * *", "* * * * * * *"} {
		if _, err := parseSchedule(text); err == nil {
			t.Errorf("%q: want an error", text)
		}
	}
}

func TestRoutes(t *testing.T) {
	for _, tt := range []struct{ template, matches, misses string }{
		{"api/hello", "/api/hello /API/Hello/ /api/hello/", "/ /api /api/hello/x /hello"},
		{"api/vms/{id}", "/api/vms/7 /api/vms/a%20b", "/api/vms /api/vms/ /api/vms/7/x"},
		{"api/vms/{id:int}/x", "/api/vms/7/x /api/vms/-7/X", "/api/vms/a/x /api/vms/7"},
		{"api/vms/{id?}", "/api/vms /api/vms/7", "/api /api/vms/7/8"},
		{"api/{*path}", "/api /api/ /api/a/b/c", "/ /apis"},
		{"{*path}", "/ /a /a/b", ""},
		{"{a}/{b:guid}", "/x/0f8fad5b-d9cb-469f-a165-70867728950e", "/x/7"},
		{"{a:alpha}", "/abc", "/a1 /"},
		{"", "/", "/a"},
	} {
		r, err := parseRoute(tt.template)
		if err != nil {
			t.Errorf("%q: %v", tt.template, err)
			continue
		}
		for _, path := range strings.Fields(tt.matches) {
			if !r.match(pathParts(path)) {
				t.Errorf("%q does not match %s", tt.template, path)
			}
		}
		for _, path := range strings.Fields(tt.misses) {
			if r.match(pathParts(path)) {
				t.Errorf("%q matches %s", tt.template, path)
			}
		}
	}
	for _, template := range []string{"/api", "a//b", "a/{*x}/b", "a/{x?}/b", "a/{x=1}", "a/{x:regex(.)}", "a/x{y}", "~/a", "a/{1}"} {
		if _, err := parseRoute(template); err == nil {
			t.Errorf("%q: want an error", template)
		}
	}
}
