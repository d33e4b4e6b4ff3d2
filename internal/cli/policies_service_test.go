package cli

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"jitgate/internal/api"
	"jitgate/internal/armid"
	"jitgate/internal/policy"
)

// shelf holds the policies of the stand-in, read as the service reads them.
type shelf struct {
	inForce     map[string]policy.Policy       // by key
	versions    map[string][]api.PolicyVersion // by key, newest first
	proposals   []api.Proposal
	rules       *api.AlertRules
	secondAdmin bool // a change waits for somebody else
	question    api.PolicyQuestion
}

func (s *service) servePolicies(mux *http.ServeMux) {
	s.policies = shelf{inForce: map[string]policy.Policy{}, versions: map[string][]api.PolicyVersion{}}
	admin := func(f func(http.ResponseWriter, *http.Request)) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if !people[caller(r)] {
				refuse(w, http.StatusForbidden, "role_missing", "None of your app roles allows this.")
				return
			}
			f(w, r)
		}
	}
	mux.HandleFunc("GET /api/policies", s.listPolicies)
	mux.HandleFunc("PUT /api/policies", admin(s.applyPolicy))
	mux.HandleFunc("GET /api/policies/history", s.policyHistory)
	mux.HandleFunc("POST /api/policies/remove", admin(s.removePolicy))
	mux.HandleFunc("GET /api/policies/proposals", s.listProposals)
	mux.HandleFunc("POST /api/policies/proposals/{id}/approve", admin(s.approveProposal))
	mux.HandleFunc("POST /api/policies/proposals/{id}/reject", admin(s.rejectProposal))
	mux.HandleFunc("POST /api/policies/explain", s.askPolicy)
	mux.HandleFunc("POST /api/policies/what-if", admin(s.whatIf))
	mux.HandleFunc("PUT /api/alerts/rules", admin(s.applyRules))
	mux.HandleFunc("GET /api/alerts/rules", s.showRules)
}

func encodePolicy(p policy.Policy) api.Policy {
	return api.Policy{Scope: p.Scope.String(), Tags: p.Tags, Enforced: p.Enforced, Key: p.Key(), Version: p.Version, Hash: p.Hash, Document: p.Text}
}

func (s *service) set() policy.Set {
	var set policy.Set
	for _, p := range s.policies.inForce {
		set = append(set, p)
	}
	slices.SortFunc(set, func(a, b policy.Policy) int {
		return strings.Compare(a.Scope.String()+a.Key(), b.Scope.String()+b.Key())
	})
	return set
}

func (s *service) listPolicies(w http.ResponseWriter, r *http.Request) {
	if !query(w, r, "scope") {
		return
	}
	scope := r.URL.Query().Get("scope")
	out := api.PolicyList{Policies: []api.Policy{}}
	for _, p := range s.set() {
		if scope == "" || strings.EqualFold(scope, p.Scope.String()) {
			out.Policies = append(out.Policies, encodePolicy(p))
		}
	}
	if len(out.Policies) == 0 && scope != "" {
		const detail = "There is no policy at this scope."
		refuse(w, http.StatusNotFound, "policy_not_found", detail, api.Fault{Field: "scope", Code: "policy_not_found", Detail: detail})
		return
	}
	answer(w, http.StatusOK, out)
}

// parsed reads a document, or refuses it with the places of its faults.
func parsed(w http.ResponseWriter, field, text string) (policy.Document, bool) {
	d, err := policy.Parse([]byte(text))
	if err == nil {
		return d, true
	}
	var faults policy.Faults
	errors.As(err, &faults)
	var all []api.Fault
	var details []string
	for _, f := range faults {
		detail := fmt.Sprintf("Line %d, column %d: %s", f.Line, f.Column, f.Sentence)
		details = append(details, detail)
		all = append(all, api.Fault{Field: fmt.Sprintf("%s:%d:%d", field, f.Line, f.Column), Code: "policy_invalid", Detail: detail})
	}
	refuse(w, http.StatusBadRequest, "policy_invalid", strings.Join(details, " "), all...)
	return d, false
}

func (s *service) applyPolicy(w http.ResponseWriter, r *http.Request) {
	var in api.NewPolicy
	if !body(w, r, &in) {
		return
	}
	d, ok := parsed(w, "document", in.Document)
	if !ok {
		return
	}
	if current, there := s.policies.inForce[d.Key()]; there && current.Equal(d) {
		answer(w, http.StatusOK, api.ChangedPolicy{Policy: new(encodePolicy(current))})
		return
	}
	s.changePolicy(w, api.Proposal{What: "policy", Document: in.Document, By: s.person(r)})
}

