package e2e_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"
	"golang.org/x/sync/errgroup"

	"jitgate/internal/armid"
	"jitgate/internal/client"
	"jitgate/internal/local"
	"jitgate/internal/local/arm"
)

func TestGrantAndExpiry(t *testing.T) {
	t.Parallel()
	stack := start(t, local.Options{})
	alice := as(stack, "alice")
	probe(t, stack, "web01", inside, "Deny")
	r, answer, err := alice.Create(t.Context(), ask("web01", "PT3S"), "")
	if err != nil || answer.Settled || answer.RetryAfter != 2*time.Second {
		t.Fatalf("create: %+v, %v", answer, err)
	}
	r = waitFor(t, alice, r.ID, "Active")
	probe(t, stack, "web01", inside, "Allow")
	probe(t, stack, "web01", "203.0.113.8", "Deny")
	if n := r.Targets[0].NSGs; len(n) != 1 || len(n[0].Rules) != 1 || n[0].State != "open" || !strings.HasPrefix(n[0].Rules[0], "jitgate-"+r.ID) {
		t.Errorf("openings %+v", n)
	}
	r = waitFor(t, alice, r.ID, "Expired")
	probe(t, stack, "web01", inside, "Deny")
	if late := r.Targets[0].EndedAt.Sub(*r.ExpiresAt); late > 20*time.Second {
		t.Errorf("closed %s after its time", late)
	}
	events, err := alice.Events(t.Context(), r.ID)
	if err != nil || len(events) != 6 {
		t.Errorf("record %+v, %v", events, err)
	}
}

func TestOverlapAndRevoke(t *testing.T) {
	t.Parallel()
	stack := start(t, local.Options{})
	alice, bob := as(stack, "alice"), as(stack, "bob")
	foreign := foreignRules(t, stack)
	first, second := create(t, alice, ask("app01", "PT1H")), create(t, alice, ask("app01", "PT1H"))
	waitFor(t, alice, first.ID, "Active")
	waitFor(t, alice, second.ID, "Active")
	if _, _, err := bob.Revoke(t.Context(), first.ID); err != nil { // an approver may
		t.Fatal(err)
	}
	waitFor(t, alice, first.ID, "Revoked")
	probe(t, stack, "app01", inside, "Allow")
	if scheduled := scheduledWakeUps(t, stack); scheduled != 2 {
		t.Errorf("%d wake-ups are scheduled, want the two of the other request", scheduled)
	}
	if _, _, err := alice.Revoke(t.Context(), second.ID); err != nil {
		t.Fatal(err)
	}
	waitFor(t, alice, second.ID, "Revoked")
	probe(t, stack, "app01", inside, "Deny")
	_, _, err := alice.Revoke(t.Context(), second.ID)
	if client.Code(err) != "request_ended" {
		t.Errorf("revoking an ended request: %v", err)
	}
	if after := foreignRules(t, stack); after != foreign {
		t.Errorf("foreign rules changed:\n%s\n%s", foreign, after)
	}
}

// foreignRules is every rule that is not ours, as stored, in one text.
func foreignRules(t *testing.T, stack *local.Stack) string {
	t.Helper()
	var all strings.Builder
	for _, name := range []string{"nsg-web01", "nsg-data", "nsg-app-subnet", "nsg-app01", "nsg-open01", "nsg-fleet"} {
		id := nsgID(name)
		for _, rule := range stack.ARM.RuleNames(id) {
			if strings.HasPrefix(rule, "jitgate-") {
				continue
			}
			text, err := stack.ARM.RuleJSON(id, rule)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&all, "%s %s %s\n", name, rule, text)
		}
	}
	if all.Len() == 0 {
		t.Fatal("no foreign rules found")
	}
	return all.String()
}

func scheduledWakeUps(t *testing.T, stack *local.Stack) int {
	t.Helper()
	counts, err := stack.ServiceBus.Count("nsgs")
	if err != nil {
		t.Fatal(err)
	}
	return counts.Scheduled
}

// TestBurst: a hundred requests for VMs behind one NSG are a few writes, not a
// hundred.
func TestBurst(t *testing.T) {
	const size = 100
	fleet := arm.Fleet(size)
	stack := start(t, local.Options{Topology: &fleet, ARMLatency: 2 * time.Second})
	alice := as(stack, "alice")
	var all errgroup.Group
	for i := range size {
		all.Go(func() error {
			in := ask("", "PT1H")
			in.Targets[0].VM = fmt.Sprintf("/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-fleet/providers/Microsoft.Compute/virtualMachines/fleet%02d", i+1)
			r, _, err := alice.Create(t.Context(), in, "")
			if err != nil {
				return err
			}
			if r, err = alice.Wait(t.Context(), r.ID, nil); err == nil && r.State != "Active" {
				err = fmt.Errorf("request %s is %s: %+v", r.ID, r.State, r.Targets)
			}
			return err
		})
	}
	if err := all.Wait(); err != nil {
		t.Fatal(err)
	}
	if writes := nsgWrites(stack); writes > 3 {
		t.Errorf("%d writes to the NSG for %d requests, want at most 3", writes, size)
	}
	probe(t, stack, "fleet01", inside, "Allow")
	probe(t, stack, "fleet100", inside, "Allow")
}

