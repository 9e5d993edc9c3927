package cli

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"

	"github.com/bulkhead-engine/bulkhead/internal/cli/runflags"
	"github.com/bulkhead-engine/bulkhead/internal/dockerapi/client"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/moby/moby/api/types/container"
	"github.com/spf13/cobra"
)

// Exit statuses of `run`, Docker's.
const (
	exitEngine        = 125 // the engine's own error
	exitNotExecutable = 126
	exitNotFound      = 127
)

// runCommand is `run`, and `create` without a start.
func runCommand(p *program, start bool) *cobra.Command {
	var f runflags.Flags
	var r remote
	var explain bool
	use, short := "create", "Create a container"
	if start {
		use, short = "run", "Create a container and run it"
	}
	c := &cobra.Command{
		Use: use + " [OPTIONS] IMAGE [COMMAND] [ARG...]", Short: short, Args: count(1, -1), ValidArgsFunction: p.completeImage,
		RunE: func(cmd *cobra.Command, args []string) error {
			var err error
			if explain {
				err = p.explained(cmd.Context(), &f, args)
			} else {
				err = p.run(cmd.Context(), &f, &r, args, start)
			}
			if err != nil {
				return asEngine(err)
			}
			return nil
		},
	}
	c.Flags().Bool("help", false, "help for "+use) // -h is the host name
	f.Register(c.Flags())
	r.register(c.Flags())
	c.Flags().BoolVar(&explain, "explain", false, "show what would confine it, call by call, and make nothing")
	if start {
		f.RegisterRun(c.Flags())
	}
	for _, no := range runflags.Refusals() {
		refuse(c.Flags(), no.Name, no.Short, refusedFlag{reason: no.Why, hint: no.Hint, boolean: no.Boolean, allow: no.Allow})
	}
	p.completeRun(c)
	return c
}

// asEngine gives an error of ours Docker's exit status.
func asEngine(err error) error {
	var status *statusError
	if errors.As(err, &status) {
		return err
	}
	return &statusError{exitEngine, err}
}

func (p *program) run(ctx context.Context, f *runflags.Flags, r *remote, args []string, start bool) error {
	q, err := f.Request(args)
	if err != nil {
		return err
	}
	s := session{remove: q.Host.AutoRemove, proxy: f.SigProxy, sized: true}
	if s.written, s.keys, err = p.detachKeys(f.DetachKeys); err != nil {
		return err
	}
	c := &q.Config
	switch {
	case f.Detach && len(f.Attach) > 0:
		return errdef.Errorf(errdef.Invalid, "conflicting options: -a and -d")
	case f.Detach:
		c.AttachStdin, c.AttachStdout, c.AttachStderr, c.StdinOnce = false, false, false, false
	case start:
		if err := p.checkTerminal(c.AttachStdin, c.Tty); err != nil {
			return err
		}
	}
	if c.Tty {
		h, w := p.size()
		q.Host.ConsoleSize = [2]uint{uint(h), uint(w)}
	}
	api, err := p.engine()
	if err != nil {
		return err
	}
	if start && (c.AttachStdin || c.AttachStdout || c.AttachStderr) {
		if err := p.oneEngine(ctx, api); err != nil {
			return err
		}
	}
	if s.id, err = p.create(ctx, api, f, q, pulling{remote: r, platform: f.Platform, quiet: f.Quiet, aside: true}); err != nil {
		return err
	}
	switch {
	case !start:
		return p.print(s.id)
	case !c.AttachStdin && !c.AttachStdout && !c.AttachStderr:
		if err := api.Post(ctx, containerPath(s.id, "start"), nil, nil, nil); err != nil {
			return p.startFailed(ctx, api, &s, err)
		}
		return p.print(s.id)
	}
	s.tty, s.stdin, s.stdout, s.err = c.Tty, c.AttachStdin, c.AttachStdout, c.AttachStderr
	return p.foreground(ctx, api, &s)
}

