package cli

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/dockerapi/client"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/image/reference"
	"github.com/moby/moby/api/types/container"
	"github.com/spf13/cobra"
)

// diffCommand lists what a container has changed.
func diffCommand(p *program) *cobra.Command {
	return &cobra.Command{
		Use: "diff [OPTIONS] CONTAINER", Short: "List files that a container has added, changed and deleted", Args: count(1, 1), ValidArgsFunction: p.completeContainer(nil),
		RunE: func(cmd *cobra.Command, args []string) error {
			api, err := p.engine()
			if err != nil {
				return err
			}
			var changes []container.FilesystemChange
			if err := api.Get(cmd.Context(), containerPath(args[0], "changes"), nil, &changes); err != nil {
				return err
			}
			for _, c := range changes {
				if err := p.printOthers(c.Kind.String() + " " + c.Path); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

// commitFlags are those of commit.
type commitFlags struct {
	author, message string
	changes         []string
	pause, noPause  bool
}

// commitCommand makes an image of a container.
func commitCommand(p *program) *cobra.Command {
	var o commitFlags
	c := &cobra.Command{
		Use: "commit [OPTIONS] CONTAINER [REPOSITORY[:TAG]]", Short: "Make an image of a container", Args: count(1, 2), ValidArgsFunction: p.completeContainer(nil),
		RunE: func(cmd *cobra.Command, args []string) error { return p.commit(cmd.Context(), &o, args) },
	}
	f := c.Flags()
	f.StringVarP(&o.author, "author", "a", "", "who made it")
	f.StringVarP(&o.message, "message", "m", "", "why")
	f.StringArrayVarP(&o.changes, "change", "c", nil, "a line of a Dockerfile: CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, STOPSIGNAL, USER, VOLUME, WORKDIR")
	f.BoolVarP(&o.pause, "pause", "p", true, "freeze the container meanwhile")
	f.BoolVar(&o.noPause, "no-pause", false, "the same as --pause=false")
	return c
}

func (p *program) commit(ctx context.Context, o *commitFlags, args []string) error {
	q := url.Values{"container": {args[0]}, "author": {o.author}, "comment": {o.message}, "changes": o.changes, "pause": {"1"}}
	if !o.pause || o.noPause {
		q.Set("pause", "0")
	}
	if len(args) == 2 {
		ref, err := reference.Parse(args[1])
		if err != nil {
			return err
		}
		if ref.Digest != "" {
			return errdef.Errorf(errdef.Invalid, "commit to %q: an image gets its digest by what it holds", args[1])
		}
		q.Set("repo", ref.Repository())
		q.Set("tag", ref.Identifier())
	}
	api, err := p.engine()
	if err != nil {
		return err
	}
	var made container.CommitResponse
	if err := api.Post(ctx, "/commit", q, nil, &made); err != nil {
		return err
	}
	if !strings.Contains(made.ID, ":") {
		made.ID = "sha256:" + made.ID
	}
	return p.print(made.ID)
}

// exportCommand writes the files of a container.
func exportCommand(p *program) *cobra.Command {
	var path string
	c := &cobra.Command{
		Use: "export [OPTIONS] CONTAINER", Short: "Write the files of a container as an archive", Args: count(1, 1), ValidArgsFunction: p.completeContainer(nil),
		RunE: func(cmd *cobra.Command, args []string) error {
			if path == "" && p.terminal() {
				return errdef.WithHint(errdef.Errorf(errdef.Invalid, "export: an archive is nothing for a terminal"), "say -o FILE, or redirect")
			}
			api, err := p.engine()
			if err != nil {
				return err
			}
			answer, err := api.Stream(cmd.Context(), client.Request{Method: http.MethodGet, Path: containerPath(args[0], "export")})
			if err != nil { // before a file is made
				return err
			}
			defer answer.Body.Close()
			write := func(w io.Writer) error { return copyBody(cmd.Context(), "export", w, answer.Body) }
			if path == "" {
				return write(p.out)
			}
			return writeFile("export", path, func(f *os.File) error { return write(f) })
		},
	}
	c.Flags().StringVarP(&path, "output", "o", "", "write to a file, instead of standard output")
	return c
}

// copyBody writes what an answer has.
func copyBody(ctx context.Context, what string, w io.Writer, body io.Reader) error {
	_, err := io.Copy(w, body)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		return errdef.Errorf(errdef.Unavailable, "%s: %w", what, err)
	}
	return nil
}
