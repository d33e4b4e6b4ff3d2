package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"jitgate/internal/api"
	"jitgate/internal/client"
	"jitgate/internal/local"
)

const (
	inside  = "203.0.113.7" // alice's address, which the policy allows
	another = "203.0.113.9" // allowed as well, but nobody asked for it
	rgDemo  = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-demo"
)

type story struct {
	ctx   context.Context
	stack *local.Stack
	inbox *inbox
	count int
}

// tell runs every chapter; the first surprise ends the story.
func (s *story) tell(policy string) error {
	alice, carol := s.as("alice"), s.as("carol")

	if err := s.closeOpenDoor(carol); err != nil {
		return err
	}

	s.step("The management port of web01 is closed.")
	if err := s.wantProbe("web01", inside, "Deny"); err != nil {
		return err
	}

	s.step("Without a policy nobody gets in.")
	_, _, err := alice.Create(s.ctx, ask("web01", inside, "PT20S"), "")
	if err := s.wantRefusal(err, "no_policy"); err != nil {
		return err
	}

	s.step("carol applies a policy.")
	p, err := s.apply(carol, policy)
	if err != nil {
		return err
	}
	s.saw("version %d is in force for %s", p.Version, p.Scope)

	s.step("alice asks for SSH to web01 from %s, for 20 seconds.", inside)
	first, err := s.open(alice, "web01", "PT20S")
	if err != nil {
		return err
	}
	s.step("Now web01 lets in this address, and no other.")
	if err := errors.Join(s.wantProbe("web01", inside, "Allow"), s.wantProbe("web01", another, "Deny")); err != nil {
		return err
	}

	s.step("She asks for too much, and is told so.")
	_, _, err = alice.Create(s.ctx, ask("web01", "198.51.100.1", "PT20S"), "")
	if err := s.wantRefusal(err, "source_not_allowed"); err != nil {
		return err
	}
	_, _, err = alice.Create(s.ctx, ask("web01", inside, "PT9H"), "")
	if err := s.wantRefusal(err, "duration_over_policy"); err != nil {
		return err
	}

	s.step("Two requests overlap on app01, which has an NSG on its NIC and one on its subnet.")
	second, err := s.open(alice, "app01", "PT20S")
	if err != nil {
		return err
	}
	third, err := s.open(alice, "app01", "PT10M")
	if err != nil {
		return err
	}
	s.step("One of the two is revoked; the other is unharmed.")
	if err := s.revoke(alice, second.ID); err != nil {
		return err
	}
	if err := s.wantProbe("app01", inside, "Allow"); err != nil {
		return err
	}
	if err := s.revoke(alice, third.ID); err != nil {
		return err
	}
	if err := s.wantProbe("app01", inside, "Deny"); err != nil {
		return err
	}

	s.step("The first access runs out. Nobody does anything; a scheduled message arrives.")
	if err := s.expire(alice, first); err != nil {
		return err
	}
	if err := s.wantProbe("web01", inside, "Deny"); err != nil {
		return err
	}
	if err := s.record(alice, first.ID); err != nil {
		return err
	}
	if err := s.askAnApprover(alice, s.as("bob"), carol); err != nil {
		return err
	}
	return s.openDoorAgain(carol)
}

func ask(vm, source, duration string) api.NewRequest {
	return api.NewRequest{
		Targets: []api.NewTarget{{VM: machine(vm), Ports: []api.Port{{Port: 22, Protocol: "TCP"}}}},
		Source:  source, Duration: duration, Justification: "INC-1042 disk full",
	}
}

// open asks and waits until the access is active.
func (s *story) open(c *client.Client, vm, duration string) (api.Request, error) {
	r, _, err := c.Create(s.ctx, ask(vm, inside, duration), "")
	if err != nil {
		return r, err
	}
	s.saw("202, request %s is %s", r.ID, r.State)
	if r, err = c.Wait(s.ctx, r.ID, nil); err != nil {
		return r, err
	}
	if r.State != "Active" {
		return r, fmt.Errorf("the request is %s, want Active: %+v", r.State, r.Targets)
	}
	s.saw("200, the request is Active until %s", r.ExpiresAt.Local().Format(time.TimeOnly))
	for _, t := range r.Targets {
		for _, n := range t.NSGs {
			s.saw("  rule %s in %s", strings.Join(n.Rules, ", "), n.NSG[strings.LastIndex(n.NSG, "/")+1:])
		}
	}
	return r, nil
}

