package cli

import (
	"fmt"
	"io"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// Version is set when a release is built, with
// -ldflags "-X jitgate/internal/cli.Version=v1.2.3".
var Version = "development"

func (a *App) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Show which build this is",
		Example: "  jitgate version -o json",
		Args:    cobra.NoArgs,
		RunE: a.run(func(*cobra.Command, []string) error {
			v := struct {
				Version string `json:"version"`
				Commit  string `json:"commit,omitempty"`
				Go      string `json:"go"`
			}{Version: Version}
			if info, ok := debug.ReadBuildInfo(); ok {
				v.Go = info.GoVersion
				for _, s := range info.Settings {
					if s.Key == "vcs.revision" {
						v.Commit = s.Value
					}
				}
			}
			return a.print(v, func(w io.Writer) {
				_, _ = fmt.Fprintf(w, "jitgate %s", v.Version)
				if v.Commit != "" {
					_, _ = fmt.Fprintf(w, " (%s)", v.Commit)
				}
				_, _ = fmt.Fprintf(w, ", %s\n", v.Go)
			})
		}),
	}
}