// create makes the container, pulling its image if the policy says so, and tells of what is weaker than the default.
func (p *program) create(ctx context.Context, api *client.Client, f *runflags.Flags, q *runflags.Request, pulls pulling) (id string, err error) {
	if f.CIDFile != "" {
		if _, err := os.Lstat(f.CIDFile); err == nil {
			err := errdef.Errorf(errdef.Exists, "--cidfile %q: the file is there already", f.CIDFile)
			return "", errdef.WithHint(err, "remove the file, or name another")
		}
	}
	if flag := q.Ours(); flag != "" {
		if err := p.mustBeOurs(ctx, api, flag); err != nil {
			return "", err
		}
	}
	if q.Rootfs == "" {
		if err := p.pullFirst(ctx, api, f.Pull, q.Image, pulls); err != nil {
			return "", err
		}
	}
	query := url.Values{}
	for name, value := range map[string]string{"name": f.Name, "platform": f.Platform} {
		if value != "" {
			query.Set(name, value)
		}
	}
	var answer container.CreateResponse
	err = api.Post(ctx, "/containers/create", query, q.Body(), &answer)
	if errdef.Is(err, errdef.NotFound) && f.Pull == "missing" && q.Rootfs == "" && (f.Platform != "" || !p.hasImage(ctx, api, q.Image)) {
		if !f.Quiet {
			p.line("Unable to find image '" + q.Image + "' locally")
		}
		if err := p.pullWith(ctx, q.Image, pulls); err != nil {
			return "", err
		}
		err = api.Post(ctx, "/containers/create", query, q.Body(), &answer)
	}
	if err != nil {
		return "", err
	}
	for _, w := range answer.Warnings {
		p.warn(w)
	}
	if err := writeID(f.CIDFile, answer.ID); err != nil {
		return "", errors.Join(err, p.discard(ctx, api, answer.ID))
	}
	return answer.ID, nil
}

// pullFirst pulls where the policy says so before anything is looked for.
func (p *program) pullFirst(ctx context.Context, api *client.Client, policy, image string, pulls pulling) error {
	switch policy {
	case "always":
		return p.pullWith(ctx, image, pulls)
	case "newer":
		err := p.pullWith(ctx, image, pulls)
		if err != nil && ctx.Err() == nil && p.hasImage(ctx, api, image) {
			p.warn(err.Error() + "; the image that is here is used")
			return nil
		}
		return err
	case "missing", "never":
		return nil
	}
	err := errdef.Errorf(errdef.Invalid, "--pull %.32q: there is no such policy", policy)
	return errdef.WithHint(err, "always, missing, never, newer")
}

// mustBeOurs refuses what another kind of engine would pass over.
func (p *program) mustBeOurs(ctx context.Context, api *client.Client, flag string) error {
	if p.inside != nil {
		return nil
	}
	answer, err := api.Stream(ctx, client.Request{Method: http.MethodGet, Path: "/_ping"})
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if server := answer.Header.Get("Server"); !strings.HasPrefix(server, "Bulkhead/") {
		return errdef.Errorf(errdef.Unsupported, "%s: the engine there (%.64q) would pass it over", flag, server)
	}
	return nil
}

// hasImage reports whether the engine has an image.
func (p *program) hasImage(ctx context.Context, api *client.Client, name string) bool {
	return !errdef.Is(api.Get(ctx, imagePath(name, "/json"), nil, nil), errdef.NotFound)
}

// discard removes a container that was made a moment ago.
func (p *program) discard(ctx context.Context, api *client.Client, id string) error {
	err := api.Delete(context.WithoutCancel(ctx), containerPath(id, ""), url.Values{"force": {"1"}, "v": {"1"}}, nil)
	if errdef.Is(err, errdef.NotFound) || errdef.Is(err, errdef.Conflict) { // it is gone, or going
		return nil
	}
	return err
}

// writeID writes --cidfile, which must not be there.
func writeID(path, id string) error {
	if path == "" {
		return nil
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return errdef.WithHint(errdef.Errorf(errdef.Exists, "--cidfile: %w", err), "remove the file, or name another")
	}
	_, err = io.WriteString(file, id)
	return errors.Join(err, file.Close())
}

// programStatus is the exit status for a program that could not be started. Another engine tells why in words only.
func programStatus(err error) int {
	text := err.Error()
	switch {
	case errdef.Is(err, errdef.NotFound), strings.Contains(text, "executable file not found"), strings.Contains(text, "no such file or directory"):
		return exitNotFound
	case errdef.Is(err, errdef.Denied), strings.Contains(text, syscall.EACCES.Error()), strings.Contains(text, syscall.EISDIR.Error()):
		return exitNotExecutable
	}
	return exitEngine
}
