package servicebus_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"jitgate/internal/local/servicebus"
)

// file wraps queues into an otherwise correct file.
func file(queues string) string {
	return `{"UserConfig": {"Namespaces": [{"Name": "sbemulatorns", "Queues": [` + queues + `], "Topics": []}], "Logging": {"Type": "File"}}}`
}

func TestParseConfig(t *testing.T) {
	got, err := servicebus.ParseConfig([]byte(file(`
		{"Name": "requests"},
		{"Name": "a/b.c_d-e", "Properties": {"DeadLetteringOnMessageExpiration": true, "DefaultMessageTimeToLive": "PT5M",
		 "DuplicateDetectionHistoryTimeWindow": "PT1M30S", "ForwardDeadLetteredMessagesTo": "", "ForwardTo": "", "LockDuration": "PT5S",
		 "MaxDeliveryCount": 10, "RequiresDuplicateDetection": true, "RequiresSession": true}}`)))
	if err != nil {
		t.Fatal(err)
	}
	want := servicebus.Config{Queues: []servicebus.Queue{
		{Name: "requests", LockDuration: time.Minute, MaxDeliveryCount: 3, DefaultMessageTimeToLive: time.Hour,
			DuplicateDetectionHistoryTimeWindow: 20 * time.Second},
		{Name: "a/b.c_d-e", LockDuration: 5 * time.Second, MaxDeliveryCount: 10, DefaultMessageTimeToLive: 5 * time.Minute,
			DeadLetteringOnMessageExpiration: true, RequiresSession: true, RequiresDuplicateDetection: true,
			DuplicateDetectionHistoryTimeWindow: 90 * time.Second},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if _, err := servicebus.New(servicebus.Options{Config: got}); err != nil {
		t.Error(err)
	}
}

func TestConfigFaults(t *testing.T) {
	queue := func(properties string) string { return file(`{"Name": "q", "Properties": {` + properties + `}}`) }
	const q = "UserConfig.Namespaces[0].Queues[0]"
	for name, c := range map[string]struct {
		in   string
		want []string // each must be in the error
	}{
		"not json":          {`{`, []string{"unexpected EOF"}},
		"two objects":       {file("") + "{}", []string{"follows"}},
		"not an object":     {`[]`, []string{"$: must be an object"}},
		"empty":             {`{}`, []string{"$.UserConfig: is missing"}},
		"nothing inside":    {`{"UserConfig": {}}`, []string{"UserConfig.Logging: is missing", "UserConfig.Namespaces: is missing"}},
		"no namespace":      {`{"UserConfig": {"Namespaces": [], "Logging": {"Type": "Console"}}}`, []string{"exactly one namespace, not 0"}},
		"bare namespace":    {`{"UserConfig": {"Namespaces": [{}], "Logging": {}}}`, []string{"[0].Name: is missing", "[0].Queues: is missing", "[0].Topics: is missing", "Logging.Type: is missing"}},
		"other namespace":   {strings.Replace(file(""), "sbemulatorns", "mine", 1), []string{`must be "sbemulatorns", not "mine"`}},
		"other logging":     {strings.Replace(file(""), "File", "Syslog", 1), []string{"File | Console | File,Console", "Syslog"}},
		"topics":            {strings.Replace(file(""), `"Topics": []`, `"Topics": [{"Name": "t"}]`, 1), []string{"topics are not supported"}},
		"too many":          {file(strings.Repeat(`{"Name": "q"},`, 50) + `{"Name": "q"}`), []string{"51 queues", "used twice"}},
		"same name":         {file(`{"Name": "q"}, {"Name": "Q"}`), []string{"Queues[1].Name", "used twice"}},
		"bad names":         {file(`{"Name": "-q"}, {"Name": "q/"}, {"Name": ""}, {"Name": "a b"}, {"Name": 1}, {}`), []string{"Queues[0].Name", "Queues[1].Name", "Queues[2].Name", "Queues[3].Name", "Queues[4].Name: must be a string", "Queues[5].Name: is missing"}},
		"long name":         {file(`{"Name": "` + strings.Repeat("x", 261) + `"}`), []string{"not a legal name"}},
		"all ranges":        {queue(`"LockDuration": "PT4S", "MaxDeliveryCount": 11, "DefaultMessageTimeToLive": "PT2H", "DuplicateDetectionHistoryTimeWindow": "PT6M"`), []string{q + ".Properties.LockDuration: must be from PT5S to PT5M", "from 1 to 10, not 11", "from PT5M to PT1H, not PT2H", "from PT5S to PT5M, not PT6M"}},
		"wrong types":       {queue(`"LockDuration": 60, "MaxDeliveryCount": "3", "RequiresSession": "yes", "ForwardTo": 1`), []string{"LockDuration: must be an ISO 8601", "MaxDeliveryCount: must be a number", "RequiresSession: must be true or false", "ForwardTo: must be a string"}},
		"fraction":          {queue(`"MaxDeliveryCount": 2.5`), []string{"whole number"}},
		"not a duration":    {queue(`"LockDuration": "1m"`), []string{`"1m" is not an ISO 8601 duration`}},
		"forwarding":        {queue(`"ForwardTo": "other", "ForwardDeadLetteredMessagesTo": "other"`), []string{"ForwardTo: forwarding", "ForwardDeadLetteredMessagesTo: forwarding"}},
		"unknown keys":      {strings.Replace(queue(`"LockDuratoin": "PT1M"`), `"UserConfig": {`, `"Extra": 1, "UserConfig": {"More": 2,`, 1), []string{"$.Extra: unknown key", "UserConfig.More: unknown key", "LockDuratoin: unknown key"}},
		"properties a list": {file(`{"Name": "q", "Properties": []}`), []string{q + ".Properties: must be an object"}},
		"null":              {file(`null`), []string{q + ": must be an object"}},
	} {
		_, err := servicebus.ParseConfig([]byte(c.in))
		if err == nil {
			t.Errorf("%s: no fault found", name)
			continue
		}
		for _, want := range c.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %q is missing in\n%v", name, want, err)
			}
		}
	}
}

func TestNewRefusesImpossibleQueues(t *testing.T) {
	_, err := servicebus.New(servicebus.Options{Config: servicebus.Config{Queues: []servicebus.Queue{{Name: "ok", LockDuration: -1}, {Name: "$no"}}}})
	if err == nil || !strings.Contains(err.Error(), "$no") || !strings.Contains(err.Error(), "negative") {
		t.Errorf("error %v", err)
	}
	if _, err := servicebus.New(servicebus.Options{Config: servicebus.Config{Queues: []servicebus.Queue{{Name: "a"}, {Name: "A"}}}}); err == nil {
		t.Error("two queues of one name")
	}
}