func (s *service) removePolicy(w http.ResponseWriter, r *http.Request) {
	var in api.PolicyKey
	if !body(w, r, &in) {
		return
	}
	p, there := s.policies.inForce[in.Key]
	if !there || p.Scope.String() != in.Scope {
		refuse(w, http.StatusNotFound, "policy_not_found", "There is no policy of this scope and key in force.")
		return
	}
	s.changePolicy(w, api.Proposal{What: "policy", Remove: true, Document: p.Text, By: s.person(r)})
}

func (s *service) applyRules(w http.ResponseWriter, r *http.Request) {
	var in api.NewPolicy
	if !body(w, r, &in) {
		return
	}
	if !strings.HasPrefix(in.Document, "apiVersion: jitgate/alerts/v1") {
		refuse(w, http.StatusBadRequest, "alert_rules_invalid", "Line 1, column 1: apiVersion is missing.")
		return
	}
	s.changePolicy(w, api.Proposal{What: "alert-rules", Document: in.Document, By: s.person(r)})
}

func (s *service) person(r *http.Request) api.Person {
	return api.Person{Object: "0b1d-" + caller(r), Name: caller(r)}
}

func (s *service) changePolicy(w http.ResponseWriter, p api.Proposal) {
	p.At = s.clock.Now().UTC()
	if !s.policies.secondAdmin {
		answer(w, http.StatusOK, s.put(p, nil))
		return
	}
	p.ID = fmt.Sprintf("5e0c2a9b-4a0a-5c1e-9d55-%012d", len(s.policies.proposals)+1)
	s.policies.proposals = append(s.policies.proposals, p)
	answer(w, http.StatusAccepted, api.ChangedPolicy{Proposal: &p})
}

// put carries a change out.
func (s *service) put(p api.Proposal, approver *api.Person) api.ChangedPolicy {
	shelf := &s.policies
	if p.What == "alert-rules" {
		version := 1
		if shelf.rules != nil {
			version = shelf.rules.Version + 1
		}
		shelf.rules = &api.AlertRules{Version: version, Hash: strings.Repeat("b2", 32), Document: p.Document, By: p.By, At: p.At}
		return api.ChangedPolicy{Rules: shelf.rules}
	}
	d, err := policy.Parse([]byte(p.Document))
	if err != nil {
		panic(err) // it was read before
	}
	key := d.Key()
	now := policy.New(d, len(shelf.versions[key])+1)
	shelf.versions[key] = slices.Insert(shelf.versions[key], 0, api.PolicyVersion{Version: now.Version, Hash: now.Hash, Document: p.Document,
		By: p.By, Approver: approver, At: p.At, Removed: p.Remove})
	if p.Remove {
		delete(shelf.inForce, key)
		return api.ChangedPolicy{}
	}
	shelf.inForce[key] = now
	out := api.ChangedPolicy{Policy: new(encodePolicy(now))}
	for _, f := range policy.Lint(s.set()) {
		out.Findings = append(out.Findings, api.Lint{Policy: f.Policy, Code: f.Code, Text: f.Sentence})
	}
	return out
}

func (s *service) policyHistory(w http.ResponseWriter, r *http.Request) {
	if query(w, r, "scope", "key") {
		answer(w, http.StatusOK, api.PolicyHistory{Versions: append([]api.PolicyVersion{}, s.policies.versions[r.URL.Query().Get("key")]...)})
	}
}

func (s *service) listProposals(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, api.ProposalList{Proposals: append([]api.Proposal{}, s.policies.proposals...)})
}

func (s *service) proposal(w http.ResponseWriter, r *http.Request) int {
	at := slices.IndexFunc(s.policies.proposals, func(p api.Proposal) bool { return p.ID == r.PathValue("id") })
	if at < 0 {
		refuse(w, http.StatusNotFound, "proposal_not_found", "There is no proposal with this id.")
	}
	return at
}

func (s *service) approveProposal(w http.ResponseWriter, r *http.Request) {
	at := s.proposal(w, r)
	if at < 0 {
		return
	}
	p := s.policies.proposals[at]
	if p.By.Name == caller(r) {
		refuse(w, http.StatusForbidden, "own_proposal", "Nobody agrees to their own proposal; another administrator has to.")
		return
	}
	s.policies.proposals = slices.Delete(s.policies.proposals, at, at+1)
	answer(w, http.StatusOK, s.put(p, new(s.person(r))))
}

func (s *service) rejectProposal(w http.ResponseWriter, r *http.Request) {
	if at := s.proposal(w, r); at >= 0 {
		s.policies.proposals = slices.Delete(s.policies.proposals, at, at+1)
		s.listProposals(w, r)
	}
}

