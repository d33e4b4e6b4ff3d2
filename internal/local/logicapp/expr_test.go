package logicapp

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// sample is a run with something in it to refer to.
func sample(t testing.TB) functions {
	t.Helper()
	body, err := decode([]byte(`{"id":"r 1/ä","n":3,"yes":true,"list":[{"a":1},{"a":2}],"none":null,"quote":"\"}\n"}`))
	if err != nil {
		t.Fatal(err)
	}
	r := &Run{ID: "run-1", app: &App{name: "flow", id: "ID", base: "http://x", workflow: &Workflow{parameters: map[string]any{"url": "https://jit"}}},
		trigger: map[string]any{"body": body},
		records: map[string]*record{"Ask": {outputs: map[string]any{"body": body, "statusCode": json.Number("200")}}, "Skipped_one": {}}}
	return r.functions("Ask", map[string]any{"vm": "/a/b/web01"})
}

func TestExpressions(t *testing.T) {
	fs := sample(t)
	for _, c := range []struct{ in, want string }{
		{"plain", `"plain"`},
		{"a@b.example", `"a@b.example"`},
		{"@@text", `"@text"`},
		{"a@@b", `"a@@b"`},
		{"x @@{y}", `"x @{y}"`},
		{"@triggerBody()['n']", `3`},
		{"@{triggerBody()['n']}", `"3"`},
		{"@triggerBody()?['missing']?['more']", `null`},
		{"[@{triggerBody()?['none']}]", `"[]"`},
		{"@{triggerBody()['yes']}", `"True"`},
		{"@triggerBody().list[1].a", `2`},
		{"@triggerBody()?.missing?.more", `null`},
		{"@triggerBody()['list']?[7]", `null`},
		{"@{triggerBody()['list']}", `"[{\"a\":1},{\"a\":2}]"`},
		{"@BODY('Ask')?['id']", `"r 1/ä"`},
		{"@body('Skipped_one')?['id']", `null`},
		{"@outputs('Ask')?['statusCode']", `200`},
		{"@{parameters('url')}/api/@{encodeURIComponent(body('Ask')['id'])}/x", `"https://jit/api/r%201%2F%C3%A4/x"`},
		{"@workflow().run.name", `"run-1"`},
		{"@workflow()['name']", `"flow"`},
		{"@concat('it''s ', 1, ' ', true)", `"it's 1 True"`},
		{"@ concat( 'a' , 'b' ) ", `"ab"`},
		{"@if(equals(body('Ask')['n'], 3.0), 'three', 'other')", `"three"`},
		{"@equals('A', 'a')", `false`},
		{"@and(true, not(false), or(false, true))", `true`},
		{"@coalesce(null, body('Ask')?['none'], 'x')", `"x"`},
		{"@string(json('{\"a\":[1,null]}'))", `"{\"a\":[1,null]}"`},
		{"@string(body('Ask')['quote'])", `"\"}\n"`},
		{"@{replace('{x}', '}', '|')}", `"{x|"`},
		{"@first(body('Ask')['list'])['a']", `1`},
		{"@last(split(item()['vm'], '/'))", `"web01"`},
		{"@take(body('Ask')['list'], if(true, 1, 2))", `[{"a":1}]`},
		{"@take(body('Ask')['list'], 9)", `[{"a":1},{"a":2}]`},
		{"@-1.5", `-1.5`},
	} {
		got, err := fs.expand(c.in)
		if err != nil {
			t.Errorf("%s: %v", c.in, err)
			continue
		}
		if d := cmp.Diff(c.want, string(encode(got))); d != "" {
			t.Errorf("%s: %s", c.in, d)
		}
	}
}

func TestExpressionsThatFail(t *testing.T) {
	fs := sample(t)
	for _, c := range []struct{ in, want string }{
		{"@utcNow()", "function utcnow() is not known"},
		{"@concat()", "concat() has 0 arguments"},
		{"@not(true, false)", "not() has 2 arguments"},
		{"@concat('a'", "want , or )"},
		{"@concat('a' 'b')", "want , or )"},
		{"@concat('a", "no closing quote"},
		{"@concat(\"a\")", "want a value"},
		{"@triggerBody()[", "want a value"},
		{"@triggerBody()['a'", "want ]"},
		{"@triggerBody().", "name of a property"},
		{"@triggerBody() x", "unexpected"},
		{"@name", "neither a value nor a call"},
		{"@1.2.3", "not a number"},
		{"@", "want a value"},
		{"x @{concat('a')", "want }"},
		{"@triggerBody()['missing']", "no property 'missing'"},
		{"@triggerBody()?['missing']['more']", "property 'more' of null"},
		{"@triggerBody()['id']?['x']", "property 'x' of a string"},
		{"@triggerBody()['list'][2]", "no element 2"},
		{"@triggerBody()[true]", "a boolean cannot be an index"},
		{"@body('Nobody')", "Nobody has not run"},
		{"@parameters('nothing')", "no parameter 'nothing'"},
		{"@encodeURIComponent(null)", "argument 1 is null"},
		{"@replace('a', '', 'b')", "is empty"},
		{"@split(3, ',')", "argument 1 is a number"},
		{"@if('true', 1, 2)", "not a boolean"},
		{"@if(true, 1, triggerBody()['missing'])", "no property 'missing'"},
		{"@and(true, 'x')", "want booleans"},
		{"@first(json('[]'))", "array is empty"},
		{"@last(3)", "want an array"},
		{"@take('abc', 2)", "want an array"},
		{"@take(body('Ask')['list'], '2')", "a number of items"},
		{"@take(body('Ask')['list'], -1)", "a number of items"},
		{"@json('{')", "json()"},
	} {
		v, err := fs.expand(c.in)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, %v; want an error with %q", c.in, v, err, c.want)
		}
	}
}

func FuzzTemplate(f *testing.F) {
	for _, s := range []string{"@triggerBody()?['a'].b[0]", "x @{concat('}', 'it''s')} @@{", "@@", "@if(equals(1,-2.5e3),null,true)"} {
		f.Add(s)
	}
	fs := sample(f)
	f.Fuzz(func(t *testing.T, s string) {
		if v, err := fs.expand(s); err == nil && !strings.Contains(s, "@") && v != s {
			t.Errorf("%q became %v", s, v)
		}
	})
}
