package storetest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"jitgate/internal/access"
	"jitgate/internal/armid"
	"jitgate/internal/policy"
)

var policyTests = map[string]func(*testing.T, Store){
	"Unknown":     testNoPolicy,
	"Versions":    testVersions,
	"Unchanged":   testUnchanged,
	"Scopes":      testScopes,
	"SameScope":   testPoliciesOfOneScope,
	"Remove":      testRemovePolicy,
	"AtOnce":      testPoliciesAtOnce,
	"SideBySide":  testPoliciesSideBySide,
	"RemoveWhile": testRemovePolicyWhilePut,
	"Large":       testLargePolicy,
	"NoText":      testPolicyWithoutText,
	"OtherText":   testPolicyWithOtherText,
	"Protects":    testPolicyOfProtection,
}

func putPolicy(t *testing.T, s Store, d policy.Document) policy.Policy {
	t.Helper()
	p, err := s.PutPolicy(t.Context(), d, signature(0))
	must(t, err)
	return p
}

// wantPolicies compares those in force at a scope without regard to order, and their
// texts, which documents that say the same may differ in.
func wantPolicies(t *testing.T, s Store, scope policy.Scope, want ...policy.Policy) {
	t.Helper()
	got, err := s.PoliciesAt(t.Context(), scope)
	must(t, err)
	equal(t, "policies of "+scope.String(), byKey(want), byKey(got))
}

// written is a policy with its text, which documents count as equal without.
type written struct {
	policy.Policy
	Text string
}

func wantPolicy(t *testing.T, s Store, want policy.Policy) {
	t.Helper()
	wantPolicies(t, s, want.Scope, want)
}

func byKey(list []policy.Policy) map[string]written {
	out := map[string]written{}
	for i, p := range list {
		key := p.Key()
		if _, twice := out[key]; twice {
			key = fmt.Sprint("again ", i)
		}
		out[key] = written{p, p.Text}
	}
	return out
}

func wantVersions(t *testing.T, s Store, d policy.Document, want ...access.PolicyVersion) {
	t.Helper()
	got, err := s.PolicyVersions(t.Context(), d.Scope, d.Key())
	must(t, err)
	equal(t, "versions", want, got)
	for i := range want {
		equal(t, "text of a version", want[i].Text, got[i].Text)
	}
}

func testNoPolicy(t *testing.T, s Store) {
	doc := document(vm(1), 22)
	for _, scope := range []policy.Scope{doc.Scope, policy.Tenant, {}} {
		wantPolicies(t, s, scope)
	}
	list, err := s.ListPolicies(t.Context())
	must(t, err)
	equal(t, "list", []policy.Policy{}, list)
	for _, key := range []string{doc.Key(), "", "current", doc.Key()[1:], "it's", "a/b", "\x00"} {
		_, err := s.PolicyInForce(t.Context(), doc.Scope, key)
		wantError(t, "in force", err, access.ErrNotFound)
		wantError(t, "remove", s.RemovePolicy(t.Context(), doc.Scope, key, signature(0)), access.ErrNotFound)
		versions, err := s.PolicyVersions(t.Context(), doc.Scope, key)
		must(t, err)
		equal(t, "versions", nil, versions)
	}
}

// Every version stays, with who, when and the text as written.
func testVersions(t *testing.T, s Store) {
	var want []access.PolicyVersion
	for i, port := range []int{22, 3389, 22} {
		doc := document(vm(1), port)
		p, err := s.PutPolicy(t.Context(), doc, signature(i))
		must(t, err)
		equal(t, "policy", policy.New(doc, i+1), p)
		equal(t, "text", doc.Text, p.Text)
		wantPolicy(t, s, p)
		want = append([]access.PolicyVersion{{Policy: p, Signature: signature(i)}}, want...)
		inForce, err := s.PolicyInForce(t.Context(), doc.Scope, doc.Key())
		must(t, err)
		equal(t, "version in force", want[0], inForce)
		wantVersions(t, s, doc, want...)
	}
	list, err := s.ListPolicies(t.Context())
	must(t, err)
	equal(t, "list", []policy.Policy{policy.New(document(vm(1), 22), 3)}, list)

	alone := access.Signature{By: bob, At: noon} // nobody had to agree
	p, err := s.PutPolicy(t.Context(), document(vm(1), 3389), alone)
	must(t, err)
	wantVersions(t, s, p.Document, append([]access.PolicyVersion{{Policy: p, Signature: alone}}, want...)...)
}

