package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"

	"jitgate/internal/api"
	"jitgate/internal/policy"
)

// service stands in for jitgate's HTTP API and for the local stack's sign-in. What
// becomes of a machine is in its name: denied-…, failed-… and waiting-… end as they
// are called (waiting-… never ends), others open, stopped-… with a warning. What
// becomes of protections is in machines_service_test.go.
type service struct {
	*httptest.Server
	clock clockwork.Clock

	mu        sync.Mutex
	machines  []api.Machine
	requests  []*stored // oldest first
	policies  shelf
	guarded   map[string]*guarded // by VM id, lower case
	lockdowns []api.Lockdown
	events    []api.Event // the installation's record
	calls     []string
	scopes    []string // of the last report
	keys      []string
	lose      int // so many answers are lost: the call is carried out, the caller gets 503
	down      int // so many calls get 503 and nothing is done
	fail      *api.Problem
	badly     bool // fail without a problem document
}

type stored struct {
	api.Request
	key   string
	polls int
}

const (
	subscription = "/subscriptions/00000000-0000-0000-0000-000000000001"
	compute      = "/providers/Microsoft.Compute/virtualMachines/"
	network      = "/providers/Microsoft.Network/networkSecurityGroups/"
	farther      = "/subscriptions/00000000-0000-0000-0000-000000000002"
	web1         = subscription + "/resourceGroups/web" + compute + "web-1"
	firstID      = "01990f3e-0000-7000-8000-000000000001"
)

func newService(t testing.TB, clock clockwork.Clock) *service {
	s := &service{clock: clock, guarded: map[string]*guarded{}}
	for _, name := range []string{"web-1", "web-2", "denied-1", "failed-1", "waiting-1", "stopped-1", "blocked-1", "taken-1"} {
		s.machines = append(s.machines, api.Machine{ID: subscription + "/resourceGroups/web" + compute + name, Name: name})
	}
	for _, group := range []string{"east", "west"} {
		s.machines = append(s.machines, api.Machine{ID: subscription + "/resourceGroups/" + group + compute + "twin", Name: "twin"})
	}
	s.machines = append(s.machines, api.Machine{ID: farther + "/resourceGroups/WEB" + compute + "far-1", Name: "far-1"})
	for i := range s.machines {
		s.machines[i].State = "Unprotected"
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /token", s.token)
	api := http.NewServeMux()
	api.HandleFunc("POST /api/requests", s.create)
	api.HandleFunc("GET /api/requests", s.list)
	api.HandleFunc("GET /api/requests/{id}", s.get)
	api.HandleFunc("POST /api/requests/{id}/revoke", s.revoke)
	api.HandleFunc("GET /api/requests/{id}/events", s.requestEvents)
	s.serveMachines(api)
	s.serveDecisions(api)
	s.serveWatch(api)
	s.servePolicies(api)
	mux.Handle("/api/", s.guard(api))
	s.Server = httptest.NewUnstartedServer(mux)
	s.Start()
	t.Cleanup(s.Close)
	return s
}

// people of the stand-in; the token of a person is secret(name).
var people = map[string]bool{"ada": false, "root": true, "rita": true} // true = administrator

func secret(name string) string { return "SECRET-TOKEN-OF-" + name }

func (s *service) token(w http.ResponseWriter, r *http.Request) {
	name := r.URL.Query().Get("user")
	if _, known := people[name]; !known {
		answer(w, http.StatusNotFound, map[string]string{"error": "unknown_user", "error_description": "known are ada, rita, root"})
		return
	}
	_ = json.NewEncoder(w).Encode(map[string]string{"access_token": secret(name), "token_type": "Bearer",
		"expires_on": strconv.FormatInt(s.clock.Now().Add(time.Hour).Unix(), 10)})
}

func (s *service) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.calls = append(s.calls, r.Method+" "+r.URL.Path)
		switch {
		case s.badly:
			http.Error(w, "<html>bad gateway</html>", http.StatusBadGateway)
		case s.fail != nil:
			answer(w, s.fail.Status, s.fail)
		case caller(r) == "":
			refuse(w, http.StatusUnauthorized, "token_signature", "The token's signature does not match.")
		case s.lose > 0 || s.down > 0:
			if s.lose > 0 {
				s.lose--
				next.ServeHTTP(httptest.NewRecorder(), r)
			} else {
				s.down--
				_, _ = io.Copy(io.Discard, r.Body)
			}
			w.Header().Set("Retry-After", "0")
			refuse(w, http.StatusServiceUnavailable, api.Unavailable, "A service jitgate depends on cannot be reached.")
		default:
			next.ServeHTTP(w, r)
		}
	})
}

