package cli

import (
	"github.com/spf13/cobra"

	"jitgate/internal/api"
	"jitgate/internal/client"
)

func (a *App) revokeCommand() *cobra.Command {
	var wait waitFlags
	c := &cobra.Command{
		Use:   "revoke ID",
		Short: "End access now",
		Long: `End a request: what is not decided yet is cancelled, what is open is closed. With
--wait the command stays until Azure has confirmed that the rules are gone.

New connections are refused from then on. Connections that are open go on until
they end: a network security group does not cut them.`,
		Example: `  jitgate revoke 01990f3e-8a60-7cc1-9d0e-5f6e2c1f0a11
  jitgate revoke 01990f3e-8a60-7cc1-9d0e-5f6e2c1f0a11 --wait --timeout 2m`,
		Args:              oneID,
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	wait.add(c)
	c.RunE = a.call(func(c *cobra.Command, jit *client.Client, args []string) error {
		r, _, err := jit.Revoke(c.Context(), args[0])
		if err != nil {
			return err
		}
		a.say("request %s is to be ended", r.ID)
		if !wait.on {
			return a.printRequest(r)
		}
		return finish(c.Context(), a, a.following(jit, r.ID, closed), r, wait.timeout)
	})
	return c
}

// closed is an error if something of a settled request is open.
func closed(r api.Request) error {
	for _, t := range r.Targets {
		if t.State == "Active" {
			return &failure{exit: exitUnexpected, sentence: lastPart(t.VM) + " is still Active although it was revoked",
				hints: []string{"repeat the command, and tell the operator of jitgate"}}
		}
	}
	return nil
}