func testUnchanged(t *testing.T, s Store) {
	first := putPolicy(t, s, document(vm(1), 22))
	reworded := parsed("# another comment\n" + document(vm(1), 22).Text)
	again, err := s.PutPolicy(t.Context(), reworded, access.Signature{By: bob, At: noon.Add(time.Hour)})
	must(t, err)
	equal(t, "policy", first, again)
	equal(t, "text", first.Text, again.Text)
	wantPolicy(t, s, first)
	wantVersions(t, s, reworded, access.PolicyVersion{Policy: first, Signature: signature(0)})
}

func testScopes(t *testing.T, s Store) {
	scopes := vm(1).Scopes() // nearest first
	for i, scope := range scopes {
		putPolicy(t, s, document(scope, 1000+i))
	}
	tenant := putPolicy(t, s, parsed("apiVersion: jitgate/v1\nscope: tenant\n"+allowing(1003)))
	for i, scope := range scopes {
		wantPolicy(t, s, policy.New(document(scope, 1000+i), 1))
	}
	wantPolicy(t, s, tenant)
	wantPolicies(t, s, policy.ScopeOf(vm(2))) // none at exactly this scope
	lower := policy.ScopeOf(armid.MustParse(strings.ToLower(vm(1).String())))
	wantPolicies(t, s, lower, policy.New(document(vm(1), 1000), 1))

	list, err := s.ListPolicies(t.Context())
	must(t, err)
	var got []string
	for _, p := range list {
		got = append(got, p.Scope.String())
	}
	equal(t, "order", []string{scopes[2].String(), scopes[1].String(), scopes[0].String(), "tenant"}, got)
}

// documentsOfOneScope are all kinds that can be in force at one scope together.
func documentsOfOneScope(port int) []policy.Document {
	head := fmt.Sprintf("apiVersion: jitgate/v1\nscope: %s\n", vm(1).Scopes()[1])
	return []policy.Document{
		parsed(head + allowing(port)),
		parsed(head + "tags: {Env: prod}\n" + allowing(port)),
		parsed(head + "tags: {Env: prod, Team: a}\n" + allowing(port)),
		parsed(head + "enforced: true\n" + allowing(port)),
		parsed(head + "enforced: true\ntags: {Env: prod}\n" + allowing(port)),
	}
}

// What replaces what is the key's to say: each has its own versions.
func testPoliciesOfOneScope(t *testing.T, s Store) {
	putPolicy(t, s, document(vm(1), 22)) // of another scope
	var want []policy.Policy
	for i, d := range documentsOfOneScope(22) {
		want = append(want, putPolicy(t, s, d))
		equal(t, "version", 1, want[i].Version)
		wantPolicies(t, s, d.Scope, want...)
	}
	want[3] = putPolicy(t, s, documentsOfOneScope(3389)[3])
	equal(t, "version", 2, want[3].Version)
	wantPolicies(t, s, want[0].Scope, want...)
	for i, p := range want {
		versions, err := s.PolicyVersions(t.Context(), p.Scope, p.Key())
		must(t, err)
		equal(t, "number of versions", p.Version, len(versions))
		equal(t, "newest", p, versions[0].Policy)
		if i == 3 {
			continue
		}
		must(t, s.RemovePolicy(t.Context(), p.Scope, p.Key(), signature(i)))
	}
	wantPolicies(t, s, want[3].Scope, want[3])

	for _, d := range documentsOfOneScope(22) {
		putPolicy(t, s, d)
	}
	list, err := s.ListPolicies(t.Context())
	must(t, err)
	equal(t, "number of policies", 6, len(list))
	for i := 1; i < 5; i++ { // the last is the VM's, which sorts behind its group
		if list[i-1].Key() >= list[i].Key() {
			t.Errorf("keys %s and %s of one scope are out of order", list[i-1].Key(), list[i].Key())
		}
	}
}

