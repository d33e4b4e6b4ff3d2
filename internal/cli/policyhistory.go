package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"jitgate/internal/api"
	"jitgate/internal/client"
	"jitgate/internal/policy"
)

func (a *App) policyHistoryCommand() *cobra.Command {
	var key string
	c := &cobra.Command{
		Use:   "history SCOPE",
		Short: "List all versions of a policy",
		Long: `List all versions of the policy at exactly this scope, newest first: who put each in
force, who agreed where a second administrator has to, and when. A version can also
say that the policy was taken out of force. One with tags, and a guardrail, needs its
--key.`,
		Example: `  jitgate policy history /subscriptions/00000000-0000-0000-0000-000000000001
  jitgate policy history tenant --key 5d4c2f… -o json`,
		Args:              oneScope,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: a.run(func(c *cobra.Command, args []string) error {
			_, versions, err := a.history(c.Context(), api.PolicyKey{Scope: args[0], Key: key})
			if err != nil {
				return err
			}
			return a.print(api.PolicyHistory{Versions: versions}, func(w io.Writer) {
				rows := make([]table.Row, len(versions))
				for i, v := range versions {
					what, agreed := "put in force", ""
					if v.Removed {
						what = "taken out of force"
					}
					if v.Approver != nil {
						agreed = a.person(*v.Approver)
					}
					rows[i] = table.Row{v.Version, what, a.moment(v.At), a.person(v.By), agreed, a.hash(v.Hash)}
				}
				writeTable(w, table.Row{"Version", "What", "At", "By", "Agreed to by", "Hash"}, rows)
			})
		}),
	}
	keyFlag(c, &key)
	return c
}

// history returns the versions of a policy, newest first; that there are none is an
// error.
func (a *App) history(ctx context.Context, which api.PolicyKey) (*client.Client, []api.PolicyVersion, error) {
	jit, err := a.client()
	if err != nil {
		return nil, nil, err
	}
	sentence := "there never was a document of this key at " + which.Scope
	if which.Key == "" {
		which, sentence = keyed(which), "there never was a plain policy at "+which.Scope
	}
	if which.Key == "" { // what was given can be no scope
		return nil, nil, absent(ctx, jit, which, "there is no policy at "+which.Scope)
	}
	versions, err := jit.PolicyHistory(ctx, which)
	if err == nil && len(versions) == 0 || err != nil && explain(err).exit == exitNotFound {
		err = absent(ctx, jit, which, sentence)
	}
	return jit, versions, err
}

func versionOf(versions []api.PolicyVersion, number int) (api.PolicyVersion, error) {
	at := slices.IndexFunc(versions, func(v api.PolicyVersion) bool { return v.Version == number })
	if at < 0 {
		return api.PolicyVersion{}, &failure{exit: exitNotFound, sentence: fmt.Sprintf("there is no version %d; the newest is %d", number, versions[0].Version)}
	}
	return versions[at], nil
}

type diffFlags struct {
	key, file string
	from, to  int
}

// difference is what diff prints as JSON.
type difference struct {
	Scope string `json:"scope"`
	From  int    `json:"from"`         // version; 0 = none is in force
	To    int    `json:"to,omitempty"` // version; absent = the file
	Diff  string `json:"diff"`         // empty = both say the same
}

func (a *App) policyDiffCommand() *cobra.Command {
	var f diffFlags
	c := &cobra.Command{
		Use:   "diff {SCOPE | -f FILE}",
		Short: "Show what changed between versions of a policy, or what a file would change",
		Long: `Show how two versions of the policy at a scope differ, or how a file differs from what
is in force for its scope, tags and kind. Compared is what the documents say, in one
fixed order: comments and layout make no difference. Lines that went have a -, lines
that came a +.

Without --to it is the newest version, without --from the one before. The exit code
is 0 whether or not there is a difference.`,
		Example: `  jitgate policy diff /subscriptions/00000000-0000-0000-0000-000000000001
  jitgate policy diff tenant --from 2 --to 5
  jitgate policy diff -f policy.yaml`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: a.run(func(c *cobra.Command, args []string) error {
			switch {
			case f.file == "":
				if err := oneScope(c, args); err != nil {
					return err
				}
				return a.diffVersions(c.Context(), args[0], f)
			case len(args) > 0:
				return usage("the file names its scope; give a scope or -f FILE")
			}
			return a.diffFile(c.Context(), f.file)
		}),
	}
	flags := c.Flags()
	flags.StringVarP(&f.file, "file", "f", "", "compare this document with what is in force, - for stdin")
	flags.IntVar(&f.from, "from", 0, "version to compare with (default the one before)")
	flags.IntVar(&f.to, "to", 0, "version to look at (default the newest)")
	keyFlag(c, &f.key)
	for _, other := range []string{"from", "to", "key"} {
		c.MarkFlagsMutuallyExclusive("file", other)
	}
	return c
}

