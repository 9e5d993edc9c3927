package cli

import (
	"os"

	"github.com/bulkhead-engine/bulkhead/internal/engine/container"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/spf13/cobra"
)

// bothServices opens images and containers.
func (p *program) bothServices() (*container.Service, error) {
	images, err := p.images(nil)
	if err != nil {
		return nil, err
	}
	return p.containers(images)
}

// diffCommand lists what a container has changed.
func diffCommand(p *program) *cobra.Command {
	return &cobra.Command{
		Use: "diff [OPTIONS] CONTAINER", Short: "List files that a container has added, changed and deleted", Args: count(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := p.bothServices()
			if err != nil {
				return err
			}
			changes, err := s.Diff(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			for _, c := range changes {
				if err := p.printOthers(string(c.Kind) + " " + c.Path); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

// commitCommand makes an image of a container.
func commitCommand(p *program) *cobra.Command {
	var o container.CommitOptions
	var pause bool
	c := &cobra.Command{
		Use: "commit [OPTIONS] CONTAINER [REPOSITORY[:TAG]]", Short: "Make an image of a container", Args: count(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := p.bothServices()
			if err != nil {
				return err
			}
			if len(args) == 2 {
				o.Name = args[1]
			}
			o.NoPause = !pause
			img, err := s.Commit(cmd.Context(), args[0], o)
			if err != nil {
				return err
			}
			return p.print(img.ID.String())
		},
	}
	f := c.Flags()
	f.StringVarP(&o.Author, "author", "a", "", "who made it")
	f.StringVarP(&o.Message, "message", "m", "", "why")
	f.StringArrayVarP(&o.Changes, "change", "c", nil, "a line of a Dockerfile: CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, STOPSIGNAL, USER, VOLUME, WORKDIR")
	f.BoolVarP(&pause, "pause", "p", true, "freeze the container meanwhile")
	return c
}

// exportCommand writes the files of a container.
func exportCommand(p *program) *cobra.Command {
	var path string
	c := &cobra.Command{
		Use: "export [OPTIONS] CONTAINER", Short: "Write the files of a container as an archive", Args: count(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if path == "" && p.terminal() {
				return errdef.WithHint(errdef.Errorf(errdef.Invalid, "export: an archive is nothing for a terminal"), "say -o FILE, or redirect")
			}
			s, err := p.bothServices()
			if err != nil {
				return err
			}
			if _, err := s.Get(args[0]); err != nil { // before a file is made
				return err
			}
			if path == "" {
				return s.Export(cmd.Context(), args[0], p.out)
			}
			return writeFile("export", path, func(f *os.File) error { return s.Export(cmd.Context(), args[0], f) })
		},
	}
	c.Flags().StringVarP(&path, "output", "o", "", "write to a file, instead of standard output")
	return c
}
