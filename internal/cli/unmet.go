package cli

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"

	"jitgate/internal/api"
	"jitgate/internal/policy"
)

// conditions are lines about what is not met: each with the policy that says so and
// what would pass.
func conditions(all []api.Unmet) []string {
	var lines []string
	for _, u := range all {
		lines = append(lines, fmt.Sprintf("- %s (%s)", u.Text, u.Code))
		lines = append(lines, origin(u.Policy, u.Passes)...)
	}
	return lines
}

// origin is who says so and what would pass, indented below what is said.
func origin(policy, passes string) []string {
	var lines []string
	if policy != "" {
		lines = append(lines, "  policy: "+policy)
	}
	if passes != "" {
		lines = append(lines, "  would pass: "+passes)
	}
	return lines
}

func writeLines(w io.Writer, lines []string) {
	for _, line := range lines {
		_, _ = fmt.Fprintln(w, clean(line))
	}
}

// outcomeOf says why a target is not open: every condition that is not met, or the one
// reason there is.
func outcomeOf(t api.Target) []string {
	head := fmt.Sprintf("%s is %s:", lastPart(t.VM), t.State)
	switch {
	case len(t.Unmet) > 0:
		return append([]string{head}, conditions(t.Unmet)...)
	case t.Reason != nil:
		return []string{head + " " + reasonText(t.Reason)}
	}
	return nil
}

// waiting says whose consent a request waits for: "waits for 1 approval until 14:05
// CET by role Jit.Approve". It is empty when the server does not say.
func (a *App) waiting(r api.Request) string {
	agreed := 0
	for _, v := range r.Votes {
		if v.Agrees {
			agreed++
		}
	}
	missing, who := 0, []string{}
	for _, t := range r.Targets {
		if t.State != "AwaitingApproval" || t.Approval == nil {
			continue
		}
		// Not every vote counts for every machine, so one at least is missing.
		if left := max(1, t.Approval.Quorum-agreed); left > missing {
			missing, who = left, approvers(t.Approval)
		}
	}
	if missing == 0 {
		return ""
	}
	text := "waits for " + plural(missing, "approval")
	if r.DecideBy != nil {
		text += " until " + a.clockTime(*r.DecideBy)
	}
	if len(who) > 0 {
		text += " by " + strings.Join(who, " who is also ")
	}
	return text
}

// approvers names who may approve; an approver is among each of them. None is
// whoever may approve at all.
func approvers(approval *api.Approval) []string {
	var all []string
	for _, p := range approval.Approvers {
		all = append(all, policy.Principals(p).String())
	}
	return all
}

// needs tells of a target that waits what its policies ask for.
func needs(t api.Target) string {
	return fmt.Sprintf("%s needs %s", lastPart(t.VM), consent(t.Approval))
}

// consent is what an approval asks for: "2 approvals by role Jit.Approve within 4h,
// as … version 3 says".
func consent(p *api.Approval) string {
	text := plural(p.Quorum, "approval")
	if who := approvers(p); len(who) > 0 {
		text += " by " + strings.Join(who, " who is also ")
	}
	text += " within " + span(p.Within)
	if len(p.Policies) > 0 {
		text += ", as " + strings.Join(p.Policies, " and ") + " says"
	}
	return text
}

// writeVotes writes what approvers said.
func (a *App) writeVotes(w io.Writer, votes []api.Vote) {
	rows := make([]table.Row, len(votes))
	for i, v := range votes {
		vote := a.paint(green, "approve")
		if !v.Agrees {
			vote = a.paint(red, "deny")
		}
		by := a.person(v.By)
		if v.Via != nil {
			by += ", vouched for by " + a.person(*v.Via)
		}
		rows[i] = table.Row{vote, by, a.moment(v.At), v.Comment}
	}
	writeTable(w, table.Row{"Vote", "By", "At", "Comment"}, rows)
}

// review tells where a review stands.
func (a *App) review(v *api.Review) string {
	switch {
	case v.ClosedAt != nil:
		by := "somebody"
		if v.By != nil {
			by = a.person(*v.By)
		}
		return fmt.Sprintf("closed by %s on %s: %s", by, a.moment(*v.ClosedAt), v.Comment)
	case v.Overdue:
		return "overdue since " + a.moment(v.DueAt)
	}
	return "due by " + a.moment(v.DueAt)
}

// person is a name, or the object id of somebody without one; with --wide both.
func (a *App) person(p api.Person) string {
	if a.wide || p.Name == "" {
		return strings.TrimSpace(p.Name + " " + p.Object)
	}
	return p.Name
}

// clockTime is a time of today, or with its day. It does not change while somebody
// looks, as [App.moment] does.
func (a *App) clockTime(t time.Time) string {
	now := a.Clock.Now()
	t = t.In(now.Location())
	if t.Format(time.DateOnly) == now.Format(time.DateOnly) {
		return t.Format("15:04 MST")
	}
	return t.Format("2006-01-02 15:04 MST")
}

// plural counts: "1 approval", "2 approvals".
func plural(n int, word string) string {
	if n != 1 {
		word += "s"
	}
	return fmt.Sprintf("%d %s", n, word)
}