func caller(r *http.Request) string {
	for name := range people {
		if r.Header.Get("Authorization") == "Bearer "+secret(name) {
			return name
		}
	}
	return ""
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

func refuse(w http.ResponseWriter, status int, code, detail string, faults ...api.Fault) {
	answer(w, status, &api.Problem{Type: "urn:jitgate:problem:" + code, Status: status, Code: code, Detail: detail, Errors: faults})
}

// body reads what a call brings, as strictly as the service.
func body(w http.ResponseWriter, r *http.Request, into any) bool {
	if r.Header.Get("Content-Type") != "application/json" {
		refuse(w, http.StatusUnsupportedMediaType, api.UnsupportedMedia, "The body must be JSON.")
		return false
	}
	decoder := json.NewDecoder(r.Body)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		refuse(w, http.StatusBadRequest, api.MalformedBody, "The body is not what it should be.")
		return false
	}
	_, _ = io.Copy(io.Discard, r.Body)
	return true
}

// query refuses parameters the operation does not have.
func query(w http.ResponseWriter, r *http.Request, names ...string) bool {
	for name := range r.URL.Query() {
		if !slices.Contains(names, name) {
			refuse(w, http.StatusBadRequest, api.UnknownField, "unknown query parameter "+name)
			return false
		}
	}
	return true
}

func (s *service) create(w http.ResponseWriter, r *http.Request) {
	key := r.Header.Get("Idempotency-Key")
	s.keys = append(s.keys, key)
	for _, old := range s.requests {
		if key != "" && old.key == key {
			s.accepted(w, old)
			return
		}
	}
	var in api.NewRequest
	if !body(w, r, &in) {
		return
	}
	var faults []api.Fault
	if in.Duration == "" {
		in.Duration = "PT1H" // what policy says is usual
	}
	d, err := policy.ParseDuration(in.Duration)
	if err != nil || d < policy.MinDuration {
		faults = append(faults, api.Fault{Field: "duration", Code: "duration_too_short", Detail: in.Duration + " is too short; ask for at least PT5M."})
	}
	if in.Source == "any" {
		faults = append(faults, api.Fault{Field: "source", Code: "source_any", Detail: "Access from any address is not given."})
	}
	if len(faults) > 0 {
		details := make([]string, len(faults))
		for i, f := range faults {
			details[i] = f.Detail
		}
		refuse(w, http.StatusBadRequest, faults[0].Code, strings.Join(details, " "), faults...)
		return
	}
	if in.Source == "" {
		in.Source = "127.0.0.1/32"
	}
	n := &stored{key: key, Request: api.Request{
		ID: fmt.Sprintf("01990f3e-0000-7000-8000-%012d", len(s.requests)+1), State: "Pending",
		Requester: api.Person{Object: "0b1d", Name: caller(r)}, Source: in.Source, Duration: in.Duration,
		Justification: in.Justification, CreatedAt: s.clock.Now().UTC().Truncate(time.Second), BreakGlass: in.BreakGlass,
	}}
	if in.BreakGlass {
		n.Review = &api.Review{DueAt: n.CreatedAt.Add(48 * time.Hour)}
	}
	for _, t := range in.Targets {
		n.Targets = append(n.Targets, api.Target{VM: t.VM, Ports: t.Ports, State: "Pending"})
	}
	s.requests = append(s.requests, n)
	s.accepted(w, n)
}

func (s *service) accepted(w http.ResponseWriter, r *stored) {
	w.Header().Set("Location", s.URL+"/api/requests/"+r.ID)
	w.Header().Set("Retry-After", "0")
	answer(w, http.StatusAccepted, r.Request)
}

func (s *service) find(w http.ResponseWriter, r *http.Request) *stored {
	for _, n := range s.requests {
		if n.ID == r.PathValue("id") {
			return n
		}
	}
	refuse(w, http.StatusNotFound, "request_not_found", "There is no request with this id.")
	return nil
}

func (s *service) get(w http.ResponseWriter, r *http.Request) {
	n := s.find(w, r)
	if n == nil {
		return
	}
	n.polls++
	n.proceed(s.clock.Now())
	switch n.State {
	case "Pending", "Approved", "AwaitingApproval", "Closing":
		s.accepted(w, n)
		return
	}
	answer(w, http.StatusOK, n.Request)
}

