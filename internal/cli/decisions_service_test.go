package cli

import (
	"net/http"
	"strings"
	"time"

	"jitgate/internal/api"
	"jitgate/internal/policy"
)

func (s *service) serveDecisions(mux *http.ServeMux) {
	mux.HandleFunc("POST /api/requests/{id}/approve", func(w http.ResponseWriter, r *http.Request) { s.vote(w, r, true) })
	mux.HandleFunc("POST /api/requests/{id}/deny", func(w http.ResponseWriter, r *http.Request) { s.vote(w, r, false) })
	mux.HandleFunc("POST /api/requests/{id}/extend", s.extend)
	mux.HandleFunc("POST /api/requests/{id}/review", s.review)
}

// await has a target wait for one approver, until two hours after the request.
func (n *stored) await(t *api.Target) {
	t.State = "AwaitingApproval"
	t.Approval = &api.Approval{Quorum: 1, Within: "PT2H", Approvers: []api.Principals{{Roles: []string{"Jit.Approve"}}}, Policies: []string{subscription + " version 1"}}
	n.DecideBy = new(n.CreatedAt.Add(2 * time.Hour))
}

func (s *service) vote(w http.ResponseWriter, r *http.Request, agrees bool) {
	var in api.NewVote
	n := s.find(w, r)
	if n == nil || !body(w, r, &in) {
		return
	}
	switch {
	case n.Requester.Name == caller(r):
		refuse(w, http.StatusForbidden, "own_request", "Nobody decides their own request; somebody else has to.")
		return
	case n.State != "AwaitingApproval":
		refuse(w, http.StatusConflict, "request_not_awaiting", "The request does not wait for an approval: it is "+n.State+".")
		return
	}
	n.Votes = append(n.Votes, api.Vote{By: api.Person{Object: "r007", Name: caller(r)}, Agrees: agrees, Comment: in.Comment, At: s.clock.Now().UTC()})
	for i := range n.Targets {
		switch t := &n.Targets[i]; {
		case t.State == "AwaitingApproval" && agrees:
			t.State = "Approved"
			t.ExpiresAt = new(s.clock.Now().UTC().Truncate(time.Second).Add(time.Hour))
		case t.State == "AwaitingApproval":
			t.State, t.Reason = "Rejected", &api.Reason{Code: "rejected", Text: "An approver said no: " + in.Comment}
		}
	}
	n.derive()
	n.polls = 0
	s.accepted(w, n)
}

func (s *service) extend(w http.ResponseWriter, r *http.Request) {
	var in api.NewExtension
	n := s.find(w, r)
	if n == nil || !body(w, r, &in) {
		return
	}
	d, err := policy.ParseDuration(in.Duration)
	switch {
	case err != nil:
		refuse(w, http.StatusBadRequest, "duration_invalid", "The duration is not usable.")
		return
	case n.State != "Active":
		refuse(w, http.StatusConflict, "request_not_active", "Only access that is open can be extended; this request is "+n.State+".")
		return
	case n.Extensions > 1:
		detail := "The policy allows 2 extension(s), and they are used up; ask anew when it has ended."
		refuse(w, http.StatusForbidden, "extension_not_allowed", detail,
			api.Fault{Field: "targets[0]", Code: "extension_not_allowed", Detail: detail, Policy: subscription + " version 1", Passes: "a new request"})
		return
	}
	n.Extensions++
	for i := range n.Targets {
		n.Targets[i].ExpiresAt = new(n.Targets[i].ExpiresAt.Add(d))
	}
	s.accepted(w, n)
}

func (s *service) review(w http.ResponseWriter, r *http.Request) {
	var in api.NewReview
	n := s.find(w, r)
	switch {
	case n == nil || !body(w, r, &in):
	case n.Review == nil || n.Review.ClosedAt != nil:
		refuse(w, http.StatusConflict, "review_not_due", "Nobody broke the glass for this request; there is nothing to review.")
	case n.Requester.Name == caller(r):
		refuse(w, http.StatusForbidden, "own_request", "Whoever broke the glass cannot close the review; somebody else has to.")
	default:
		n.Review.By, n.Review.Comment, n.Review.ClosedAt = &api.Person{Object: "r007", Name: caller(r)}, in.Comment, new(s.clock.Now().UTC())
		answer(w, http.StatusOK, n.Request)
	}
}