// Taking a policy out of force is a version of its own, and what comes next goes on
// counting: a number never means two documents.
func testRemovePolicy(t *testing.T, s Store) {
	doc, other := document(vm(1), 22), document(vm(1), 3389)
	first := putPolicy(t, s, doc)
	want := []access.PolicyVersion{{Policy: first, Signature: signature(0)}}
	for n := 1; n < 6; n += 2 {
		must(t, s.RemovePolicy(t.Context(), policy.ScopeOf(shouted(vm(1))), doc.Key(), signature(n)))
		wantPolicies(t, s, doc.Scope)
		_, err := s.PolicyInForce(t.Context(), doc.Scope, doc.Key())
		wantError(t, "in force", err, access.ErrNotFound)
		list, err := s.ListPolicies(t.Context())
		must(t, err)
		equal(t, "list", []policy.Policy{}, list)
		want = append([]access.PolicyVersion{{Policy: policy.New(want[0].Document, n+1), Signature: signature(n), Removed: true}}, want...)
		wantVersions(t, s, doc, want...)
		wantError(t, "remove again", s.RemovePolicy(t.Context(), doc.Scope, doc.Key(), signature(9)), access.ErrNotFound)
		wantVersions(t, s, doc, want...)

		doc, other = other, doc
		if n == 3 {
			doc, other = other, doc // the very same that was taken out of force
		}
		p, err := s.PutPolicy(t.Context(), doc, signature(n+1))
		must(t, err)
		equal(t, "version", n+2, p.Version)
		wantPolicy(t, s, p)
		want = append([]access.PolicyVersion{{Policy: p, Signature: signature(n + 1)}}, want...)
		wantVersions(t, s, doc, want...)
	}
}

