package arm_test

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"jitgate/internal/access"
	"jitgate/internal/armid"
	local "jitgate/internal/local/arm"
)

func TestMachines(t *testing.T) {
	e := start(t, local.Options{PageSize: 1})
	machines := map[string]int{}
	if err := e.Machines(e.ctx, sub, func(id armid.ID) error { machines[id.Name()]++; return nil }); err != nil {
		t.Fatal(err)
	}
	want := map[string]int{"both": 1, "same": 1, "nic-only": 1, "subnet-only": 1, "two-nics": 1, "bare": 1}
	if diff := cmp.Diff(want, machines); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]int{"vm.list": len(want)}, e.Counts()); diff != "" {
		t.Error(diff)
	}
	stop := errors.New("enough")
	calls := 0
	if err := e.Machines(e.ctx, sub, func(armid.ID) error { calls++; return stop }); err != stop || calls != 1 {
		t.Errorf("%v after %d calls", err, calls)
	}
	e.FailNext("vm.list", 4, local.Fault{Status: 500})
	if err := e.Machines(e.ctx, sub, func(armid.ID) error { return nil }); !errors.Is(err, access.ErrUnavailable) {
		t.Error(err)
	}
}

func TestMembers(t *testing.T) {
	for _, pageSize := range []int{0, 1, 3} {
		e := start(t, local.Options{Topology: landscape(), PageSize: pageSize})
		got, err := e.Members(e.ctx, sub)
		if err != nil {
			t.Fatal(err)
		}
		want := map[string][]netip.Addr{asg("asg-web"): addrs("10.9.0.4", "10.9.1.4", "10.9.1.5"), asg("asg-db"): addrs("10.9.1.4", "10.9.1.5")}
		if diff := cmp.Diff(want, got, same); diff != "" {
			t.Error(diff)
		}
		for kind := range e.Counts() {
			if kind != "nic.list" {
				t.Errorf("a call of %s", kind)
			}
		}
		e.FailNext("nic.list", 1, local.Fault{Status: 403, Code: "AuthorizationFailed"})
		if _, err := e.Members(e.ctx, sub); !errors.Is(err, access.ErrForbidden) {
			t.Error(err)
		}
	}
}

// TestEstateSaysWhatLocateSays compares them machine by machine and group by group.
func TestEstateSaysWhatLocateSays(t *testing.T) {
	demo, err := local.ParseTopology(local.DemoTopology())
	if err != nil {
		t.Fatal(err)
	}
	for name, topology := range map[string]local.Topology{"varied": local.Varied(40), "demo": demo, "landscape": landscape(), "small": topology(foreignRules()...)} {
		for _, pageSize := range []int{0, 7} {
			t.Run(fmt.Sprint(name, pageSize), func(t *testing.T) {
				topology.Subscriptions[0].ResourceGroups[0].VMs[0].Tags = map[string]string{"env": "prod"}
				e := start(t, local.Options{Topology: topology, PageSize: pageSize})
				machines, nics, networks, groups := 0, 0, 0, 0
				for _, g := range topology.Subscriptions[0].ResourceGroups {
					machines, networks, groups = machines+len(g.VMs), networks+len(g.VNets), groups+len(g.NSGs)
					for _, m := range g.VMs {
						nics += len(m.NICs)
					}
				}
				got, err := e.Estate(e.ctx, topology.Subscriptions[0].ID)
				if err != nil {
					t.Fatal(err)
				}
				pages := func(n int) int {
					if pageSize == 0 {
						return 1
					}
					return (n + pageSize - 1) / pageSize
				}
				want := map[string]int{"vm.list": pages(machines), "nic.list": pages(nics), "vnet.list": pages(networks), "nsg.list": pages(groups)}
				if diff := cmp.Diff(want, e.Counts()); diff != "" {
					t.Errorf("calls: %s", diff)
				}
				if e.wire.most > 4 {
					t.Errorf("%d calls at once", e.wire.most)
				}
				if len(got.Machines) != machines || len(got.Groups) != groups {
					t.Errorf("%d machines and %d groups, want %d and %d", len(got.Machines), len(got.Groups), machines, groups)
				}
				if !slices.ContainsFunc(got.Machines, func(m access.Machine) bool { return m.Tags["env"] == "prod" }) {
					t.Error("no machine has the tag that was put on the first")
				}
				for _, m := range got.Machines {
					located, err := e.Locate(e.ctx, m.VM)
					if err != nil {
						t.Fatal(err)
					}
					if diff := cmp.Diff(located, m, same); diff != "" {
						t.Error(diff)
					}
				}
				for key, g := range got.Groups {
					id := armid.MustParse(g.ID)
					one, err := e.Group(e.ctx, id)
					if err != nil {
						t.Fatal(err)
					}
					for i := range one.Rules {
						one.Rules[i].Verbatim = nil // lists do not keep it
					}
					if diff := cmp.Diff(one, g); diff != "" || key != id.Key() {
						t.Errorf("%s under %s: %s", g.ID, key, diff)
					}
				}
				members, err := e.Members(e.ctx, sub)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(members, got.Members, same); diff != "" {
					t.Error(diff)
				}
				if lines := e.logs.take(slog.LevelWarn); len(lines) > 0 {
					t.Errorf("warnings: %q", lines)
				}
			})
		}
	}
}