// unmet is what stands against a machine that is called denied-….
var unmet = []api.Unmet{
	{Code: "port_not_allowed", Text: "The policy does not allow this port.", Policy: subscription + " version 1", Passes: "443/TCP"},
	{Code: "condition_unmet", Text: "Not on Sundays.", Policy: "guardrail tenant version 3"},
}

func (s *service) serveWatch(mux *http.ServeMux) {
	mux.HandleFunc("GET /api/lockdowns", s.listLockdowns)
	mux.HandleFunc("POST /api/lockdowns", s.lockDown)
	mux.HandleFunc("POST /api/lockdowns/{id}/lift", s.lift)
	mux.HandleFunc("GET /api/events", s.record)
}

func (s *service) listLockdowns(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, api.LockdownList{Lockdowns: append([]api.Lockdown{}, s.lockdowns...)})
}

func (s *service) lockDown(w http.ResponseWriter, r *http.Request) {
	var in api.NewLockdown
	if !body(w, r, &in) {
		return
	}
	if !people[caller(r)] {
		refuse(w, http.StatusForbidden, "role_missing", "None of your app roles allows this.")
		return
	}
	l := api.Lockdown{ID: "01990f3e-0000-7000-8000-0000000000" + string(rune('a'+len(s.events))) + "0", User: in.User, Scope: in.Scope, Reason: in.Reason,
		By: api.Person{Object: "r007", Name: caller(r)}, At: s.clock.Now().UTC()}
	if in.Until != "" {
		until, err := time.Parse(time.RFC3339, in.Until)
		if err != nil || !until.After(s.clock.Now()) {
			refuse(w, http.StatusBadRequest, "lockdown_invalid", "That is not a time to come.", api.Fault{Field: "until", Code: "lockdown_invalid", Detail: "That is not a time to come."})
			return
		}
		l.Until = &until
	}
	ended := 0
	for _, n := range s.requests {
		if n.State != "Active" && n.State != "AwaitingApproval" {
			continue
		}
		ended++
		for i := range n.Targets {
			n.Targets[i].State = "Closing"
		}
		n.derive()
	}
	s.lockdowns = append(s.lockdowns, l)
	s.note("lockdown.set", l.By, l.Reason)
	answer(w, http.StatusCreated, api.LockedDown{Lockdown: l, Ended: ended})
}

func (s *service) lift(w http.ResponseWriter, r *http.Request) {
	var in api.LiftLockdown
	if !body(w, r, &in) {
		return
	}
	for i, l := range s.lockdowns {
		if l.ID == r.PathValue("id") {
			s.lockdowns = append(s.lockdowns[:i:i], s.lockdowns[i+1:]...)
			s.note("lockdown.lifted", api.Person{Object: "r007", Name: caller(r)}, strings.TrimSpace("No longer in force. "+in.Comment))
			s.listLockdowns(w, r)
			return
		}
	}
	refuse(w, http.StatusNotFound, "lockdown_not_found", "There is no lockdown with this id in force.")
}

// note puts an event on the installation's record.
func (s *service) note(kind string, by api.Person, text string) {
	s.events = append(s.events, api.Event{Sequence: len(s.events) + 1, At: s.clock.Now().UTC(), Kind: kind, Actor: by.Object, Name: by.Name, Text: text})
}

func (s *service) record(w http.ResponseWriter, r *http.Request) {
	if !query(w, r, "after", "limit") {
		return
	}
	after, limit := number(r, "after", 0), number(r, "limit", 200)
	out := api.EventList{Events: []api.Event{}}
	for _, e := range s.events {
		if e.Sequence > after && len(out.Events) < limit {
			out.Events = append(out.Events, e)
		}
	}
	answer(w, http.StatusOK, out)
}
