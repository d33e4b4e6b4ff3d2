package cli

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"jitgate/internal/api"
	"jitgate/internal/client"
	"jitgate/internal/policy"
)

func (a *App) policyCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "policy",
		Short: "Check policies, put them in force and ask what they say",
		Long: `Policies say which ports may be opened, from where, for how long, by whom, when, and
who has to agree. Each has a scope: the tenant, a subscription, a resource group or a
virtual machine; the nearest decides. Besides it every guardrail has to be met.

lint and test work on files and need no installation.`,
		Example: `  jitgate policy lint policies/
  jitgate policy test policies/
  jitgate policy what-if -f policies/
  jitgate policy apply -f policies/tenant.yaml`,
		Args: cobra.NoArgs,
		RunE: a.run(func(c *cobra.Command, _ []string) error { return c.Help() }),
	}
	const files, asking, force, admins = "files", "asking", "force", "admins"
	c.AddGroup(&cobra.Group{ID: files, Title: "Files:"}, &cobra.Group{ID: asking, Title: "What they say:"},
		&cobra.Group{ID: force, Title: "In force:"}, &cobra.Group{ID: admins, Title: "A second administrator:"})
	for group, commands := range map[string][]*cobra.Command{
		files:  {a.policyLintCommand(), a.policyTestCommand()},
		asking: {a.policyExplainCommand(), a.policyWhatIfCommand()},
		force: {a.policyApplyCommand(), a.policyListCommand(), a.policyShowCommand(), a.policyHistoryCommand(), a.policyDiffCommand(),
			a.policyRollbackCommand(), a.policyRemoveCommand()},
		admins: {a.policyProposalsCommand(), a.policyApproveCommand(), a.policyRejectCommand()},
	} {
		for _, command := range commands {
			command.GroupID = group
			c.AddCommand(command)
		}
	}
	return c
}

func (a *App) policyApplyCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "apply -f FILE",
		Short: "Put a policy document in force",
		Long: `Put a policy document, YAML or JSON, in force at the scope it names. It becomes the
next version for its scope, tags and kind; a document that says the same as the one
in force changes nothing. What is allowed but hardly meant is told as a finding.

An installation may want a second administrator to agree; until then the document
waits as a proposal and nothing has changed.`,
		Example: `  jitgate policy apply -f policy.yaml
  generate-policy | jitgate policy apply -f -`,
		Args: cobra.NoArgs,
	}
	return a.applying(c, (*client.Client).ApplyPolicy)
}

