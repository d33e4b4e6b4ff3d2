package main

import (
	"errors"
	"fmt"
	"strings"

	"jitgate/internal/api"
	"jitgate/internal/client"
)

const stranger = "198.51.100.99" // somebody on the internet

// closeOpenDoor is the chapter in which a machine that everybody can reach is
// protected: first only foreseen, then done.
func (s *story) closeOpenDoor(carol *client.Client) error {
	s.step("Port 22 of open01 is open to the whole internet.")
	if err := s.wantProbe("open01", stranger, "Allow"); err != nil {
		return err
	}

	s.step("carol, an administrator, asks what protecting it would change.")
	foreseen, err := carol.Protect(s.ctx, machine("open01"), api.NewProtection{}, true)
	if err != nil {
		return err
	}
	s.sawForecast(foreseen)
	if err := errors.Join(wantVerdict(foreseen, "open", "closed"), s.wantProbe("open01", stranger, "Allow")); err != nil {
		return err
	}

	s.step("She has it done.")
	if _, err := carol.Protect(s.ctx, machine("open01"), api.NewProtection{}, false); err != nil {
		return err
	}
	if err := s.waitProtection(carol, "Protected"); err != nil {
		return err
	}
	if err := s.wantProbe("open01", stranger, "Deny"); err != nil {
		return err
	}

	s.step("Why nobody gets in now:")
	e, err := carol.Explain(s.ctx, machine("open01"), client.Question{Port: 22, Protocol: "TCP", Source: stranger})
	if err != nil {
		return err
	}
	for _, way := range e.Ways {
		for _, n := range way.NSGs {
			last := n.Steps[len(n.Steps)-1]
			s.saw("%s: %s by %s (priority %d)", n.NSG[strings.LastIndex(n.NSG, "/")+1:], n.Verdict, last.Rule, last.Priority)
		}
	}
	if e.Verdict != "deny" {
		return fmt.Errorf("the explanation says %s, want deny", e.Verdict)
	}
	return nil
}

// openDoorAgain takes the protection back.
func (s *story) openDoorAgain(carol *client.Client) error {
	s.step("carol takes the protection of open01 back. The rule that was there comes back as it was.")
	if _, err := carol.Unprotect(s.ctx, machine("open01"), api.EndProtection{}, false); err != nil {
		return err
	}
	if err := s.waitProtection(carol, "Unprotected"); err != nil {
		return err
	}
	return s.wantProbe("open01", stranger, "Allow")
}

func (s *story) sawForecast(f api.Forecast) {
	for _, n := range f.NSGs {
		for _, r := range n.Rules {
			s.saw("%-6s %s (%s, priority %d) in %s", r.Action, r.Name, r.Access, r.Priority, n.NSG[strings.LastIndex(n.NSG, "/")+1:])
		}
	}
	for _, v := range f.Verdicts {
		s.saw("%s port %s/%s from the %s: %s → %s", v.Address, v.Ports.Ports, v.Ports.Protocol, v.From, v.Before.Reach, v.After.Reach)
	}
}

// wantVerdict checks what is foretold about the internet and port 22.
func wantVerdict(f api.Forecast, before, after string) error {
	for _, v := range f.Verdicts {
		if v.From == "internet" && v.Ports.Ports == "22" {
			if v.Before.Reach != before || v.After.Reach != after {
				return fmt.Errorf("the forecast says %s → %s, want %s → %s", v.Before.Reach, v.After.Reach, before, after)
			}
			return nil
		}
	}
	return errors.New("the forecast says nothing about the internet and port 22")
}

func (s *story) waitProtection(c *client.Client, want string) error {
	p, err := c.WaitMachine(s.ctx, machine("open01"), nil)
	if err != nil {
		return err
	}
	if p.State != want {
		return fmt.Errorf("open01 is %s, want %s: %+v", p.State, want, p.NSGs)
	}
	s.saw("open01 is %s", p.State)
	return nil
}

func machine(name string) string {
	return rgDemo + "/providers/Microsoft.Compute/virtualMachines/" + name
}
