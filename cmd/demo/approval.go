package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"jitgate/internal/api"
	"jitgate/internal/client"
	"jitgate/internal/local/entra"
)

// askAnApprover is the chapter of a machine that is opened only with a ticket and with
// somebody's consent, and of an alert that closes it.
func (s *story) askAnApprover(alice, bob, carol *client.Client) error {
	s.step("carol puts a policy on the production database: a ticket, and one approval.")
	p, err := s.apply(carol, "docs/examples/demo-production.yaml")
	if err != nil {
		return err
	}
	s.saw("version %d is in force for db01", p.Version)

	s.step("alice asks without a ticket, and is told what is missing.")
	in := ask("db01", inside, "PT10M")
	in.Justification = "disk full"
	_, _, err = alice.Create(s.ctx, in, "")
	if err := s.wantRefusal(err, "justification_pattern"); err != nil {
		return err
	}
	var problem *api.Problem
	if errors.As(err, &problem) && len(problem.Errors) > 0 {
		s.saw("  says %s", problem.Errors[0].Policy)
	}

	s.step("She asks again, with one. Somebody has to agree.")
	in.Justification = "INC-1042 disk full"
	r, _, err := alice.Create(s.ctx, in, "")
	if err != nil {
		return err
	}
	if r, err = s.waitState(alice, r.ID, "AwaitingApproval"); err != nil {
		return err
	}
	s.saw("it waits until %s for %d approval(s); db01 is still closed", r.DecideBy.Local().Format(time.TimeOnly), r.Targets[0].Approval.Quorum)
	if err := errors.Join(s.inbox.told(s, "request.awaiting-approval", "db01"), s.wantProbe("db01", inside, "Deny")); err != nil {
		return err
	}

	s.step("She cannot approve it herself, not even with the role.")
	_, _, err = s.aliceWithRole("Jit.Approve").Approve(s.ctx, r.ID, api.NewVote{})
	if err := s.wantRefusal(err, "own_request"); err != nil {
		return err
	}

	s.step("bob approves. Access opens, and its time starts now.")
	if _, _, err := bob.Approve(s.ctx, r.ID, api.NewVote{Comment: "Go ahead."}); err != nil {
		return err
	}
	if r, err = s.waitState(alice, r.ID, "Active"); err != nil {
		return err
	}
	s.saw("Active until %s", r.ExpiresAt.Local().Format(time.TimeOnly))
	if err := errors.Join(s.inbox.told(s, "access.opened", "db01"), s.wantProbe("db01", inside, "Allow")); err != nil {
		return err
	}
	return s.alarm(alice, carol, r)
}

// alarm is what happens when Azure Monitor reports an attack on the machine.
func (s *story) alarm(alice, carol *client.Client, open api.Request) error {
	document, err := os.ReadFile("docs/examples/demo-alerts.yaml")
	if err != nil {
		return err
	}
	if _, err := carol.ApplyAlertRules(s.ctx, string(document)); err != nil {
		return err
	}
	s.step("Azure Monitor reports an attack on db01. Everything on it closes, and nothing opens.")
	if err := s.alert("Fired"); err != nil {
		return err
	}
	if _, err := s.waitState(alice, open.ID, "Revoked"); err != nil {
		return err
	}
	s.saw("request %s is Revoked", open.ID)
	if err := errors.Join(s.inbox.told(s, "lockdown.set", "db01"), s.wantProbe("db01", inside, "Deny")); err != nil {
		return err
	}
	again := ask("db01", inside, "PT10M")
	_, _, err = alice.Create(s.ctx, again, "")
	if err := s.wantRefusal(err, "locked_down"); err != nil {
		return err
	}

	s.step("The alert is resolved, and the lockdown is lifted with it.")
	if err := s.alert("Resolved"); err != nil {
		return err
	}
	if err := s.inbox.told(s, "lockdown.lifted", "db01"); err != nil {
		return err
	}
	r, _, err := alice.Create(s.ctx, again, "")
	if err != nil {
		return err
	}
	if _, err := s.waitState(alice, r.ID, "AwaitingApproval"); err != nil {
		return err
	}
	s.saw("alice may ask again; her request waits for an approver")
	if _, _, err := alice.Revoke(s.ctx, r.ID); err != nil {
		return err
	}
	s.step("What the record of the installation says:")
	events, err := carol.Record(s.ctx, 0, 0)
	if err != nil {
		return err
	}
	for _, e := range events {
		s.saw("%2d  %s  %-16s %-22s %s", e.Sequence, e.At.Local().Format(time.TimeOnly), e.Kind, e.Name, e.Text)
	}
	return nil
}

