// Package cli is the command line jitgate: it turns flags into calls of the HTTP
// API and answers into tables or JSON. It owns wording, exit codes and which token
// is used; it decides nothing about access and knows nothing that the API does not
// say. Data goes to stdout, talk to stderr, and no token to either.
package cli

import (
	"context"
	"fmt"
	"io"
	"jitgate/internal/client"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/jonboulle/clockwork"
	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// App is one run of the command line. Everything it takes from the process is a
// field, so that tests can be the process.
type App struct {
	Args   []string // without the name of the program
	Stdin  io.Reader
	Stdout io.Writer
	Stderr io.Writer
	Getenv func(string) string
	Clock  clockwork.Clock // nil = the real clock

	terminal func(io.Writer) bool // nil = ask the operating system
	pause    time.Duration        // before the first repeat of a call

	format  string
	wide    bool
	verbose bool
	running bool // the arguments were understood and a command has begun
	midLine bool // stderr shows a progress line that is to be overwritten
}

// Main runs the process's command line and returns its exit code.
func Main() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the process at once
	a := &App{
		Args: os.Args[1:], Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		Getenv: os.Getenv, Clock: clockwork.NewRealClock(), pause: 500 * time.Millisecond,
	}
	return a.Run(ctx)
}

// Run carries out the command and returns the exit code.
func (a *App) Run(ctx context.Context) int {
	if a.Clock == nil {
		a.Clock = clockwork.NewRealClock()
	}
	root := a.root()
	// cobra reads the process's arguments when it is given nil.
	root.SetArgs(append([]string{}, a.Args...))
	root.SetIn(a.Stdin)
	root.SetOut(a.Stdout)
	root.SetErr(a.Stderr)
	command, err := root.ExecuteContextC(ctx)
	if err != nil && !a.running {
		err = &failure{exit: exitUsage, sentence: err.Error(), hints: []string{"see: " + command.CommandPath() + " --help"}}
	}
	return a.report(err)
}

func (a *App) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "jitgate",
		Short: "Just-in-time network access to Azure virtual machines",
		Long: `jitgate opens management ports of Azure virtual machines for one source address and
a limited time, as far as policy allows, and closes them again. It keeps the ports of
protected machines closed the rest of the time.

Set JITGATE_URL to your installation, or run the command where "make run" has
started the local stack. See "jitgate help settings" and "jitgate help exit-codes".`,
		Example: `  jitgate login --as alice
  jitgate protect web01 --wait
  jitgate request --vm web01 --port 22 --duration 1h --reason "INC-1042 disk full" --wait
  jitgate list --mine
  jitgate approve 01990f3e-8a60-7cc1-9d0e-5f6e2c1f0a11
  jitgate revoke 01990f3e-8a60-7cc1-9d0e-5f6e2c1f0a11`,
		SilenceErrors: true, SilenceUsage: true,
		Args: cobra.NoArgs,
		RunE: a.run(func(c *cobra.Command, _ []string) error { return c.Help() }),
	}
	a.format = formatTable
	flags := root.PersistentFlags()
	flags.VarP(formatFlag{&a.format, []string{formatTable, formatJSON}}, "output", "o", "table or json; json has the shapes of the HTTP API")
	complete(root, "output", cobra.FixedCompletions([]string{formatTable, formatJSON}, cobra.ShellCompDirectiveNoFileComp))
	flags.BoolVar(&a.wide, "wide", false, "show full ids in tables")
	flags.BoolVarP(&a.verbose, "verbose", "v", false, "say which settings are used and which calls are made")

	const access, machines, rules, safety, setup = "access", "machines", "policy", "safety", "setup"
	root.AddGroup(&cobra.Group{ID: access, Title: "Access:"}, &cobra.Group{ID: machines, Title: "Machines:"},
		&cobra.Group{ID: rules, Title: "Policy:"}, &cobra.Group{ID: safety, Title: "Safety:"}, &cobra.Group{ID: setup, Title: "Setup:"})
	add := func(group string, commands ...*cobra.Command) {
		for _, c := range commands {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	add(access, a.requestCommand(), a.listCommand(), a.showCommand(), a.approveCommand(), a.denyCommand(),
		a.extendCommand(), a.revokeCommand(), a.reviewCommand())
	add(machines, a.machinesCommand(), a.protectCommand(), a.unprotectCommand(), a.explainCommand(), a.reportCommand())
	add(rules, a.policyCommand())
	add(safety, a.lockdownCommand(), a.alertsCommand(), a.eventsCommand())
	add(setup, a.loginCommand(), a.versionCommand())
	root.AddCommand(exitCodesTopic(), settingsTopic())
	root.SetCompletionCommandGroupID(setup)
	root.SetHelpCommandGroupID(setup)
	root.InitDefaultCompletionCmd()
	root.InitDefaultHelpCmd()
	completeExamples(root)
	return root
}

// completeExamples gives cobra's own commands what ours have.
func completeExamples(root *cobra.Command) {
	for _, c := range root.Commands() {
		switch c.Name() {
		case "help":
			c.Example = "  jitgate help request\n  jitgate help exit-codes"
		case "completion":
			c.Example = "  source <(jitgate completion bash)"
			for _, shell := range c.Commands() {
				shell.Example = fmt.Sprintf("  jitgate completion %s > jitgate-completion.%[1]s", shell.Name())
			}
		}
	}
}

// run wraps a command's function. An error before it is the caller's usage, one
// inside it is not.
func (a *App) run(f func(c *cobra.Command, args []string) error) func(*cobra.Command, []string) error {
	return func(c *cobra.Command, args []string) error {
		a.running = true
		return f(c, args)
	}
}

// call is run for a command that asks the service.
func (a *App) call(f func(c *cobra.Command, jit *client.Client, args []string) error) func(*cobra.Command, []string) error {
	return a.run(func(c *cobra.Command, args []string) error {
		jit, err := a.client()
		if err != nil {
			return err
		}
		return f(c, jit, args)
	})
}

// say writes a line of talk.
func (a *App) say(text string, args ...any) {
	a.clearLine()
	_, _ = fmt.Fprintf(a.Stderr, "jitgate: %s\n", clean(fmt.Sprintf(text, args...)))
}

func (a *App) clearLine() {
	if a.midLine {
		_, _ = io.WriteString(a.Stderr, "\r\x1b[K")
		a.midLine = false
	}
}

// detail is said only when asked for.
func (a *App) detail(text string, args ...any) {
	if a.verbose {
		a.say(text, args...)
	}
}

func (a *App) isTerminal(w io.Writer) bool {
	if a.terminal != nil {
		return a.terminal(w)
	}
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// colour reports whether w may be given colours.
func (a *App) colour(w io.Writer) bool {
	return a.Getenv("NO_COLOR") == "" && a.Getenv("TERM") != "dumb" && a.isTerminal(w)
}
