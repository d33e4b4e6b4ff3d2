package arm

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// serveControl answers what is not ARM: the probe and the controls of a stand-in
// that runs in its own process. They ask for no token, which is why a stand-in
// listens on 127.0.0.1 only.
//
//	GET  /probe?vm=&to=&source=&port=&protocol=   an Answer
//	GET  /control/counts                          calls by kind
//	POST /control/latency                         {"latency":"3s"}
//	POST /control/faults                          see order
func (s *Server) serveControl(w http.ResponseWriter, r *http.Request) bool {
	var body any
	var err error
	switch r.Method + " " + r.URL.Path {
	case "GET /probe":
		body, err = s.probeQuery(r)
	case "GET /control/counts":
		body = s.Counts()
	case "POST /control/latency":
		body, err = s.setLatency(r)
	case "POST /control/faults":
		body, err = s.orderFault(r)
	default:
		if r.URL.Path != "/probe" && !strings.HasPrefix(r.URL.Path, "/control/") {
			return false
		}
		refuse(http.StatusNotFound, "NotFound", "There is no %s %s.", r.Method, r.URL.Path).write(w, r)
		return true
	}
	if err != nil {
		refuse(http.StatusBadRequest, "BadRequest", "%v", err).write(w, r)
		return true
	}
	ok(body).write(w, r)
	return true
}

func (s *Server) probeQuery(r *http.Request) (Answer, error) {
	q := r.URL.Query()
	source, err := netip.ParseAddr(q.Get("source"))
	if err != nil {
		return Answer{}, fmt.Errorf("source must be an IP address: %w", err)
	}
	var to netip.Addr
	if text := q.Get("to"); text != "" {
		if to, err = netip.ParseAddr(text); err != nil {
			return Answer{}, fmt.Errorf("to must be an IP address: %w", err)
		}
	}
	number, err := strconv.ParseUint(q.Get("port"), 10, 16)
	if err != nil {
		return Answer{}, fmt.Errorf("port must be 0 to 65535: %w", err)
	}
	protocol := q.Get("protocol")
	if protocol == "" {
		protocol = "Tcp"
	}
	return s.Probe(Packet{VM: q.Get("vm"), To: to, Source: source, Port: uint16(number), Protocol: protocol})
}

func (s *Server) setLatency(r *http.Request) (any, error) {
	var in struct {
		Latency string `json:"latency"`
	}
	if err := decodeStrict(r, &in); err != nil {
		return nil, err
	}
	d, err := time.ParseDuration(in.Latency)
	if err != nil || d < 0 {
		return nil, fmt.Errorf("latency %q must be a duration such as 3s", in.Latency)
	}
	s.SetLatency(d)
	return map[string]string{"latency": d.String()}, nil
}

// faultOrder is the body of POST /control/faults. By default the next Count calls of
// Kind are answered with Status, Code and Message; with Drop their connection is
// cut; with Supersede they are accepted and end Canceled. Count is 1 when absent.
type faultOrder struct {
	Kind       string `json:"kind"`
	Count      int    `json:"count"`
	Status     int    `json:"status"`
	Code       string `json:"code"`
	Message    string `json:"message"`
	RetryAfter string `json:"retryAfter"` // a duration such as 5s
	Drop       bool   `json:"drop"`
	Supersede  bool   `json:"supersede"`
}

func (s *Server) orderFault(r *http.Request) (any, error) {
	in := faultOrder{Count: 1}
	if err := decodeStrict(r, &in); err != nil {
		return nil, err
	}
	f := Fault{Status: in.Status, Code: in.Code, Message: in.Message, Drop: in.Drop}
	if in.RetryAfter != "" {
		var err error
		if f.RetryAfter, err = time.ParseDuration(in.RetryAfter); err != nil {
			return nil, fmt.Errorf("retryAfter: %w", err)
		}
	}
	switch {
	case in.Count < 1:
		return nil, fmt.Errorf("count %d must be at least 1", in.Count)
	case in.Supersede:
		s.SupersedeNext(in.Kind, in.Count)
	case !in.Drop && (in.Status < 400 || in.Status > 599):
		return nil, fmt.Errorf("status %d must be 400 to 599", in.Status)
	default:
		s.FailNext(in.Kind, in.Count, f)
	}
	return map[string]any{"ordered": in}, nil
}

func decodeStrict(r *http.Request, into any) error {
	d := json.NewDecoder(io.LimitReader(r.Body, 1<<16))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("body: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("body: there is something behind the JSON object")
	}
	return nil
}
