package e2e_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"jitgate/internal/api"
	"jitgate/internal/local"
)

const production = `apiVersion: jitgate/v1
scope: ` + group + `/providers/Microsoft.Compute/virtualMachines/db01
ports: [{port: 22, protocol: TCP}]
sources: [{range: 203.0.113.0/24}]
maxDuration: PT1H
defaultDuration: PT20M
extensions: 1
justification: {required: true, pattern: '^INC-', message: Start with a ticket.}
approval: {approvers: {roles: [Jit.Approve]}, quorum: 1, within: PT1H}
breakGlass: {requesters: {groups: [9d0c0000-0000-4000-8000-00000000a001]}, reviewWithin: P1D}
`

// TestCommandLineDecides lives through what a production machine takes, with the
// commands that people would type.
func TestCommandLineDecides(t *testing.T) {
	t.Parallel()
	stack := start(t, local.Options{})
	people := map[string]*terminal{}
	for _, name := range []string{"alice", "bob", "carol"} {
		people[name] = newTerminal(t, stack)
		people[name].run(0, "login --as "+name)
	}
	alice, bob, carol := people["alice"], people["bob"], people["carol"]
	says := func(text string, parts ...string) {
		t.Helper()
		for _, part := range parts {
			if !strings.Contains(text, part) {
				t.Errorf("%q is not said:\n%s", part, text)
			}
		}
	}
	file := filepath.Join(t.TempDir(), "db01.yaml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(production)
	carol.run(0, "policy lint "+file)
	carol.run(0, "policy test ../../../docs/examples/policies/pci")
	carol.run(0, "policy apply -f "+file)

	const ask = "request --vm db01 --port 22 --source 203.0.113.7"
	alice.run(3, ask+" --reason because")
	says(alice.talk, "Start with a ticket.", "db01 version 1", "would pass")
	says(alice.run(0, "policy explain --vm db01 --port 22 --source 203.0.113.7 --reason INC-1"), "approval", "db01 version 1")
	var asked api.Request
	if err := json.Unmarshal([]byte(alice.run(0, ask+" --reason INC-1 -o json")), &asked); err != nil {
		t.Fatal(err)
	}
	awaiting := func(id, state string) {
		t.Helper()
		waitFor(t, as(stack, "alice"), id, state)
	}
	awaiting(asked.ID, "AwaitingApproval")
	says(bob.run(0, "list --awaiting --wide"), asked.ID)
	alice.run(3, "approve "+asked.ID)
	bob.run(0, "approve "+asked.ID+" --comment go")
	awaiting(asked.ID, "Active")
	probe(t, stack, "db01", inside, "Allow")
	bob.run(5, "deny "+asked.ID+" --comment late")
	alice.run(0, "extend "+asked.ID+" --duration 10m --wait")
	alice.run(3, "extend "+asked.ID+" --duration 10m")
	says(alice.talk, "extension_not_allowed")

	carol.run(0, "lockdown --vm db01 --until 1h --reason break-in")
	awaiting(asked.ID, "Revoked")
	probe(t, stack, "db01", inside, "Deny")
	alice.run(3, ask+" --reason INC-2 --break-glass")
	says(alice.talk, "locked_down", "break-in")
	var locked api.LockdownList
	if err := json.Unmarshal([]byte(bob.run(0, "lockdown list -o json")), &locked); err != nil || len(locked.Lockdowns) != 1 {
		t.Fatalf("%+v, %v", locked, err)
	}
	bob.run(0, "lockdown lift "+locked.Lockdowns[0].ID)

	says(alice.run(0, ask+" --reason INC-3 --break-glass --wait"), "db01", "jitgate-")
	says(bob.run(0, "list --review-due"), "db01")
	var broken api.RequestPage
	if err := json.Unmarshal([]byte(bob.run(0, "list --review-due -o json")), &broken); err != nil || len(broken.Requests) != 1 {
		t.Fatalf("%+v, %v", broken, err)
	}
	bob.run(5, "review "+broken.Requests[0].ID+" --comment early")
	bob.run(0, "revoke "+broken.Requests[0].ID+" --wait")
	bob.run(0, "review "+broken.Requests[0].ID+" --comment right")

	write(strings.Replace(production, "quorum: 1", "quorum: 2", 1))
	says(carol.run(0, "policy what-if -f "+file), "0 would have been decided differently")
	carol.run(0, "policy apply -f "+file)
	says(carol.run(0, "policy history "+vmID("db01")), "2")
	says(carol.run(0, "policy diff "+vmID("db01")), "-   quorum: 1", "+   quorum: 2")
	carol.run(0, "policy rollback "+vmID("db01")+" --to 1")
	says(carol.run(0, "policy show "+vmID("db01")), "quorum: 1")
	carol.run(0, "policy remove "+vmID("db01"))
	carol.run(4, "policy show "+vmID("db01"))
	alice.run(0, ask+" --duration 5m --reason whatever --wait") // the resource group's policy is the nearest now
	says(carol.run(0, "events"), "lockdown.set", "lockdown.lifted", "policy.applied", "policy.removed")
}
