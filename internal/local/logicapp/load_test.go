package logicapp

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	shipped "jitgate/infra/logicapp"
)

func TestLoadRefusesWhatCouldNotBeSaved(t *testing.T) {
	const get = `"Get":{"type":"Http","inputs":{"method":"GET","uri":"https://x"},"runAfter":{}}`
	for _, c := range []struct{ name, actions, want string }{
		{"an unknown type", `"A":{"type":"JavaScriptCode","runAfter":{}}`, `the type "JavaScriptCode" is not supported`},
		{"an unknown member", `"A":{"type":"Compose","input":1,"runAfter":{}}`, `"input" is not supported`},
		{"an unknown input", `"A":{"type":"Http","inputs":{"method":"GET","url":"x"},"runAfter":{}}`, `"url" is not supported`},
		{"an unknown function", `"A":{"type":"Compose","inputs":{"x":["@guid()"]},"runAfter":{}}`, "function guid() is not known"},
		{"an unknown function in a condition", `"A":{"type":"If","expression":{"not":{"equals":["@a()",1]}},"actions":{},"runAfter":{}}`, "a() is not known"},
		{"a syntax error", `"A":{"type":"Compose","inputs":"@{concat('a'","runAfter":{}}`, "want , or )"},
		{"an unknown parameter", `"A":{"type":"Compose","inputs":"@parameters('x')","runAfter":{}}`, "no parameter 'x'"},
		{"after nobody", `"A":{"type":"Compose","inputs":1,"runAfter":{"B":["Succeeded"]}}`, "which is not beside it"},
		{"after an unknown status", get + `,"A":{"type":"Compose","inputs":1,"runAfter":{"Get":["Cancelled"]}}`, `the status "Cancelled"`},
		{"in a circle", `"A":{"type":"Compose","inputs":1,"runAfter":{"B":["Succeeded"]}},"B":{"type":"Compose","inputs":1,"runAfter":{"A":["Succeeded"]}}`, "waits for itself"},
		{"of a later action", get + `,"A":{"type":"Compose","inputs":"@body('Get')","runAfter":{}}`, "body('Get'), which it does not run after"},
		{"of itself", `"A":{"type":"Compose","inputs":"@outputs('A')","runAfter":{}}`, "which it does not run after"},
		{"callback elsewhere", `"A":{"type":"Compose","inputs":"@listCallbackUrl()","runAfter":{}}`, "in webhook actions only"},
		{"item elsewhere", `"A":{"type":"Compose","inputs":"@item()","runAfter":{}}`, "inside of a loop only"},
		{"two of a name", get + `,"A":{"type":"If","expression":true,"actions":{` + get + `},"runAfter":{}}`, "two actions Get"},
		{"hiding outputs of Compose", `"A":{"type":"Compose","inputs":1,"runtimeConfiguration":{"secureData":{"properties":["outputs"]}},"runAfter":{}}`, "cannot hide"},
		{"another option", `"A":{"type":"Http","operationOptions":"DisableAutomaticDecompression","inputs":{},"runAfter":{}}`, "is not supported"},
		{"no duration", `"A":{"type":"Http","limit":{"timeout":"4h"},"inputs":{},"runAfter":{}}`, "not an ISO 8601 duration"},
		{"too many retries", `"A":{"type":"Http","inputs":{"retryPolicy":{"type":"fixed","count":91,"interval":"PT5S"}},"runAfter":{}}`, "1 to 90 times"},
		{"retries too fast", `"A":{"type":"Http","inputs":{"retryPolicy":{"type":"fixed","count":1,"interval":"PT4S"}},"runAfter":{}}`, "from PT5S"},
		{"a policy nobody knows", `"A":{"type":"HttpWebhook","inputs":{"subscribe":{"retryPolicy":{"type":"linear"}}},"runAfter":{}}`, "has the type linear"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Load(definition(c.actions), nil)
			wantError(t, err, c.want)
		})
	}
	for name, c := range map[string]struct{ from, to, want string }{
		"no JSON":         {"{", "", "read the workflow"},
		"another schema":  {"2016-06-01", "2015-08-01", "schema 2016-06-01"},
		"another trigger": {`"Request"`, `"Recurrence"`, "must be a Request"},
		"two triggers":    {`"triggers":{`, `"triggers":{"other":{},`, "one trigger"},
		"unknown schema":  {`"inputs":{}`, `"inputs":{"schema":{"pattern":"x"}}`, `"pattern" is not supported`},
		"a wrong default": {`"defaultValue":""`, `"defaultValue":1`, "not of type String"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Load(bytes.Replace(definition(``), []byte(c.from), []byte(c.to), 1), nil)
			wantError(t, err, c.want)
		})
	}
	_, err := Load(definition(``), map[string]any{"other": "x"})
	wantError(t, err, `no parameter "other"`)
}