func (s *service) showRules(w http.ResponseWriter, _ *http.Request) {
	if s.policies.rules == nil {
		refuse(w, http.StatusNotFound, "alert_rules_not_found", "There are no alert rules in force.")
		return
	}
	answer(w, http.StatusOK, s.policies.rules)
}

// asked is a target of a request as policies are asked about it.
func asked(vm string, ports []api.Port, source, duration, reason string) policy.Question {
	var q policy.Question
	q.VM, _ = armid.Parse(vm)
	for _, p := range ports {
		q.Ports = append(q.Ports, policy.Port{Number: uint16(p.Port), Protocol: policy.Protocol(p.Protocol)})
	}
	if q.Source, _ = policy.ParseSource(source); source == "" {
		q.Source = netip.MustParsePrefix("127.0.0.1/32")
	}
	q.Duration, _ = policy.ParseDuration(duration)
	q.Justification = reason
	return q
}

func approvalOf(d policy.Decision) *api.Approval {
	if d.Approval == nil {
		return nil
	}
	a := &api.Approval{Quorum: d.Approval.Quorum, Within: policy.FormatDuration(d.Approval.Within), Policies: d.Approval.Policies}
	for _, p := range d.Approval.Approvers {
		a.Approvers = append(a.Approvers, api.Principals(p))
	}
	return a
}

func unmetOf(d policy.Decision) []api.Unmet {
	var all []api.Unmet
	for _, r := range d.Refusals {
		all = append(all, api.Unmet{Code: r.Code, Text: r.Sentence, Policy: r.Policy, Passes: r.Passes})
	}
	return all
}

func (s *service) askPolicy(w http.ResponseWriter, r *http.Request) {
	var in api.PolicyQuestion
	if !body(w, r, &in) {
		return
	}
	s.policies.question = in
	var out api.PolicyAnswers
	for _, t := range in.Targets {
		q := asked(t.VM, t.Ports, in.Source, in.Duration, in.Justification)
		q.At = s.clock.Now()
		if in.At != nil {
			q.At = *in.At
		}
		if nearest, refused := s.set().Nearest(q.VM, nil); q.Duration == 0 && len(refused) == 0 {
			q.Duration = nearest.Default()
		}
		d := s.set().Decide(q)
		a := api.PolicyAnswer{VM: t.VM, Verdict: string(d.Verdict()), Unmet: unmetOf(d), Extensions: d.Extensions, BreakGlass: d.BreakGlass != nil}
		var refs []string
		for _, p := range d.Applied {
			refs = append(refs, p.Ref()+" sha256:"+p.Hash)
		}
		a.Policies = strings.Join(refs, "; ")
		if d.Longest > 0 {
			a.Longest = policy.FormatDuration(d.Longest)
		}
		a.Approval = approvalOf(d)
		out.Answers = append(out.Answers, a)
	}
	answer(w, http.StatusOK, out)
}

func (s *service) whatIf(w http.ResponseWriter, r *http.Request) {
	var in api.PolicyChange
	if !body(w, r, &in) {
		return
	}
	before := s.set()
	after := slices.Clone(before)
	for i, text := range in.Documents {
		d, ok := parsed(w, fmt.Sprintf("documents[%d]", i), text)
		if !ok {
			return
		}
		after = append(slices.DeleteFunc(after, func(p policy.Policy) bool { return p.Key() == d.Key() }), policy.New(d, 9))
	}
	for _, key := range in.Remove {
		after = slices.DeleteFunc(after, func(p policy.Policy) bool { return p.Key() == key.Key && p.Scope.String() == key.Scope })
	}
	out := api.PolicyForecast{Looked: len(s.requests), Differences: []api.Difference{}}
	for _, n := range s.requests {
		for _, t := range n.Targets {
			q := asked(t.VM, t.Ports, n.Source, n.Duration, n.Justification)
			q.At = n.CreatedAt
			was, would := before.Decide(q), after.Decide(q)
			difference := api.Difference{Request: n.ID, VM: t.VM, Requester: n.Requester, CreatedAt: n.CreatedAt, State: t.State,
				Before: string(was.Verdict()), After: string(would.Verdict()), Unmet: unmetOf(would)}
			if was.Verdict() == policy.NeedsApproval && would.Verdict() == policy.NeedsApproval {
				difference.ApprovalBefore, difference.ApprovalAfter = approvalOf(was), approvalOf(would)
			}
			if was.Verdict() != would.Verdict() || difference.ApprovalBefore != nil && !was.Approval.Same(*would.Approval) {
				out.Differences = append(out.Differences, difference)
			}
		}
	}
	answer(w, http.StatusOK, out)
}

// number is a query parameter.
func number(r *http.Request, name string, otherwise int) int {
	if n, err := strconv.Atoi(r.URL.Query().Get(name)); err == nil {
		return n
	}
	return otherwise
}
