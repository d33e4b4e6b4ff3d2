package cli

import (
	"io"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"jitgate/internal/api"
	"jitgate/internal/client"
	"jitgate/internal/policy"
)

var oneProposal = idOf("proposal", "jitgate policy proposals")

func (a *App) policyProposalsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "proposals",
		Short: "List the changes that wait for a second administrator",
		Long: `List the changes of policies and alert rules that wait for a second administrator,
oldest first. Their documents are in -o json; jitgate policy diff -f compares one with
what is in force.`,
		Example: `  jitgate policy proposals
  jitgate policy proposals -o json | jq -r '.proposals[0].document' | jitgate policy diff -f -`,
		Args: cobra.NoArgs,
		RunE: a.call(func(c *cobra.Command, jit *client.Client, _ []string) error {
			found, err := jit.Proposals(c.Context())
			if err != nil {
				return err
			}
			return a.printProposals(found)
		}),
	}
}

func (a *App) policyApproveCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "approve ID",
		Short: "Put a change that somebody else proposed in force",
		Long: `Agree to a change of policy that another administrator proposed, which puts it in
force. Nobody agrees to their own.`,
		Example: `  jitgate policy proposals
  jitgate policy approve 5e0c2a9b-4a0a-5c1e-9d55-3b9b6f1e7c21`,
		Args:              oneProposal,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: a.call(func(c *cobra.Command, jit *client.Client, args []string) error {
			changed, err := jit.ApproveProposal(c.Context(), args[0])
			if err != nil {
				return err
			}
			return a.printChange(changed)
		}),
	}
}

func (a *App) policyRejectCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "reject ID",
		Short: "Have a proposed change forgotten",
		Long: `Have a change of policy forgotten that waits for a second administrator. Whoever
proposed it may as well. Those that still wait are listed.`,
		Example: `  jitgate policy proposals
  jitgate policy reject 5e0c2a9b-4a0a-5c1e-9d55-3b9b6f1e7c21`,
		Args:              oneProposal,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: a.call(func(c *cobra.Command, jit *client.Client, args []string) error {
			left, err := jit.RejectProposal(c.Context(), args[0])
			if err != nil {
				return err
			}
			a.say("proposal %s is rejected", args[0])
			return a.printProposals(left)
		}),
	}
}

func (a *App) printProposals(all []api.Proposal) error {
	if len(all) == 0 {
		a.say("no change waits for a second administrator")
	}
	return a.print(api.ProposalList{Proposals: all}, func(w io.Writer) {
		if len(all) > 0 {
			a.writeProposals(w, all)
		}
	})
}

func (a *App) writeProposals(w io.Writer, all []api.Proposal) {
	rows := make([]table.Row, len(all))
	for i, p := range all {
		rows[i] = table.Row{p.ID, proposed(p), a.person(p.By), a.moment(p.At)}
	}
	writeTable(w, table.Row{"ID", "Change", "By", "At"}, rows)
}

// proposed says what a proposal is about.
func proposed(p api.Proposal) string {
	verb := "put in force: "
	if p.Remove {
		verb = "take out of force: "
	}
	if p.What == "alert-rules" {
		return verb + "the alert rules"
	}
	d, err := policy.Parse([]byte(p.Document))
	if err != nil { // of a newer version of the language
		return verb + "a policy"
	}
	if d.Enforced {
		return verb + "the guardrail for " + d.Name()
	}
	return verb + "the policy for " + d.Name()
}
