package logicapp

import (
	"context"
	"net/http"
	"strings"
	"testing"

	shipped "jitgate/infra/logicapp"
)

func TestTriggerBySignature(t *testing.T) {
	g := start(t, load(t, definition(``), nil), Engine{})
	signed := g.app.TriggerURL()
	bare := signed[:strings.Index(signed, "&sp=")]
	for name, c := range map[string]struct {
		url     string
		headers []string
		status  int
		code    string
	}{
		"signed":           {signed, nil, 202, ""},
		"not signed":       {bare, nil, 401, "DirectApiAuthorizationRequired"},
		"signed otherwise": {signed + "A", nil, 401, "DirectApiInvalidAuthorizationScheme"},
		"with a token":     {bare, []string{"Authorization", "Bearer x"}, 401, "DirectApiInvalidAuthorizationScheme"},
		"with both":        {signed, []string{"Authorization", "Bearer x"}, 401, "DirectApiRequestHasMoreThanOneAuthorization"},
		"of another name":  {strings.Replace(signed, "/manual/", "/other/", 1), nil, 404, ""},
	} {
		if status, _, body := g.post(c.url, `{}`, c.headers...); status != c.status || !strings.Contains(body, c.code) {
			t.Errorf("%s: %d %s, want %d %s", name, status, body, c.status, c.code)
		}
	}
	if n := len(g.app.Runs()); n != 1 {
		t.Errorf("%d runs, want 1", n)
	}
	g.app.workflow.Enabled = false
	if status, _, _ := g.post(signed, `{}`); status != http.StatusNotFound {
		t.Error("disabled:", status)
	}
}

// claims of jitgate's identity as the shipped template wants them.
func callerClaims() map[string]any {
	return map[string]any{"iss": "https://sts.windows.net/" + tenantID + "/", "aud": "api://workflows", "oid": "caller-oid", "tid": tenantID}
}

func TestTriggerOfTheTemplateTakesOneIdentity(t *testing.T) {
	w := load(t, shipped.Approval, approvalParameters("https://jit"))
	claims := callerClaims()
	g := start(t, w, Engine{Verify: func(_ context.Context, token string) (map[string]any, error) {
		if token != "good" {
			return nil, errNo
		}
		return claims, nil
	}})
	url := g.app.TriggerURL()
	if strings.Contains(url, "sig=") {
		t.Error("the URL is signed although signatures do not count:", url)
	}
	post := func(name string, status int, url string, headers ...string) {
		t.Helper()
		if got, _, body := g.post(url, `{}`, headers...); got != status {
			t.Errorf("%s: %d %s, want %d", name, got, body, status)
		}
	}
	good := []string{"Authorization", "Bearer good"}
	post("disabled as it was deployed", 404, url, good...)
	w.Enabled = true
	post("no token", 401, url)
	post("a token of nobody", 401, url, "Authorization", "Bearer bad")
	post("a password", 401, url, "Authorization", "Basic good")
	signed := g.app.signed(g.app.path("triggers", "manual", "paths", "invoke"), "/triggers/manual/run")
	post("a signed URL", 401, signed)
	post("a signed URL and a token", 401, signed, good...)
	for claim, value := range callerClaims() {
		if claim == "tid" {
			continue
		}
		claims = callerClaims()
		claims[claim] = value.(string) + "x"
		post("another "+claim, 403, url, good...)
		delete(claims, claim)
		post("no "+claim, 403, url, good...)
	}
	claims = callerClaims()
	post("another body", 400, url, good...) // got in, but {} is no event
}

func TestTriggerSchema(t *testing.T) {
	schema := decoded(t, `{"type":"object","required":["a"],"properties":{"a":{"type":"string","enum":["x","y"]},"n":{"type":"integer"},"f":{"type":"number"},"b":{"type":"boolean"},
"o":{"type":"object","required":["c"]},"l":{"type":"array","items":{"type":"string"}},"z":{"type":"null"}}}`)
	if err := knownSchema(schema); err != nil {
		t.Fatal(err)
	}
	for body, want := range map[string]string{
		`{"a":"x","more":1}`: "",
		`{"a":"y","n":3,"f":1.5,"b":false,"o":{"c":null},"l":["q"],"z":null}`: "",
		`[]`:                     "body is an array, not of type object",
		`"x"`:                    "body is a string, not of type object",
		`null`:                   "body is null, not of type object",
		`{}`:                     "body has no property 'a'",
		`{"a":null}`:             "body.a is null, not of type string",
		`{"a":"z"}`:              "body.a is none of the allowed values",
		`{"a":"x","n":1.5}`:      "body.n is a number, not of type integer",
		`{"a":"x","n":"1"}`:      "body.n is a string",
		`{"a":"x","f":"1"}`:      "body.f is a string",
		`{"a":"x","b":0}`:        "body.b is a number",
		`{"a":"x","o":{}}`:       "body.o has no property 'c'",
		`{"a":"x","l":["a",1]}`:  "body.l[1] is a number",
		`{"a":"x","l":{"0":""}}`: "body.l is an object",
		`{"a":"x","z":1}`:        "body.z is a number",
	} {
		err := fitsSchema(decoded(t, body), schema, "body")
		if want == "" && err != nil || want != "" && (err == nil || !strings.HasPrefix(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", body, err, want)
		}
	}
}

// TestTriggerSchemaIsAHintUnlessItIsSwitchedOn: the designer's setting is off at first.
func TestTriggerSchemaIsAHintUnlessItIsSwitchedOn(t *testing.T) {
	document := func(option string) []byte {
		return []byte(strings.Replace(string(definition(``)), `"inputs":{}`, option+`"inputs":{"schema":{"type":"object","required":["a"]}}`, 1))
	}
	for option, want := range map[string]int{``: 202, `"operationOptions":"EnableSchemaValidation",`: 400} {
		g := start(t, load(t, document(option), nil), Engine{})
		if status, _, body := g.post(g.app.TriggerURL(), `{}`); status != want {
			t.Errorf("%q: %d %s", option, status, body)
		}
	}
}

func decoded(t *testing.T, text string) any {
	t.Helper()
	v, err := decode([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return v
}
