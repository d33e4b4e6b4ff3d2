package cli

import (
	"context"

	"github.com/spf13/cobra"

	"jitgate/internal/api"
	"jitgate/internal/client"
)

func (a *App) approveCommand() *cobra.Command {
	var comment string
	c := &cobra.Command{
		Use:   "approve ID",
		Short: "Agree to a request that waits for approvers",
		Long: `Agree to a request of somebody else. Policy says whose consent counts and how many
people have to agree; nobody approves their own request. When enough have agreed,
policy is asked once more and access opens.`,
		Example: `  jitgate list --awaiting
  jitgate approve 01990f3e-8a60-7cc1-9d0e-5f6e2c1f0a11
  jitgate approve 01990f3e-8a60-7cc1-9d0e-5f6e2c1f0a11 --comment "agreed with the owner"`,
		Args:              oneID,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: a.run(func(c *cobra.Command, args []string) error {
			return a.vote(c.Context(), "your approval of request %s is recorded", func(ctx context.Context, jit *client.Client) (api.Request, client.Answer, error) {
				return jit.Approve(ctx, args[0], api.NewVote{Comment: comment})
			})
		}),
	}
	c.Flags().StringVar(&comment, "comment", "", "what the requester and the record are to be told")
	return c
}

func (a *App) denyCommand() *cobra.Command {
	var comment string
	c := &cobra.Command{
		Use:   "deny ID --comment TEXT",
		Short: "Refuse a request that waits for approvers",
		Long: `Refuse a request of somebody else. One approver who is against it ends it for every
machine that they may decide about. The comment tells the requester why.`,
		Example: `  jitgate list --awaiting
  jitgate deny 01990f3e-8a60-7cc1-9d0e-5f6e2c1f0a11 --comment "not during the release"`,
		Args:              oneID,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: a.run(func(c *cobra.Command, args []string) error {
			if comment == "" {
				return usage("--comment is empty; say why, the requester gets to read it")
			}
			return a.vote(c.Context(), "your refusal of request %s is recorded", func(ctx context.Context, jit *client.Client) (api.Request, client.Answer, error) {
				return jit.Deny(ctx, args[0], api.NewVote{Comment: comment})
			})
		}),
	}
	c.Flags().StringVar(&comment, "comment", "", "why; the requester gets to read it")
	required(c, "comment")
	return c
}

func (a *App) vote(ctx context.Context, said string, call func(context.Context, *client.Client) (api.Request, client.Answer, error)) error {
	jit, err := a.client()
	if err != nil {
		return err
	}
	r, _, err := call(ctx, jit)
	if err != nil {
		return err
	}
	a.say(said, r.ID)
	a.say("follow it with: jitgate show %s", r.ID)
	return a.printRequest(r)
}

func (a *App) reviewCommand() *cobra.Command {
	var comment string
	c := &cobra.Command{
		Use:   "review ID --comment TEXT",
		Short: "Close the review that is due after somebody broke the glass",
		Long: `Close the review of a request for which somebody broke the glass: look at what was
done, once the access has ended, and say whether it was right. Whoever broke it cannot
close the review.`,
		Example: `  jitgate list --review-due
  jitgate show 01990f3e-8a60-7cc1-9d0e-5f6e2c1f0a11 --events
  jitgate review 01990f3e-8a60-7cc1-9d0e-5f6e2c1f0a11 --comment "disk cleaned up, as INC-1042 says"`,
		Args:              oneID,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: a.call(func(c *cobra.Command, jit *client.Client, args []string) error {
			r, err := jit.Review(c.Context(), args[0], api.NewReview{Comment: comment})
			if err != nil {
				return err
			}
			a.say("the review of request %s is closed", r.ID)
			return a.printRequest(r)
		}),
	}
	c.Flags().StringVar(&comment, "comment", "", "what was done, and whether it was right")
	required(c, "comment")
	return c
}

// required marks flags that must be given.
func required(c *cobra.Command, flags ...string) {
	for _, name := range flags {
		if err := c.MarkFlagRequired(name); err != nil {
			panic(err) // the flag is declared just before
		}
	}
}