func TestEstateFails(t *testing.T) {
	for _, kind := range []string{"vm.list", "nic.list", "vnet.list", "nsg.list"} {
		t.Run(kind, func(t *testing.T) {
			e := start(t, local.Options{Topology: landscape(), PageSize: 1})
			for _, test := range []struct {
				times int
				fault local.Fault
				want  error
			}{
				{3, local.Fault{Status: 429, Code: "TooManyRequests"}, nil}, // the SDK tries again
				{99, local.Fault{Status: 429, Code: "TooManyRequests"}, access.ErrUnavailable},
				{99, local.Fault{Status: 503}, access.ErrUnavailable},
				{99, local.Fault{Status: 403, Code: "AuthorizationFailed"}, access.ErrForbidden},
				{99, local.Fault{Status: 404, Code: "SubscriptionNotFound"}, access.ErrForbidden},
			} {
				left := test.times
				page := 0
				e.SetHooks(func(op local.Op) *local.Fault {
					if op.Kind != kind {
						return nil
					}
					if page++; page == 1 || left == 0 { // the first page comes
						return nil
					}
					left--
					return &test.fault
				}, nil)
				got, err := e.Estate(e.ctx, sub)
				if !errors.Is(err, test.want) {
					t.Errorf("%+v: %v, want %v", test.fault, err, test.want)
				}
				if test.want == nil && (len(got.Machines) != len(machines()) || len(got.Groups) != 2 || left != 0) {
					t.Errorf("%d machines, %d groups, %d faults left", len(got.Machines), len(got.Groups), left)
				}
				if test.want != nil && got.Machines != nil {
					t.Errorf("half an estate with %v", err)
				}
			}
		})
	}
}

func TestListsHonourRetryAfter(t *testing.T) {
	t.Parallel() // the SDK waits on the real clock
	e := start(t, local.Options{Topology: landscape()})
	e.FailNext("nic.list", 1, local.Fault{Status: 429, Code: "TooManyRequests", RetryAfter: time.Second})
	began := time.Now()
	if _, err := e.Estate(e.ctx, sub); err != nil {
		t.Fatal(err)
	}
	if waited := time.Since(began); waited < time.Second {
		t.Errorf("came back after %s", waited)
	}
}

// TestEstateKeepsWhatItCan: one strange resource does not hide the others.
func TestEstateKeepsWhatItCan(t *testing.T) {
	e := start(t, local.Options{Topology: landscape()})
	e.wire.rewrite = func(r *http.Request, body []byte) []byte {
		return edit(body, func(o object) {
			for _, item := range o["value"].([]any) {
				r := item.(object)
				p := r["properties"].(object)
				switch r["name"] {
				case "in-far", "nsg-b":
					r["id"] = "strange"
				case "both-nic":
					p["networkSecurityGroup"] = object{"id": "strange"}
				case "in-hub":
					delete(p["networkProfile"].(object), "networkInterfaces")
				case "many":
					for _, n := range p["networkProfile"].(object)["networkInterfaces"].([]any) {
						delete(n.(object), "properties")
					}
				}
			}
			o["value"] = append(o["value"].([]any), nil)
		})
	}
	got, err := e.Estate(e.ctx, sub)
	if err != nil {
		t.Fatal(err)
	}
	want := machines()
	delete(want, "in-far")
	for _, name := range []string{"both", "in-hub", "many"} { // Locate would refuse these
		want[name] = nil
	}
	listed := map[string][]access.Interface{}
	for _, m := range got.Machines {
		listed[m.VM.Name()] = m.Interfaces
		// A machine without NICs is seen whole, unlike one whose NICs we cannot tell apart.
		if name := m.VM.Name(); m.Unseen != (name == "both" || name == "many") {
			t.Errorf("%s is unseen: %v", name, m.Unseen)
		}
	}
	if diff := cmp.Diff(want, listed, same); diff != "" {
		t.Error(diff)
	}
	if len(got.Groups) != 1 || got.Groups[id.Key()].ID == "" {
		t.Errorf("groups %v", got.Groups)
	}
	if lines := strings.Join(e.logs.take(slog.LevelWarn), "\n"); strings.Count(lines, "\n") != 4 {
		t.Errorf("warnings: %s", lines)
	}
}
