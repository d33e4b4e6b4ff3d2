package logicapp

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// jitgate is the part of jitgate's API that workflows call, as docs/api.md and the
// definitions have it.
type jitgate struct {
	*script
	t  *testing.T
	mu sync.Mutex

	reader   bool           // whether the caller may read requests
	lose     int            // how many answers to creations and decisions get lost
	refuse   int            // status that creations and decisions are refused with; 0 = none
	requests map[string]int // by Idempotency-Key: the number of the request
	state    string         // of all requests

	decisions     []string // "approve 1 …"
	subscriptions map[string]string
	events        []string // that the last subscription was for
	cancelled     []string
}

func newJitgate(t *testing.T) *jitgate {
	j := &jitgate{t: t, reader: true, state: "AwaitingApproval", requests: map[string]int{}, subscriptions: map[string]string{}}
	j.script = serve(t, func(_ int, c heard, w http.ResponseWriter) { j.answer(c, w) })
	return j
}

func (j *jitgate) set(f func()) {
	j.mu.Lock()
	defer j.mu.Unlock()
	f()
}

func (j *jitgate) answer(c heard, w http.ResponseWriter) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if c.header.Get("Authorization") != "Bearer token for "+audience {
		reply(w, http.StatusUnauthorized, "")
		return
	}
	segments := strings.Split(strings.TrimPrefix(c.path, "/api/"), "/")
	route := c.method + " " + segments[0] + strings.Repeat("/*", len(segments)-1)
	changes := route == "POST requests" || route == "POST requests/*/*"
	if changes && j.refuse != 0 {
		reply(w, j.refuse, `{"code":"refused"}`)
		return
	}
	var fields struct {
		Comment               string
		Approver              *struct{ Object, Name string }
		CallbackURL           string
		RequestID             string
		Events                []string
		Source, Justification string
		Targets               []any
	}
	if c.body != "" {
		d := json.NewDecoder(bytes.NewReader([]byte(c.body)))
		if err := d.Decode(&fields); err != nil {
			reply(w, http.StatusBadRequest, "")
			return
		}
	}
	status := http.StatusAccepted
	id := ""
	switch route {
	case "POST requests":
		key := c.header.Get("Idempotency-Key")
		if key == "" || fields.Source == "" || fields.Justification == "" || len(fields.Targets) == 0 {
			reply(w, http.StatusBadRequest, "")
			return
		}
		if j.requests[key] == 0 {
			j.requests[key] = len(j.requests) + 1
		}
		id = strconv.Itoa(j.requests[key])
	case "GET requests/*":
		id = segments[1]
		if !j.reader {
			reply(w, http.StatusForbidden, "")
			return
		}
		if j.state != "AwaitingApproval" && j.state != "Approved" {
			status = http.StatusOK
		}
	case "POST requests/*/*":
		id = segments[1]
		if fields.Approver == nil || fields.Approver.Object == "" {
			reply(w, http.StatusForbidden, `{"code":"approver_unknown"}`)
			return
		}
		j.decisions = append(j.decisions, strings.Join([]string{segments[2], id, fields.Approver.Object, fields.Approver.Name, fields.Comment}, "|"))
	case "POST subscriptions":
		j.events = fields.Events
		j.subscriptions[fields.RequestID] = fields.CallbackURL
		reply(w, http.StatusCreated, `{"subscriptionId":"s1"}`)
		return
	case "POST subscriptions/*":
		j.cancelled = append(j.cancelled, fields.RequestID)
		if j.subscriptions[fields.RequestID] != fields.CallbackURL {
			j.t.Error("another subscription is cancelled than was made")
		}
		reply(w, http.StatusOK, "")
		return
	default:
		j.t.Errorf("no such route: %s", c)
		reply(w, http.StatusNotFound, "")
		return
	}
	if changes && j.lose > 0 {
		j.lose--
		reply(w, http.StatusServiceUnavailable, "")
		return
	}
	if status == http.StatusAccepted {
		w.Header().Set("Location", j.URL+"/api/requests/"+id)
		w.Header().Set("Retry-After", "2")
	}
	reply(w, status, `{"id":"`+id+`","state":"`+j.state+`"}`)
}