// TestForgedRepeatedAndReorderedMessages sends nudges by hand: before their time,
// again and again, after the end, and about things that do not exist.
func TestForgedRepeatedAndReorderedMessages(t *testing.T) {
	t.Parallel()
	stack := start(t, local.Options{})
	alice := as(stack, "alice")
	bus, err := azservicebus.NewClientFromConnectionString(stack.Env["JITGATE_SERVICEBUS"], nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = bus.Close(t.Context()) }()
	count := 0
	send := func(queue, session, body string) {
		t.Helper()
		sender, err := bus.NewSender(queue, nil)
		if err != nil {
			t.Fatal(err)
		}
		count++
		id := fmt.Sprint("forged-", count)
		m := &azservicebus.Message{Body: []byte(body), MessageID: &id}
		if session != "" {
			m.SessionID = &session
		}
		if err := sender.SendMessage(t.Context(), m, nil); err != nil {
			t.Fatal(err)
		}
	}
	nsg := armid.MustParse(nsgID("nsg-web01"))
	enforce := func() { send("nsgs", nsg.Key(), `{"nsg":"`+nsg.String()+`"}`) }

	enforce() // before there is anything
	send("requests", "", `{"request":"0192f0c1-2222-7333-8444-555566667777"}`)
	send("requests", "", `{"request":"x","state":"Active"}`)
	send("requests", "", `not even JSON`)
	send("nsgs", "s", `{"nsg":"/subscriptions/nonsense"}`)

	r := create(t, alice, ask("web01", "PT1H"))
	for range 5 {
		send("requests", "", `{"request":"`+r.ID+`"}`)
		enforce()
	}
	waitFor(t, alice, r.ID, "Active")
	if _, _, err := alice.Revoke(t.Context(), r.ID); err != nil {
		t.Fatal(err)
	}
	waitFor(t, alice, r.ID, "Revoked")
	for range 3 {
		send("requests", "", `{"request":"`+r.ID+`"}`)
		enforce()
	}
	// A second request passes through the same queues behind all of them.
	last := create(t, alice, ask("web01", "PT1H"))
	waitFor(t, alice, last.ID, "Active")
	if again := waitFor(t, alice, r.ID, "Revoked"); again.Targets[0].NSGs[0].State != "closed" {
		t.Errorf("openings %+v", again.Targets[0].NSGs)
	}
	if rules := ours(stack, nsg.String()); len(rules) != 1 {
		t.Errorf("rules of ours: %v, want that of the second request", rules)
	}
	for _, queue := range []string{"requests", "nsgs"} {
		if counts, err := stack.ServiceBus.Count(queue); err != nil || counts.DeadLetter != 0 {
			t.Errorf("%s: %+v, %v; forged messages must be settled", queue, counts, err)
		}
	}
}

func ours(stack *local.Stack, nsg string) []string {
	var names []string
	for _, name := range stack.ARM.RuleNames(nsg) {
		if strings.HasPrefix(name, "jitgate-") {
			names = append(names, name)
		}
	}
	return names
}

// TestInnerFunctionsAreOutOfReach: what the host posts to the handler, nobody can
// post through the host.
func TestInnerFunctionsAreOutOfReach(t *testing.T) {
	t.Parallel()
	stack := start(t, local.Options{})
	for _, path := range []string{"/evaluate", "/enforce", "/notify", "/sweep", "/api/../evaluate", "/api/requests/../../evaluate", "//evaluate", "/Evaluate", "/api/requests/%2e%2e/%2e%2e/evaluate", "/api/requests/%252e%252e/%252e%252e/evaluate"} {
		response, err := http.Post(stack.Env["JITGATE_URL"]+path, "application/json", strings.NewReader(`{"Data":{},"Metadata":{}}`))
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		if response.StatusCode < 400 {
			t.Errorf("POST %s answers %s", path, response.Status)
		}
	}
	for name, n := range stack.Host.Invocations() {
		if (name == "evaluate" || name == "enforce" || name == "notify" || name == "sweep") && n.Started > 0 {
			t.Errorf("%s was invoked %d times", name, n.Started)
		}
	}
	if counts := stack.Tables.Counts(); counts["transaction"] != 2 { // the policy, and the line of the record about it
		t.Errorf("something was written: %v", counts)
	}
}
