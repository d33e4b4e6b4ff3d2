package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"jitgate/internal/api"
	"jitgate/internal/armid"
	"jitgate/internal/client"
)

const (
	group = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-web"
	web01 = group + "/providers/Microsoft.Compute/virtualMachines/web01"
)

// serve answers every call with the same status and body, and notes the calls.
func serve(t *testing.T, status func(call int) int, body any) (*client.Client, *[]string) {
	var calls []string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var in json.RawMessage
		_ = json.NewDecoder(r.Body).Decode(&in)
		calls = append(calls, strings.TrimSpace(fmt.Sprintf("%s %s %s", r.Method, r.RequestURI, in)))
		w.Header().Set("Retry-After", "0")
		w.WriteHeader(status(len(calls)))
		_ = json.NewEncoder(w).Encode(body)
	}))
	t.Cleanup(s.Close)
	return &client.Client{Base: s.URL, Token: func(context.Context) (string, error) { return "t", nil }}, &calls
}

func ok(int) int { return http.StatusOK }

func TestCallsAboutMachines(t *testing.T) {
	c, calls := serve(t, ok, struct{}{})
	ctx := t.Context()
	shouted := strings.ToUpper(group) + "/PROVIDERS/MICROSOFT.COMPUTE/VIRTUALMACHINES/WEB01"
	odd := strings.Replace(web01, "rg-web", "größe_(1).x", 1)
	for _, call := range []func() error{
		func() error { _, err := c.Machines(ctx, client.MachineFilter{}); return err },
		func() error {
			_, err := c.Machines(ctx, client.MachineFilter{Name: "web 01&x", State: "Protected"})
			return err
		},
		func() error { _, _, err := c.Machine(ctx, web01); return err },
		func() error { _, _, err := c.Machine(ctx, shouted); return err },
		func() error { _, err := c.MachineEvents(ctx, odd); return err },
		func() error {
			_, err := c.Protect(ctx, web01, api.NewProtection{Ports: []api.PortRange{{Ports: "22", Protocol: "TCP"}}, FlushConnection: new(true)}, true)
			return err
		},
		func() error { _, err := c.Protect(ctx, web01, api.NewProtection{}, false); return err },
		func() error {
			_, err := c.Unprotect(ctx, web01, api.EndProtection{Priorities: map[string]int{"allow-ssh": 310}}, true)
			return err
		},
		func() error { _, err := c.Unprotect(ctx, web01, api.EndProtection{}, false); return err },
		func() error {
			_, err := c.Explain(ctx, web01, client.Question{Port: 22, Protocol: "TCP", Source: "2001:db8::1"})
			return err
		},
		func() error { _, err := c.Explain(ctx, web01, client.Question{Port: 53, Protocol: "UDP"}); return err },
		func() error { _, err := c.Report(ctx, nil); return err },
		func() error { _, err := c.Report(ctx, []string{group, group + "-b"}); return err },
	} {
		if err := call(); err != nil {
			t.Error(err)
		}
	}
	const scope = "scope=%2Fsubscriptions%2F00000000-0000-0000-0000-000000000001%2FresourceGroups%2Frg-web"
	if diff := cmp.Diff([]string{
		"GET /api/machines",
		"GET /api/machines?name=web+01%26x&state=Protected",
		"GET /api/machines" + web01,
		"GET /api/machines" + strings.NewReplacer("rg-web", "RG-WEB", "web01", "WEB01").Replace(web01),
		"GET /api/machines" + strings.Replace(web01, "rg-web", "gr%C3%B6%C3%9Fe_%281%29.x", 1) + "/events",
		"POST /api/machines" + web01 + `/protect?whatIf=true {"ports":[{"ports":"22","protocol":"TCP"}],"flushConnection":true}`,
		"POST /api/machines" + web01 + "/protect {}",
		"POST /api/machines" + web01 + `/unprotect?whatIf=true {"priorities":{"allow-ssh":310}}`,
		"POST /api/machines" + web01 + "/unprotect {}",
		"GET /api/machines" + web01 + "/explain?port=22&protocol=TCP&source=2001%3Adb8%3A%3A1",
		"GET /api/machines" + web01 + "/explain?port=53&protocol=UDP",
		"GET /api/machines/report",
		"GET /api/machines/report?" + scope + "&" + scope + "-b",
	}, *calls); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}

// TestNoOtherPath: what is no id of a machine is not sent, so that it cannot be a
// call to something else.
func TestNoOtherPath(t *testing.T) {
	c, calls := serve(t, ok, struct{}{})
	for _, id := range []string{
		"", "/", "web01", "report", "/report", group, web01 + "/extensions/x", web01 + "?whatIf=true", web01 + "/..", web01 + "/",
		strings.Replace(web01, "rg-web", "..", 1), strings.Replace(web01, "rg-web", ".", 1), strings.Replace(web01, "web01", "..", 1),
		strings.Replace(web01, "Compute/virtualMachines", "Network/networkSecurityGroups", 1),
	} {
		_, _, err := c.Machine(t.Context(), id)
		_, err2 := c.Protect(t.Context(), id, api.NewProtection{}, false)
		_, err3 := c.Explain(t.Context(), id, client.Question{Port: 22, Protocol: "TCP"})
		_, err4 := c.MachineEvents(t.Context(), id)
		for _, err := range []error{err, err2, err3, err4} {
			if !errors.Is(err, armid.ErrInvalid) {
				t.Errorf("%q: %v", id, err)
			}
		}
	}
	if len(*calls) > 0 {
		t.Errorf("calls %q", *calls)
	}
}

func TestWaitMachineEndsWhenItIsSettled(t *testing.T) {
	c, calls := serve(t, func(call int) int {
		if call < 4 {
			return http.StatusAccepted
		}
		return http.StatusOK
	}, api.Protection{VM: web01, State: "Protecting"})
	seen := 0
	p, err := c.WaitMachine(t.Context(), web01, func(api.Protection) { seen++ })
	if err != nil || p.VM != web01 || seen != 4 || len(*calls) != 4 {
		t.Errorf("%+v, %v after %d looks in %d calls", p, err, seen, len(*calls))
	}

	c, _ = serve(t, func(int) int { return http.StatusAccepted }, api.Protection{VM: web01, State: "Protecting"})
	ctx, cancel := context.WithCancel(t.Context())
	p, err = c.WaitMachine(ctx, web01, func(api.Protection) { cancel() })
	if !errors.Is(err, context.Canceled) || p.State != "Protecting" {
		t.Errorf("interrupted: %+v, %v; want what was seen last", p, err)
	}
}

func TestProblemsAboutMachines(t *testing.T) {
	c, _ := serve(t, func(int) int { return http.StatusConflict }, api.Problem{Status: http.StatusConflict, Code: "priority_taken", Detail: "Taken.",
		Errors: []api.Fault{{Field: "priorities.allow-ssh", Code: "priority_taken", Detail: "Taken."}}})
	_, err := c.Unprotect(t.Context(), web01, api.EndProtection{}, false)
	var problem *api.Problem
	if client.Code(err) != "priority_taken" || !errors.As(err, &problem) || len(problem.Errors) != 1 || problem.Errors[0].Field != "priorities.allow-ssh" {
		t.Errorf("got %v", err)
	}
}
