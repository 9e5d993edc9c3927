package cli

import (
	"os"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/image"
	"github.com/spf13/cobra"
	"golang.org/x/term"
)

func loadCommand(p *program) *cobra.Command {
	var (
		path  string
		quiet bool
	)
	c := &cobra.Command{
		Use: "load [OPTIONS]", Short: "Take the images of an archive", Args: count(0, 0),
		Long: "Take the images of an archive that `save` of this program, of Docker, Podman or skopeo wrote (docker-archive, oci-archive), plain or compressed.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			from, err := p.source(path, "load")
			if err != nil {
				return err
			}
			defer from.Close()
			s, err := p.images(nil)
			if err != nil {
				return err
			}
			show, end := p.progress(quiet || !p.terminal())
			loaded, err := s.Load(cmd.Context(), readable(cmd.Context(), from), show)
			if closed := end(); err == nil {
				err = closed
			}
			for _, l := range loaded {
				line := "Loaded image ID: " + l.Image.ID.String()
				if l.Name != "" {
					line = "Loaded image: " + l.Name
				}
				if werr := p.print(line); err == nil {
					err = werr
				}
			}
			return err
		},
	}
	f := c.Flags()
	f.StringVarP(&path, "input", "i", "", "read from a file, instead of standard input")
	f.BoolVarP(&quiet, "quiet", "q", false, "print only the names of what was loaded")
	refuse(f, "platform", "", refusedFlag{reason: "all platforms of an archive are loaded", hint: "leave it away"})
	refuseOthers(f, "load")
	return c
}

// source opens what is read from; "" and "-" are standard input, if it is no terminal.
func (p *program) source(path, step string) (*os.File, error) {
	if path != "" && path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, errdef.Errorf(errdef.Invalid, "%s: %w", step, err)
		}
		return f, nil
	}
	if term.IsTerminal(int(p.in.Fd())) {
		return nil, errdef.WithHint(errdef.Errorf(errdef.Invalid, "%s: standard input is a terminal", step), "name a file, or redirect")
	}
	return p.in, nil
}

func importCommand(p *program) *cobra.Command {
	var (
		o        image.ImportOptions
		platform platformFlag
		quiet    bool
	)
	c := &cobra.Command{
		Use: "import [OPTIONS] FILE|- [NAME[:TAG]]", Short: "Make an image of an archive of a root file system", Args: count(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if isURL(args[0]) {
				err := errdef.Errorf(errdef.Unsupported, "import %q: what has neither a digest nor a signature is not fetched", args[0])
				return errdef.WithHint(err, "fetch and verify it yourself, and import the file")
			}
			from, err := p.source(args[0], "import")
			if err != nil {
				return err
			}
			defer from.Close()
			if platform.p != nil {
				o.Platform = *platform.p
			}
			name := ""
			if len(args) == 2 {
				name = args[1]
			}
			s, err := p.images(nil)
			if err != nil {
				return err
			}
			img, err := s.Import(cmd.Context(), readable(cmd.Context(), from), name, o)
			if err != nil {
				return err
			}
			return p.print(img.ID.String())
		},
	}
	f := c.Flags()
	f.StringArrayVarP(&o.Changes, "change", "c", nil, "a line of a Dockerfile for the image: CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, STOPSIGNAL, USER, VOLUME, WORKDIR")
	f.StringVarP(&o.Message, "message", "m", "", "what the history of the image says")
	f.Var(&platform, "platform", "what it was made for (default the host's)")
	f.BoolVarP(&quiet, "quiet", "q", false, "nothing but the id is printed anyway")
	refuseOthers(f, "import")
	return c
}

func isURL(s string) bool {
	for _, scheme := range []string{"http://", "https://", "ftp://"} {
		if len(s) >= len(scheme) && s[:len(scheme)] == scheme {
			return true
		}
	}
	return false
}
