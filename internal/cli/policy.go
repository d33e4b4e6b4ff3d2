package cli

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"jitgate/internal/api"
)

func (a *App) policyCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "policy",
		Short: "Show policies and put them in force",
		Long: `Policies say which ports may be opened, from where and for how long. Each has a
scope: a subscription, a resource group or a virtual machine. The nearest decides.`,
		Example: `  jitgate policy list
  jitgate policy apply -f policy.yaml`,
		Args: cobra.NoArgs,
		RunE: a.run(func(c *cobra.Command, _ []string) error { return c.Help() }),
	}
	c.AddCommand(a.policyApplyCommand(), a.policyListCommand(), a.policyShowCommand())
	return c
}

func (a *App) policyApplyCommand() *cobra.Command {
	var file string
	c := &cobra.Command{
		Use:   "apply -f FILE",
		Short: "Put a policy document in force",
		Long: `Put a policy document, YAML or JSON, in force at the scope it names. It becomes the
scope's next version; a document that says the same as the one in force changes
nothing.`,
		Example: `  jitgate policy apply -f policy.yaml
  generate-policy | jitgate policy apply -f -`,
		Args: cobra.NoArgs,
	}
	c.Flags().StringVarP(&file, "file", "f", "", "file with the document, - for stdin")
	if err := c.MarkFlagRequired("file"); err != nil {
		panic(err) // the flag is declared above
	}
	c.RunE = a.run(func(c *cobra.Command, _ []string) error {
		document, err := a.read(file)
		if err != nil {
			return err
		}
		jit, err := a.client()
		if err != nil {
			return err
		}
		p, err := jit.ApplyPolicy(c.Context(), string(document))
		if err != nil {
			return err
		}
		a.say("version %d is in force at %s", p.Version, p.Scope)
		return a.print(p, func(w io.Writer) { a.writePolicies(w, []api.Policy{p}) })
	})
	return c
}

func (a *App) read(file string) ([]byte, error) {
	var text []byte
	var err error
	if file == "-" {
		text, err = io.ReadAll(a.Stdin)
	} else {
		text, err = os.ReadFile(file)
	}
	if err != nil {
		return nil, &failure{exit: exitUsage, sentence: fmt.Sprintf("cannot read the policy: %s", err), cause: err}
	}
	return text, nil
}

func (a *App) policyListCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the policies in force",
		Example: `  jitgate policy list
  jitgate policy list -o json`,
		Args: cobra.NoArgs,
		RunE: a.run(func(c *cobra.Command, _ []string) error {
			jit, err := a.client()
			if err != nil {
				return err
			}
			found, err := jit.Policies(c.Context(), "")
			if err != nil {
				return err
			}
			if len(found) == 0 {
				a.say("there are no policies, so nothing can be opened; put one in force with: jitgate policy apply -f FILE")
			}
			return a.print(api.PolicyList{Policies: found}, func(w io.Writer) {
				if len(found) > 0 {
					a.writePolicies(w, found)
				}
			})
		}),
	}
}

func (a *App) policyShowCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "show SCOPE",
		Short: "Show the policy of exactly this scope",
		Long: `Show the policy in force at exactly this scope, an ARM id: the document as it was
handed in, so that it can be edited and applied again.`,
		Example: `  jitgate policy show /subscriptions/00000000-0000-0000-0000-000000000001
  jitgate policy show /subscriptions/…/resourceGroups/web > policy.yaml`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) != 1 || args[0] == "" {
				return usage("give one scope; jitgate policy list shows them")
			}
			return nil
		},
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: a.run(func(c *cobra.Command, args []string) error {
			jit, err := a.client()
			if err != nil {
				return err
			}
			found, err := jit.Policies(c.Context(), args[0])
			if err != nil {
				return err
			}
			if len(found) != 1 {
				return fmt.Errorf("the server gave %d policies for one scope", len(found))
			}
			p := found[0]
			a.say("version %d at %s", p.Version, p.Scope)
			return a.print(p, func(w io.Writer) {
				_, _ = io.WriteString(w, strings.TrimSuffix(p.Document, "\n")+"\n")
			})
		}),
	}
}

func (a *App) writePolicies(w io.Writer, policies []api.Policy) {
	rows := make([]table.Row, len(policies))
	for i, p := range policies {
		hash := p.Hash
		const enough = 12
		if !a.wide && len(hash) > enough {
			hash = hash[:enough]
		}
		rows[i] = table.Row{p.Scope, p.Version, hash}
	}
	writeTable(w, table.Row{"Scope", "Version", "Hash"}, rows)
}