// approvalParameters are those of the shipped template that have no default.
func approvalParameters(jit string) map[string]any {
	return map[string]any{"jitBaseUrl": jit, "jitAudience": audience, "jitCallerObjectId": "caller-oid", "triggerAudience": "api://workflows",
		"teamsGroupId": "group-1", "teamsChannelId": "19:channel@thread.tacv2"}
}

func TestTemplateAsDeployed(t *testing.T) {
	w := load(t, shipped.Approval, approvalParameters("https://jit"))
	if w.Enabled {
		t.Error("the workflow is enabled before anybody consented to the connection")
	}
	if w.sas {
		t.Error("a signed URL starts the workflow")
	}
	want := map[string]string{"iss": "https://sts.windows.net/" + tenantID + "/", "aud": "api://workflows", "oid": "caller-oid"}
	if len(w.policies) != 1 || !w.policies[0].fits(map[string]any{"iss": want["iss"], "aud": want["aud"], "oid": want["oid"]}) || len(w.policies[0].claims) != len(want) {
		t.Errorf("policies: %v", w.policies)
	}
	if got := w.actions["Ask_in_Teams"].limit.Hours(); got != 4 {
		t.Errorf("waits %v hours", got)
	}
}

// TestTemplateRefusals changes one thing of the template at a time.
func TestTemplateRefusals(t *testing.T) {
	for name, c := range map[string]struct{ from, to, want string }{
		"no identity":          {`"identity": { "type": "SystemAssigned" },`, ``, "the workflow has none"},
		"an unknown parameter": {`parameters('connectionName')`, `parameters('name')`, "no parameter 'name'"},
		"an unknown function":  {`[resourceGroup().location]`, `[uniqueString('x')]`, "uniquestring() is not known"},
		"a wrong id":           {`'Microsoft.Web/locations/managedApis'`, `'Microsoft.Web/managedApis'`, "does not fit"},
		"a slip in an output":  {`.identity.principalId`, `.identity.objectId`, "no property 'objectId'"},
		"reference too early":  {`"state": "Disabled"`, `"state": "[reference('x')]"`, "reference() is not known"},
		"another issuer":       {`https://sts.windows.net/`, `https://example.com/`, "not one of Entra ID"},
		"no definition":        {`Microsoft.Logic/workflows"`, `Microsoft.Web/sites"`, "no workflow"},
		"an undeclared value":  {`"jitAudience": { "type": "String" },`, ``, `no parameter "jitAudience"`},
	} {
		t.Run(name, func(t *testing.T) {
			changed := bytes.Replace(shipped.Approval, []byte(c.from), []byte(c.to), 1)
			if bytes.Equal(changed, shipped.Approval) {
				t.Fatal("nothing was changed")
			}
			_, err := Load(changed, approvalParameters("https://jit"))
			wantError(t, err, c.want)
		})
	}
	given := approvalParameters("https://jit")
	delete(given, "jitAudience")
	_, err := Load(shipped.Approval, given)
	wantError(t, err, `"jitAudience" wants a value`)
	given = approvalParameters("https://jit")
	given["jitAudience"] = 3
	_, err = Load(shipped.Approval, given)
	wantError(t, err, "not of type string")
}

// TestTemplateExplainsItself: whoever imports it sees only these texts.
func TestTemplateExplainsItself(t *testing.T) {
	type described struct {
		Metadata struct{ Description string }
	}
	var template struct{ Parameters, Outputs map[string]described }
	if err := json.Unmarshal(shipped.Approval, &template); err != nil {
		t.Fatal(err)
	}
	for _, all := range []map[string]described{template.Parameters, template.Outputs} {
		for name, p := range all {
			if !strings.HasSuffix(p.Metadata.Description, ".") {
				t.Errorf("%s: the description %q is no sentence", name, p.Metadata.Description)
			}
		}
	}
	if len(template.Parameters) < 9 || len(template.Outputs) != 2 {
		t.Errorf("%d parameters, %d outputs; are the names right?", len(template.Parameters), len(template.Outputs))
	}
}
