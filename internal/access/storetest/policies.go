package storetest

import (
	"strings"
	"testing"
	"time"

	"jitgate/internal/access"
	"jitgate/internal/armid"
	"jitgate/internal/policy"
)

var policyTests = map[string]func(*testing.T, Store){
	"Unknown":   testNoPolicy,
	"Versions":  testVersions,
	"Unchanged": testUnchanged,
	"Scopes":    testScopes,
	"AtOnce":    testPoliciesAtOnce,
	"Large":     testLargePolicy,
	"NoText":    testPolicyWithoutText,
	"Protects":  testPolicyOfProtection,
}

func putPolicy(t *testing.T, s Store, d policy.Document) policy.Policy {
	t.Helper()
	p, err := s.PutPolicy(t.Context(), d, alice, noon)
	must(t, err)
	return p
}

// wantPolicy also compares the text, which documents that say the same may differ in.
func wantPolicy(t *testing.T, s Store, want policy.Policy) {
	t.Helper()
	got, err := s.Policy(t.Context(), want.Scope.ID())
	must(t, err)
	equal(t, "policy", want, got)
	equal(t, "text", want.Text, got.Text)
}

func testNoPolicy(t *testing.T, s Store) {
	_, err := s.Policy(t.Context(), vm(1))
	wantError(t, "policy", err, access.ErrNotFound)
	list, err := s.ListPolicies(t.Context())
	must(t, err)
	equal(t, "list", []policy.Policy{}, list)
}

func testVersions(t *testing.T, s Store) {
	for i, port := range []int{22, 3389, 22} {
		doc := document(vm(1), port)
		p := putPolicy(t, s, doc)
		equal(t, "policy", policy.New(doc, i+1), p)
		equal(t, "text", doc.Text, p.Text)
		wantPolicy(t, s, p)
	}
	list, err := s.ListPolicies(t.Context())
	must(t, err)
	equal(t, "list", []policy.Policy{policy.New(document(vm(1), 22), 3)}, list)
}

func testUnchanged(t *testing.T, s Store) {
	first := putPolicy(t, s, document(vm(1), 22))
	reworded, err := policy.Parse([]byte("# another comment\n" + document(vm(1), 22).Text))
	must(t, err)
	again, err := s.PutPolicy(t.Context(), reworded, bob, noon.Add(time.Hour))
	must(t, err)
	equal(t, "policy", first, again)
	equal(t, "text", first.Text, again.Text)
	wantPolicy(t, s, first)
}

func testScopes(t *testing.T, s Store) {
	scopes := vm(1).Scopes() // nearest first
	for i, scope := range scopes {
		putPolicy(t, s, document(scope, 1000+i))
	}
	for i, scope := range scopes {
		wantPolicy(t, s, policy.New(document(scope, 1000+i), 1))
	}
	_, err := s.Policy(t.Context(), vm(2)) // none at exactly this scope
	wantError(t, "policy", err, access.ErrNotFound)
	lower := armid.MustParse(strings.ToLower(vm(1).String()))
	p, err := s.Policy(t.Context(), lower)
	must(t, err)
	equal(t, "policy of the same scope in lower case", policy.New(document(vm(1), 1000), 1), p)

	list, err := s.ListPolicies(t.Context())
	must(t, err)
	var got []string
	for _, p := range list {
		got = append(got, p.Scope.String())
	}
	equal(t, "order", []string{scopes[2].String(), scopes[1].String(), scopes[0].String()}, got)
}

func testPoliciesAtOnce(t *testing.T, s Store) {
	const workers = 8
	versions := make(chan int, workers)
	together(t, workers, func(w int) error {
		p, err := s.PutPolicy(t.Context(), document(vm(1), 2000+w), alice, noon)
		versions <- p.Version
		return err
	})
	seen := map[int]bool{}
	for range workers {
		seen[<-versions] = true
	}
	for v := 1; v <= workers; v++ {
		if !seen[v] {
			t.Errorf("version %d was never given", v)
		}
	}
	p, err := s.Policy(t.Context(), vm(1))
	must(t, err)
	equal(t, "version in force", workers, p.Version)
}

func testLargePolicy(t *testing.T, s Store) {
	text := document(vm(1), 22).Text
	comment := "# " + strings.Repeat("ünïcödé 𝄞 ", 8) + "\n"
	text = strings.Repeat(comment, (policy.MaxSize-len(text))/len(comment)) + text
	doc, err := policy.Parse([]byte(text))
	must(t, err)
	putPolicy(t, s, doc)
	wantPolicy(t, s, policy.New(doc, 1))
	small := document(vm(1), 23)
	putPolicy(t, s, small) // nothing of the longer text stays behind
	wantPolicy(t, s, policy.New(small, 2))
}

// What a policy says about protecting is stored like the rest, as text or not.
func testPolicyOfProtection(t *testing.T, s Store) {
	putPolicy(t, s, document(vm(1), 22))
	doc, err := policy.Parse([]byte(document(vm(1), 22).Text + "interfaces: all\nreach: any\n"))
	must(t, err)
	for i, d := range []policy.Document{doc, document(vm(1), 22), doc} {
		if i == 2 {
			d.Text = ""
		}
		p := putPolicy(t, s, d)
		equal(t, "policy", policy.New(d, i+2), p)
		got, err := s.Policy(t.Context(), vm(1))
		must(t, err)
		equal(t, "policy", p, got)
		equal(t, "interfaces and reach", []string{string(d.Interfaces), string(d.Reach)}, []string{string(got.Interfaces), string(got.Reach)})
	}
	if doc.Interfaces != policy.AllInterfaces || doc.Reach != policy.AnyReach {
		t.Errorf("the document was read as %q and %q", doc.Interfaces, doc.Reach)
	}
}

// A document that was put together, not written.
func testPolicyWithoutText(t *testing.T, s Store) {
	doc := document(vm(1), 22)
	doc.Text = ""
	p := putPolicy(t, s, doc)
	equal(t, "policy", policy.New(doc, 1), p)
	got, err := s.Policy(t.Context(), vm(1))
	must(t, err)
	equal(t, "policy", p, got)
}