func (a *App) diffVersions(ctx context.Context, scope string, f diffFlags) error {
	_, versions, err := a.history(ctx, api.PolicyKey{Scope: scope, Key: f.key})
	if err != nil {
		return err
	}
	if f.to == 0 {
		f.to = versions[0].Version
	}
	if f.from == 0 {
		f.from = f.to - 1
	}
	if f.from == 0 {
		return usage("version 1 is the first; there is nothing to compare it with")
	}
	var documents [2]policy.Document
	for i, number := range []int{f.from, f.to} {
		v, err := versionOf(versions, number)
		if err != nil {
			return err
		}
		if v.Removed {
			a.say("version %d took the policy out of force; its document is the one that was", number)
		}
		if documents[i], err = policy.Parse([]byte(v.Document)); err != nil {
			return fmt.Errorf("version %d cannot be read any more: %w", number, err)
		}
	}
	return a.printDiff(difference{Scope: scope, From: f.from, To: f.to, Diff: policy.Diff(documents[0], documents[1])})
}

func (a *App) diffFile(ctx context.Context, file string) error {
	text, err := a.read(file)
	if err != nil {
		return err
	}
	after, err := policy.Parse(text)
	if err != nil {
		return a.refuseFiles(nil, faultsOf(file, err))
	}
	jit, err := a.client()
	if err != nil {
		return err
	}
	d := difference{Scope: after.Scope.String()}
	p, err := onlyPolicy(ctx, jit, api.PolicyKey{Scope: d.Scope, Key: after.Key()})
	switch {
	case err == nil:
		before, err := policy.Parse([]byte(p.Document))
		if err != nil {
			return fmt.Errorf("version %d cannot be read any more: %w", p.Version, err)
		}
		d.From, d.Diff = p.Version, policy.Diff(before, after)
	case explain(err).exit == exitNotFound:
		a.say("nothing is in force for this scope, tags and kind; all of it would be new")
		for line := range strings.Lines(string(after.YAML())) {
			d.Diff += "+ " + line
		}
	default:
		return err
	}
	return a.printDiff(d)
}

func (a *App) printDiff(d difference) error {
	if d.Diff == "" {
		a.say("no difference: both say the same")
	}
	return a.print(d, func(w io.Writer) {
		for line := range strings.Lines(d.Diff) {
			text := clean(strings.TrimSuffix(line, "\n"))
			switch {
			case strings.HasPrefix(text, "-"):
				_, _ = fmt.Fprintln(w, a.paint(red, text))
			case strings.HasPrefix(text, "+"):
				_, _ = fmt.Fprintln(w, a.paint(green, text))
			default:
				_, _ = fmt.Fprintln(w, text)
			}
		}
	})
}

func (a *App) policyRollbackCommand() *cobra.Command {
	var key string
	var to int
	c := &cobra.Command{
		Use:   "rollback SCOPE --to VERSION",
		Short: "Put an earlier version of a policy in force again",
		Long: `Put the document of an earlier version in force again. It becomes the next version, so
that the history stays whole. A policy that was taken out of force comes back the same
way. One with tags, and a guardrail, needs its --key.`,
		Example: `  jitgate policy history tenant
  jitgate policy diff tenant --from 4 --to 2
  jitgate policy rollback tenant --to 2`,
		Args:              oneScope,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: a.run(func(c *cobra.Command, args []string) error {
			jit, versions, err := a.history(c.Context(), api.PolicyKey{Scope: args[0], Key: key})
			if err != nil {
				return err
			}
			v, err := versionOf(versions, to)
			if err != nil {
				return err
			}
			if v.Removed {
				return usage("version %d took the policy out of force; name one that put it in force", to)
			}
			changed, err := jit.ApplyPolicy(c.Context(), v.Document)
			if err != nil {
				return err
			}
			return a.printChange(changed)
		}),
	}
	c.Flags().IntVar(&to, "to", 0, "version whose document is to be in force")
	required(c, "to")
	keyFlag(c, &key)
	return c
}

func (a *App) policyRemoveCommand() *cobra.Command {
	var key string
	c := &cobra.Command{
		Use:   "remove SCOPE",
		Short: "Take a policy out of force",
		Long: `Take the policy at exactly this scope out of force. One with tags, a guardrail and one
that the service cannot read need their --key. Its versions are kept, and jitgate policy rollback puts one in force again. Farther policies then decide; without
any, nothing can be opened there. Access that is open stays open until its time.`,
		Example: `  jitgate policy remove /subscriptions/…/resourceGroups/web
  jitgate policy remove tenant --key 5d4c2f…`,
		Args:              oneScope,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: a.call(func(c *cobra.Command, jit *client.Client, args []string) error {
			which := api.PolicyKey{Scope: args[0], Key: key}
			if key == "" {
				// With a key nothing is listed first: a list fails where a policy is to go
				// because it cannot be read.
				p, err := onlyPolicy(c.Context(), jit, which)
				if err != nil {
					return err
				}
				if which = keyed(which); p.Key != which.Key {
					return absent(c.Context(), jit, which, "no plain policy is in force at "+which.Scope)
				}
			}
			changed, err := jit.RemovePolicy(c.Context(), which)
			if err != nil {
				return err
			}
			return a.printChange(changed)
		}),
	}
	keyFlag(c, &key)
	return c
}
