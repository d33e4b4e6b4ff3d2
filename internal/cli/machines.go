package cli

import (
	"io"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"jitgate/internal/api"
)

func (a *App) machinesCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "machines [NAME]",
		Short: "List virtual machines and their ids",
		Long:  "List the virtual machines of the subscriptions jitgate looks after, or those of one name.",
		Example: `  jitgate machines
  jitgate machines web01 -o json`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: a.run(func(c *cobra.Command, args []string) error {
			jit, err := a.client()
			if err != nil {
				return err
			}
			name := ""
			if len(args) == 1 {
				name = args[0]
			}
			found, err := jit.Machines(c.Context(), name)
			if err != nil {
				return err
			}
			if len(found) == 0 {
				a.say("there are no such virtual machines")
			}
			return a.print(api.MachineList{Machines: found}, func(w io.Writer) {
				rows := make([]table.Row, len(found))
				for i, m := range found {
					rows[i] = table.Row{m.Name, m.ID}
				}
				if len(rows) > 0 {
					writeTable(w, table.Row{"Name", "ID"}, rows)
				}
			})
		}),
	}
}
