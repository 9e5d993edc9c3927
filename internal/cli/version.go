package cli

import (
	"runtime"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/cli/format"
	"github.com/moby/moby/api/types/system"
	"github.com/spf13/cobra"
)

func versionLine() string { return Name + " version " + Version + "\n" }

// versions is what `version` tells, in the shape of Docker's.
type versions struct {
	Client clientVersion
	Server *system.VersionResponse // nil: nobody answers
}

type clientVersion struct {
	Version   string
	GoVersion string
	Os        string
	Arch      string
	Context   string
}

func versionCommand(p *program) *cobra.Command {
	var text string
	c := &cobra.Command{
		Use: "version [OPTIONS]", Short: "Show the versions of the program and of the engine", Args: count(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			v := versions{Client: clientVersion{Version, runtime.Version(), runtime.GOOS, runtime.GOARCH, "default"}}
			client, err := p.engine()
			if err == nil {
				var server system.VersionResponse
				if err = client.Get(cmd.Context(), "/version", nil, &server); err == nil {
					v.Server = &server
				}
			}
			if text != "" {
				if ferr := format.Values(p.stdout(), text, []any{v}); ferr != nil {
					return ferr
				}
				return err
			}
			if werr := p.writeVersions(&v); werr != nil {
				return werr
			}
			return err
		},
	}
	c.Flags().StringVarP(&text, "format", "f", "", "json, or a template")
	return c
}

// writeVersions writes them as Docker does.
func (p *program) writeVersions(v *versions) error {
	var b block
	b.line(0, "Client", "")
	b.line(1, "Version", v.Client.Version)
	b.line(1, "Go version", v.Client.GoVersion)
	b.line(1, "OS/Arch", v.Client.Os+"/"+v.Client.Arch)
	b.line(1, "Context", v.Client.Context)
	if s := v.Server; s != nil {
		b.text.WriteByte('\n')
		b.line(0, "Server", s.Platform.Name)
		for _, c := range s.Components {
			b.line(1, c.Name, "")
			b.line(2, "Version", c.Version)
			if c.Name != "Engine" {
				continue
			}
			b.line(2, "API version", s.APIVersion+" (minimum version "+s.MinAPIVersion+")")
			b.line(2, "Go version", s.GoVersion)
			b.line(2, "OS/Arch", s.Os+"/"+s.Arch)
			b.line(2, "Kernel", s.KernelVersion)
		}
	}
	return p.writeBlock(&b)
}

// A block is text of names and values, indented.
type block struct{ text strings.Builder }

func (b *block) line(depth int, name, value string) {
	b.text.WriteString(strings.Repeat(" ", depth) + name + ":")
	if value != "" {
		if pad := 18 - depth - len(name); depth > 0 && pad > 0 && b.aligned(name) {
			b.text.WriteString(strings.Repeat(" ", pad))
		} else {
			b.text.WriteByte(' ')
		}
		b.text.WriteString(value)
	}
	b.text.WriteByte('\n')
}

// aligned: the values of versions stand below each other; those of info follow their names.
func (b *block) aligned(name string) bool {
	return name == "Version" || name == "Go version" || name == "OS/Arch" || name == "Context" || name == "API version" || name == "Kernel"
}

func (p *program) writeBlock(b *block) error {
	for _, line := range strings.Split(strings.TrimSuffix(b.text.String(), "\n"), "\n") {
		if err := p.printOthers(line); err != nil {
			return err
		}
	}
	return nil
}
