package cli

import (
	"net/http"
	"net/url"
	"os"

	"github.com/bulkhead-engine/bulkhead/internal/cli/progress"
	"github.com/bulkhead-engine/bulkhead/internal/dockerapi/client"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
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
			show, end := p.progress(quiet || !p.terminal())
			q := client.Request{Method: http.MethodPost, Path: "/images/load", Query: url.Values{}, Body: readable(cmd.Context(), from)}
			q.Header = http.Header{"Content-Type": {"application/x-tar"}}
			if show == nil {
				q.Query.Set("quiet", "1")
			}
			err = p.follow(cmd.Context(), q, show, nil)
			if closed := end(); err == nil {
				err = closed
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
		changes  []string
		message  string
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
			q := client.Request{Method: http.MethodPost, Path: "/images/create", Body: readable(cmd.Context(), from)}
			q.Query = platform.query(url.Values{"fromSrc": {"-"}, "message": {message}, "changes": changes})
			q.Header = http.Header{"Content-Type": {"application/x-tar"}}
			if len(args) == 2 {
				q.Query.Set("repo", args[1])
			}
			id := ""
			if err := p.follow(cmd.Context(), q, func(e progress.Event) { id = e.Action }, nil); err != nil {
				return err
			}
			return p.printOthers(id)
		},
	}
	f := c.Flags()
	f.StringArrayVarP(&changes, "change", "c", nil, "a line of a Dockerfile for the image: CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, STOPSIGNAL, USER, VOLUME, WORKDIR")
	f.StringVarP(&message, "message", "m", "", "what the history of the image says")
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