func (s *story) revoke(c *client.Client, id string) error {
	if _, _, err := c.Revoke(s.ctx, id); err != nil {
		return err
	}
	r, err := c.Wait(s.ctx, id, nil)
	if err != nil {
		return err
	}
	if r.State != "Revoked" {
		return fmt.Errorf("the request is %s, want Revoked", r.State)
	}
	s.saw("request %s is Revoked", id)
	return nil
}

// expire waits for the end that must come by itself.
func (s *story) expire(c *client.Client, r api.Request) error {
	for {
		now, _, err := c.Get(s.ctx, r.ID)
		if err != nil {
			return err
		}
		if now.State == "Expired" {
			s.saw("the request is Expired, %s after its time", now.Targets[0].EndedAt.Sub(*r.ExpiresAt).Round(time.Millisecond))
			return nil
		}
		if now.State != "Active" && now.State != "Closing" {
			return fmt.Errorf("the request is %s on its way to Expired", now.State)
		}
		if late := time.Since(*r.ExpiresAt); late > 20*time.Second {
			return fmt.Errorf("the request is %s, %s after its time", now.State, late.Round(time.Second))
		}
		select {
		case <-s.ctx.Done():
			return s.ctx.Err()
		case <-time.After(500 * time.Millisecond):
		}
	}
}

func (s *story) record(c *client.Client, id string) error {
	s.step("What the record says about it:")
	events, err := c.Events(s.ctx, id)
	if err != nil {
		return err
	}
	var kinds []string
	for _, e := range events {
		s.saw("%2d  %s  %-18s %-22s %s", e.Sequence, e.At.Local().Format(time.TimeOnly), e.Kind, e.Name, e.Text)
		kinds = append(kinds, e.Kind)
	}
	want := "request.created request.approved rule.created access.opened rule.removed access.expired"
	if got := strings.Join(kinds, " "); got != want {
		return fmt.Errorf("the record is %q, want %q", got, want)
	}
	return nil
}

// wantProbe asks the ARM stand-in, which has an evaluator of its own, whether a
// packet would reach the VM.
func (s *story) wantProbe(vm, source, want string) error {
	query := url.Values{"vm": {vm}, "source": {source}, "port": {"22"}, "protocol": {"Tcp"}}
	response, err := http.Get(s.stack.Env["JITGATE_ARM_URL"] + "/probe?" + query.Encode())
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	var answer struct{ Access, NSG, Rule, Reason string }
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return fmt.Errorf("probe %s: %w", vm, err)
	}
	s.saw("probe %s → %s:22 says %s (%s)", source, vm, answer.Access, answer.Reason)
	if answer.Access != want {
		return fmt.Errorf("the probe says %s, want %s", answer.Access, want)
	}
	return nil
}

func (s *story) wantRefusal(err error, code string) error {
	var p *api.Problem
	if !errors.As(err, &p) || p.Code != code {
		return fmt.Errorf("got %v, want a refusal with code %s", err, code)
	}
	s.saw("%d %s: %s", p.Status, p.Code, p.Detail)
	return nil
}

func (s *story) as(name string) *client.Client {
	return &client.Client{Base: s.stack.Env["JITGATE_URL"], Token: func(context.Context) (string, error) {
		return s.stack.Entra.UserToken(s.stack.Env["JITGATE_ENTRA_URL"], name)
	}}
}

func (s *story) step(format string, args ...any) {
	s.count++
	fmt.Printf("\n%2d. %s\n", s.count, fmt.Sprintf(format, args...))
}

func (s *story) saw(format string, args ...any) {
	fmt.Printf("    %s\n", fmt.Sprintf(format, args...))
}