// applying makes a command one that puts the document in a file in force.
func (a *App) applying(c *cobra.Command, apply func(*client.Client, context.Context, string) (api.ChangedPolicy, error)) *cobra.Command {
	var file string
	c.Flags().StringVarP(&file, "file", "f", "", "file with the document, - for stdin")
	required(c, "file")
	c.RunE = a.run(func(c *cobra.Command, _ []string) error {
		document, err := a.read(file)
		if err != nil {
			return err
		}
		jit, err := a.client()
		if err != nil {
			return err
		}
		changed, err := apply(jit, c.Context(), string(document))
		if err != nil {
			return err
		}
		return a.printChange(changed)
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
		return nil, unreadable(err)
	}
	return text, nil
}

func unreadable(err error) error {
	return &failure{exit: exitUsage, sentence: fmt.Sprintf("cannot read the document: %s", err), cause: err}
}

// printChange tells what became of a change of policy: what is in force now, or that
// it waits for somebody else.
func (a *App) printChange(c api.ChangedPolicy) error {
	for _, f := range c.Findings {
		a.say("finding: %s (%s)", f.Text, f.Code)
	}
	switch {
	case c.Proposal != nil:
		a.say("nothing has changed yet: another administrator has to agree, with: jitgate policy approve %s", c.Proposal.ID)
	case c.Policy != nil:
		a.say("version %d is in force at %s", c.Policy.Version, c.Policy.Scope)
	case c.Rules != nil:
		a.say("version %d of the alert rules is in force", c.Rules.Version)
	default:
		a.say("the policy is out of force")
	}
	return a.print(c, func(w io.Writer) {
		switch {
		case c.Proposal != nil:
			a.writeProposals(w, []api.Proposal{*c.Proposal})
		case c.Policy != nil:
			a.writePolicies(w, []api.Policy{*c.Policy})
		case c.Rules != nil:
			writeTable(w, table.Row{"Version", "Hash", "By", "At"}, []table.Row{{c.Rules.Version, a.hash(c.Rules.Hash), a.person(c.Rules.By), a.moment(c.Rules.At)}})
		}
	})
}

func (a *App) policyListCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the policies in force",
		Long: `List the policies in force: their scopes, the tags they ask of machines, and whether
they are guardrails. With --wide the keys are shown, which tell documents at one
scope apart.`,
		Example: `  jitgate policy list
  jitgate policy list --wide
  jitgate policy list -o json`,
		Args: cobra.NoArgs,
		RunE: a.call(func(c *cobra.Command, jit *client.Client, _ []string) error {
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
	var key string
	c := &cobra.Command{
		Use:   "show SCOPE",
		Short: "Show the policy of exactly this scope",
		Long: `Show the policy in force at exactly this scope, an ARM id or "tenant": the document as
it was handed in, so that it can be edited and applied again.`,
		Example: `  jitgate policy show /subscriptions/00000000-0000-0000-0000-000000000001
  jitgate policy show /subscriptions/…/resourceGroups/web > policy.yaml
  jitgate policy show tenant --key 5d4c2f…`,
		Args:              oneScope,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: a.call(func(c *cobra.Command, jit *client.Client, args []string) error {
			p, err := onlyPolicy(c.Context(), jit, api.PolicyKey{Scope: args[0], Key: key})
			if err != nil {
				return err
			}
			a.say("version %d at %s", p.Version, p.Scope)
			return a.print(p, func(w io.Writer) { _, _ = io.WriteString(w, ended(p.Document)) })
		}),
	}
	keyFlag(c, &key)
	return c
}

// keyFlag tells documents at one scope apart.
func keyFlag(c *cobra.Command, key *string) {
	c.Flags().StringVar(key, "key", "", "which of several documents at the scope; policy list --wide shows keys")
	complete(c, "key", cobra.NoFileCompletions)
}

// oneScope wants one argument that can be a scope.
func oneScope(_ *cobra.Command, args []string) error {
	if len(args) != 1 || args[0] == "" {
		return usage("give one scope; jitgate policy list shows them")
	}
	return nil
}

// onlyPolicy finds the document in force that a scope and perhaps a key stand for.
func onlyPolicy(ctx context.Context, jit *client.Client, which api.PolicyKey) (api.Policy, error) {
	found, err := jit.Policies(ctx, which.Scope)
	if err != nil {
		return api.Policy{}, err
	}
	var fits []api.Policy
	for _, p := range found {
		if which.Key == "" || p.Key == which.Key {
			fits = append(fits, p)
		}
	}
	switch {
	case len(fits) == 1:
		return fits[0], nil
	case len(found) == 0:
		return api.Policy{}, &failure{exit: exitNotFound, sentence: "there is no policy at " + which.Scope, hints: []string{wayOut["policy_not_found"]}}
	}
	f := usage("%d documents are in force at %s; say which one with --key", len(found), which.Scope)
	if len(fits) == 0 {
		f = &failure{exit: exitNotFound, sentence: fmt.Sprintf("no document of this key is in force at %s; those there are:", which.Scope)}
	}
	f.lines = keys(found)
	return api.Policy{}, f
}

func kindOf(p api.Policy) string {
	if p.Enforced {
		return "guardrail"
	}
	return "policy"
}

func tagList(tags map[string]string) string {
	var words []string
	for _, name := range slices.Sorted(maps.Keys(tags)) {
		words = append(words, name+"="+tags[name])
	}
	return strings.Join(words, ", ")
}

func (a *App) hash(hash string) string {
	const enough = 12
	if !a.wide && len(hash) > enough {
		return hash[:enough]
	}
	return hash
}

// ended is a document whose last line has an end.
func ended(document string) string { return strings.TrimSuffix(document, "\n") + "\n" }

func (a *App) writePolicies(w io.Writer, policies []api.Policy) {
	header := table.Row{"Scope", "Tags", "Kind", "Version", "Hash"}
	if a.wide {
		header = append(header, "Key")
	}
	rows := make([]table.Row, len(policies))
	for i, p := range policies {
		rows[i] = table.Row{p.Scope, tagList(p.Tags), kindOf(p), p.Version, a.hash(p.Hash)}
		if a.wide {
			rows[i] = append(rows[i], p.Key)
		}
	}
	writeTable(w, header, rows)
}

// keyed names the document that a scope and perhaps a key stand for, in force or not.
// Without a key it is the plain one, which has the key of its scope: that a guardrail
// happens to stand there alone does not make it what was meant.
func keyed(which api.PolicyKey) api.PolicyKey {
	var scope policy.Scope
	if which.Key == "" && scope.UnmarshalText([]byte(which.Scope)) == nil {
		which.Key = scope.Key()
	}
	return which
}

// absent explains that there is no such document, and names those in force at its scope.
func absent(ctx context.Context, jit *client.Client, which api.PolicyKey, sentence string) error {
	found, err := jit.Policies(ctx, which.Scope)
	if err != nil && explain(err).exit != exitNotFound {
		return err
	}
	f := &failure{exit: exitNotFound, sentence: sentence, code: "policy_not_found", hints: []string{wayOut["policy_not_found"]}}
	if len(found) > 0 {
		f.lines, f.hints = keys(found), []string{"say with --key which one of these is meant"}
	}
	return f
}

// keys tells documents of one scope apart.
func keys(found []api.Policy) []string {
	lines := make([]string, len(found))
	for i, p := range found {
		lines[i] = strings.TrimSpace(p.Key + "  " + kindOf(p) + "  " + tagList(p.Tags))
	}
	return lines
}
