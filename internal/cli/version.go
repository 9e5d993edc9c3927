package cli

import (
	"runtime"

	"github.com/bulkhead-engine/bulkhead/internal/cli/format"
	"github.com/spf13/cobra"
)

func versionLine() string { return Name + " version " + Version + "\n" }

// versions is what `version` tells, in the shape of Docker's.
type versions struct {
	Client struct {
		Version   string
		GoVersion string
		Os        string
		Arch      string
	}
}

func versionCommand(p *program) *cobra.Command {
	var text string
	c := &cobra.Command{
		Use: "version [OPTIONS]", Short: "Show the version of the program", Args: count(0, 0),
		RunE: func(*cobra.Command, []string) error {
			var v versions
			v.Client.Version, v.Client.GoVersion, v.Client.Os, v.Client.Arch = Version, runtime.Version(), runtime.GOOS, runtime.GOARCH
			if text == "" {
				text = "Version:\t{{.Client.Version}}\nGo version:\t{{.Client.GoVersion}}\nOS/Arch:\t{{.Client.Os}}/{{.Client.Arch}}"
			}
			return format.Values(p.stdout(), text, []any{v})
		},
	}
	c.Flags().StringVarP(&text, "format", "f", "", "json, or a template")
	return c
}