func testPoliciesAtOnce(t *testing.T, s Store) {
	const workers = 8
	versions := make(chan int, workers)
	together(t, workers, func(w int) error {
		p, err := s.PutPolicy(t.Context(), document(vm(1), 2000+w), signature(w))
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
	kept, err := s.PolicyVersions(t.Context(), policy.ScopeOf(vm(1)), document(vm(1), 22).Key())
	must(t, err)
	equal(t, "number of versions", workers, len(kept))
	wantPolicy(t, s, kept[0].Policy)
	for i, v := range kept {
		equal(t, "version", workers-i, v.Version)
		equal(t, "signature", signature(int(v.Ports[0].Number)-2000), v.Signature)
	}
}

// Documents of one scope are put at once, and none counts another's versions.
func testPoliciesSideBySide(t *testing.T, s Store) {
	docs := [][]policy.Document{documentsOfOneScope(22), documentsOfOneScope(3389)}
	together(t, len(docs[0]), func(n int) error {
		for i := range 2 {
			p, err := s.PutPolicy(t.Context(), docs[i][n], signature(i))
			if err == nil && p.Version != i+1 {
				err = fmt.Errorf("document %d has version %d, want %d", n, p.Version, i+1)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	var want []policy.Policy
	for _, d := range docs[1] {
		want = append(want, policy.New(d, 2))
	}
	wantPolicies(t, s, docs[0][0].Scope, want...)
}

// Some put and some remove. Whatever comes out, the record has no gap, and what is in
// force is what its newest version says.
func testRemovePolicyWhilePut(t *testing.T, s Store) {
	const workers, each = 6, 2
	doc := document(vm(1), 22)
	together(t, workers, func(w int) error {
		for n := range each {
			if w%2 == 0 {
				if _, err := s.PutPolicy(t.Context(), document(vm(1), 2000+10*w+n), signature(w)); err != nil {
					return err
				}
				continue
			}
			if err := s.RemovePolicy(t.Context(), doc.Scope, doc.Key(), signature(w)); err != nil && !isNotFound(err) {
				return err
			}
		}
		return nil
	})
	versions, err := s.PolicyVersions(t.Context(), doc.Scope, doc.Key())
	must(t, err)
	puts := 0
	for i, v := range versions {
		equal(t, "version", len(versions)-i, v.Version)
		if !v.Removed {
			puts++
		} else if older := i + 1; older == len(versions) || versions[older].Removed || diff(versions[older].Document, v.Document) != "" {
			t.Errorf("version %d removes what was not in force", v.Version)
		}
	}
	equal(t, "number of documents put", workers/2*each, puts)
	if versions[0].Removed {
		wantPolicies(t, s, doc.Scope)
	} else {
		wantPolicy(t, s, versions[0].Policy)
	}
}

func testLargePolicy(t *testing.T, s Store) {
	text := document(vm(1), 22).Text
	comment := "# " + strings.Repeat("ünïcödé 𝄞 ", 8) + "\n"
	text = strings.Repeat(comment, (policy.MaxSize-len(text))/len(comment)) + text
	doc := parsed(text)
	putPolicy(t, s, doc)
	wantPolicy(t, s, policy.New(doc, 1))
	small := document(vm(1), 23)
	putPolicy(t, s, small) // nothing of the longer text stays behind
	wantPolicy(t, s, policy.New(small, 2))
	must(t, s.RemovePolicy(t.Context(), doc.Scope, doc.Key(), signature(1)))
	putPolicy(t, s, doc)
	must(t, s.RemovePolicy(t.Context(), doc.Scope, doc.Key(), signature(2)))
	versions, err := s.PolicyVersions(t.Context(), doc.Scope, doc.Key())
	must(t, err)
	for i, want := range []policy.Document{doc, doc, small, small, doc} {
		equal(t, "text of a version", want.Text, versions[i].Text)
	}
}

// What a policy says about protecting is stored like the rest, as text or not.
func testPolicyOfProtection(t *testing.T, s Store) {
	putPolicy(t, s, document(vm(1), 22))
	doc := parsed(document(vm(1), 22).Text + "interfaces: all\nreach: any\n")
	for i, d := range []policy.Document{doc, document(vm(1), 22), doc} {
		if i == 2 {
			d.Text = ""
		}
		p := putPolicy(t, s, d)
		equal(t, "interfaces and reach", []string{string(d.Interfaces), string(d.Reach)}, []string{string(p.Interfaces), string(p.Reach)})
		equal(t, "version", i+2, p.Version)
		equal(t, "hash", d.Digest(), p.Hash)
		wantPolicy(t, s, p)
	}
	if doc.Interfaces != policy.AllInterfaces || doc.Reach != policy.AnyReach {
		t.Errorf("the document was read as %q and %q", doc.Interfaces, doc.Reach)
	}
}

// A document that was put together, not written, is kept in a form that Parse reads.
func testPolicyWithoutText(t *testing.T, s Store) {
	doc := document(vm(1), 22)
	doc.Text = ""
	p := putPolicy(t, s, doc)
	if !p.Equal(doc) || p.Version != 1 {
		t.Errorf("policy %+v, want %+v", p, doc)
	}
	if !parsed(p.Text).Equal(doc) {
		t.Errorf("the text says something else:\n%s", p.Text)
	}
	wantPolicy(t, s, p)
}

// What counts is the document that was looked over; a text that says something else
// would count from the next read on.
func testPolicyWithOtherText(t *testing.T, s Store) {
	doc := document(vm(1), 22)
	doc.Text = document(vm(1), 3389).Text
	if _, err := s.PutPolicy(t.Context(), doc, signature(0)); err == nil {
		t.Error("a document with another's text was put in force")
	}
	if _, err := s.PutPolicy(t.Context(), policy.Document{}, signature(0)); err == nil {
		t.Error("a document for nowhere was put in force")
	}
	wantPolicies(t, s, doc.Scope)
	wantVersions(t, s, doc)
}