// proceed moves a request on by one step at every second look.
func (n *stored) proceed(now time.Time) {
	if n.polls%2 != 0 {
		return
	}
	d, _ := policy.ParseDuration(n.Duration)
	end := now.UTC().Truncate(time.Second).Add(d)
	for i := range n.Targets {
		t := &n.Targets[i]
		name := lastPart(t.VM)
		groups := func(state string) []api.Opening {
			return []api.Opening{{NSG: subscription + "/resourceGroups/web" + network + "nsg-" + name, State: state, Rules: []string{"jitgate-" + n.ID[len(n.ID)-4:] + "-" + name}}}
		}
		switch {
		case t.State == "Pending" && strings.HasPrefix(name, "waiting-") && !n.BreakGlass:
			n.await(t)
		case t.State == "Pending" && strings.HasPrefix(name, "denied-"):
			t.State, t.Reason = "Denied", &api.Reason{Code: unmet[0].Code, Text: unmet[0].Text}
			t.Unmet = unmet
		case t.State == "Pending":
			t.State, t.Policy, t.ExpiresAt = "Approved", subscription+" version 1", &end
			t.NSGs = groups("opening")
		case t.State == "Approved" && strings.HasPrefix(name, "failed-"):
			t.State, t.Reason = "Failed", &api.Reason{Code: "nsg_full", Text: "The NSG has no room for another rule."}
			t.NSGs = groups("closed")
		case t.State == "Approved":
			t.State, t.NSGs = "Active", groups("open")
			if strings.HasPrefix(name, "stopped-") {
				t.Warning = &api.Reason{Code: "outranked", Text: "The rule deny-all of others comes first and stops it."}
			}
			n.ExpiresAt = t.ExpiresAt
		case t.State == "Closing":
			t.State, t.NSGs, t.EndedAt = "Revoked", groups("closed"), new(now.UTC().Truncate(time.Second))
		}
	}
	n.derive()
}

func (n *stored) derive() {
	for _, state := range []string{"Pending", "AwaitingApproval", "Approved", "Closing", "Active", "Revoked", "Failed", "Cancelled", "Rejected", "Denied"} {
		for _, t := range n.Targets {
			if t.State == state {
				n.State = state
				return
			}
		}
	}
}

func (s *service) revoke(w http.ResponseWriter, r *http.Request) {
	n := s.find(w, r)
	if n == nil {
		return
	}
	if slices.Contains([]string{"Revoked", "Denied", "Rejected", "Failed", "Cancelled"}, n.State) {
		refuse(w, http.StatusConflict, "request_ended", "The request has ended already ("+n.State+"); there is nothing to revoke.")
		return
	}
	for i := range n.Targets {
		switch t := &n.Targets[i]; t.State {
		case "Pending", "AwaitingApproval":
			t.State = "Cancelled"
		case "Approved", "Active":
			t.State = "Closing"
		}
	}
	n.derive()
	n.polls = 0
	s.accepted(w, n)
}

func (s *service) list(w http.ResponseWriter, r *http.Request) {
	if !query(w, r, "state", "vm", "mine", "review", "limit", "cursor") {
		return
	}
	q := r.URL.Query()
	limit, err := strconv.Atoi(q.Get("limit"))
	if err != nil || limit < 1 || limit > 200 {
		refuse(w, http.StatusBadRequest, api.InvalidField, "The limit is from 1 to 200.")
		return
	}
	limit = min(limit, 2) // small pages, so that there are several
	page := api.RequestPage{Requests: []api.Request{}}
	skip, _ := strconv.Atoi(q.Get("cursor"))
	for i, n := range slices.Backward(s.requests) {
		fits := (q.Get("state") == "" || strings.EqualFold(q.Get("state"), n.State)) &&
			(q.Get("review") == "" || n.Review != nil && n.Review.ClosedAt == nil) &&
			(q.Get("mine") == "" || n.Requester.Name == caller(r)) &&
			(q.Get("vm") == "" || slices.ContainsFunc(n.Targets, func(t api.Target) bool { return t.VM == q.Get("vm") }))
		if !fits || (skip > 0 && i >= skip) {
			continue
		}
		if len(page.Requests) == limit {
			page.Next = strconv.Itoa(i + 1)
			break
		}
		page.Requests = append(page.Requests, n.Request)
	}
	answer(w, http.StatusOK, page)
}

func (s *service) requestEvents(w http.ResponseWriter, r *http.Request) {
	n := s.find(w, r)
	if n == nil {
		return
	}
	answer(w, http.StatusOK, api.EventList{Events: []api.Event{
		{Sequence: 1, At: n.CreatedAt, Kind: "request.created", Actor: "0b1d", Name: n.Requester.Name, Text: "Asked for 1 VM(s)."},
		{Sequence: 2, At: n.CreatedAt, Kind: "request.approved", Actor: "jitgate", VM: n.Targets[0].VM, Text: "Allowed."},
	}})
}
