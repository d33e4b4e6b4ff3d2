package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"jitgate/internal/api"
	"jitgate/internal/armid"
	"jitgate/internal/client"
)

// machineID finds the id of a machine that was given by id or by name.
func machineID(ctx context.Context, jit *client.Client, text string) (string, error) {
	if text == "" {
		return "", usage("the name of the virtual machine is empty; give a name or an id")
	}
	if strings.HasPrefix(text, "/") {
		if _, err := armid.ParseType(text, armid.VirtualMachine); err != nil {
			f := usage("%.200q is not the id of a virtual machine: %s", text, err)
			f.hints = []string{listMachines}
			return "", f
		}
		return text, nil
	}
	found, err := jit.Machines(ctx, client.MachineFilter{Name: text})
	if err != nil {
		f := explain(err)
		if f.code == "role_missing" {
			f = f.hinting("who may not look machines up by name gives the full id: /subscriptions/…/virtualMachines/" + text)
		}
		return "", f
	}
	switch len(found) {
	case 0:
		return "", &failure{exit: exitNotFound, sentence: fmt.Sprintf("there is no virtual machine called %q", text), hints: []string{listMachines}}
	case 1:
		return found[0].ID, nil
	}
	f := usage("%d virtual machines are called %q", len(found), text)
	for _, m := range found {
		f.lines = append(f.lines, m.ID)
	}
	f.hints = []string{"name the one you mean by its id"}
	return "", f
}

// machine returns a client and the id of the machine that was given.
func (a *App) machine(ctx context.Context, text string) (*client.Client, string, error) {
	jit, err := a.client()
	if err != nil {
		return nil, "", err
	}
	id, err := machineID(ctx, jit, text)
	return jit, id, err
}

// oneVM wants one argument that can be a machine.
func oneVM(c *cobra.Command, args []string) error {
	if err := cobra.ExactArgs(1)(c, args); err != nil {
		return usage("give one virtual machine, by name or ARM id; jitgate machines list shows them")
	}
	return nil
}

// patience of a shell that completes a name.
const completionPatience = 5 * time.Second

// completeMachines offers the names of machines, and the ids of those that share
// their name. It stays silent when it cannot: somebody is in the middle of a line.
func (a *App) completeMachines(c *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	const none = cobra.ShellCompDirectiveNoFileComp
	if len(args) > 0 {
		return nil, none
	}
	jit, err := a.client()
	if err != nil {
		return nil, none
	}
	ctx, cancel := context.WithTimeout(c.Context(), completionPatience)
	defer cancel()
	found, err := jit.Machines(ctx, client.MachineFilter{})
	if err != nil {
		return nil, none
	}
	return machineWords(found), none
}

// machineWords is the shortest way to name each machine.
func machineWords(machines []api.Machine) []cobra.Completion {
	count := map[string]int{}
	for _, m := range machines {
		count[strings.ToLower(m.Name)]++
	}
	words := make([]cobra.Completion, len(machines))
	for i, m := range machines {
		if words[i] = m.Name; count[strings.ToLower(m.Name)] > 1 {
			words[i] = m.ID
		}
	}
	return words
}

// complete says how the value of a flag is completed.
func complete(c *cobra.Command, flag string, words cobra.CompletionFunc) {
	if err := c.RegisterFlagCompletionFunc(flag, words); err != nil {
		panic(err) // the flag is declared just before
	}
}