// alert posts what Azure Monitor's secure webhook would, with its identity.
func (s *story) alert(condition string) error {
	token, err := s.stack.Entra.AppToken(s.stack.Env["JITGATE_ENTRA_URL"], "actiongroup")
	if err != nil {
		return err
	}
	body, err := json.Marshal(map[string]any{"schemaId": "azureMonitorCommonAlertSchema", "data": map[string]any{
		"essentials": map[string]any{
			"alertId":   "/subscriptions/00000000-0000-0000-0000-000000000001/providers/Microsoft.AlertsManagement/alerts/6f1c2c53-7d64-4f52-9a0e-3b8f4c0a1d01",
			"alertRule": "ssh-auth-failures-db01", "severity": "Sev1", "signalType": "Metric", "monitorCondition": condition, "monitoringService": "Platform",
			"alertTargetIDs": []string{strings.ToLower(machine("db01"))}, "firedDateTime": time.Now().UTC(), "essentialsVersion": "1.0",
		}, "alertContext": map[string]any{}}})
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(s.ctx, http.MethodPost, s.stack.Env["JITGATE_URL"]+"/api/alerts", bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+token)
	request.Header.Set("Content-Type", "application/json")
	began := time.Now()
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(response.Body, 1<<16))
	if err != nil {
		return err
	}
	var got api.AlertReception
	if err := json.Unmarshal(text, &got); err != nil || response.StatusCode != http.StatusAccepted || got.Status != "accepted" {
		return fmt.Errorf("the alert was answered with %s %s", response.Status, text)
	}
	s.saw("202 %s after %s: alert %s, rule %q", got.Status, time.Since(began).Round(time.Millisecond), condition, got.Rule)
	return nil
}

func (s *story) aliceWithRole(role string) *client.Client {
	return &client.Client{Base: s.stack.Env["JITGATE_URL"], Token: func(context.Context) (string, error) {
		return s.stack.Entra.Mint(s.stack.Env["JITGATE_ENTRA_URL"], map[string]any{"roles": []string{"Jit.Request", role}}, entra.MintOptions{User: "alice"})
	}}
}

// apply puts a document in force.
func (s *story) apply(c *client.Client, file string) (api.Policy, error) {
	document, err := os.ReadFile(file)
	if err != nil {
		return api.Policy{}, err
	}
	done, err := c.ApplyPolicy(s.ctx, string(document))
	if err != nil {
		return api.Policy{}, err
	}
	if done.Policy == nil {
		return api.Policy{}, fmt.Errorf("%s is not in force: %+v", file, done)
	}
	return *done.Policy, nil
}

// waitState polls until a request has come to a state.
func (s *story) waitState(c *client.Client, id, want string) (api.Request, error) {
	for {
		r, answer, err := c.Get(s.ctx, id)
		switch {
		case err != nil:
			return r, err
		case r.State == want:
			return r, nil
		case answer.Settled && r.State != "Active":
			return r, fmt.Errorf("the request is %s, want %s: %+v", r.State, want, r.Targets)
		}
		select {
		case <-s.ctx.Done():
			return r, fmt.Errorf("the request is %s, want %s: %w", r.State, want, s.ctx.Err())
		case <-time.After(200 * time.Millisecond):
		}
	}
}
