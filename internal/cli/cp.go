package cli

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync/atomic"

	"github.com/bulkhead-engine/bulkhead/internal/cli/format"
	"github.com/bulkhead-engine/bulkhead/internal/cli/transfer"
	"github.com/bulkhead-engine/bulkhead/internal/dockerapi/client"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/moby/moby/api/types/container"
	"github.com/spf13/cobra"
)

// copyFlags are those of cp.
type copyFlags struct {
	archive, follow, quiet bool
}

// copyCommand copies files into and out of containers.
func copyCommand(p *program) *cobra.Command {
	var o copyFlags
	c := &cobra.Command{
		Use: "cp [OPTIONS] CONTAINER:PATH PATH|-, or PATH|- CONTAINER:PATH", Short: "Copy files out of a container and into it", Args: count(2, 2),
		Long: "Copy files out of a container and into it.\n\nA directory is copied into one that is there, by its own name, and becomes one that is not; what ends with /. is\n" +
			"copied without it. - is an archive on standard output or input.",
		RunE: func(cmd *cobra.Command, args []string) error {
			if !cmd.Flags().Changed("quiet") {
				o.quiet = !p.terminal()
			}
			return p.copy(cmd.Context(), &o, args[0], args[1])
		},
		ValidArgsFunction: func(cmd *cobra.Command, args []string, begin string) ([]string, cobra.ShellCompDirective) {
			if strings.ContainsAny(begin, ":/.") {
				return nil, cobra.ShellCompDirectiveDefault
			}
			names, _ := p.completeContainers(nil)(cmd, args, begin)
			for i := range names {
				names[i] += ":"
			}
			return names, cobra.ShellCompDirectiveNoSpace
		},
	}
	f := c.Flags()
	f.BoolVarP(&o.archive, "archive", "a", false, "keep owners, and the bits that give others their power")
	f.BoolVarP(&o.follow, "follow-link", "L", false, "what a symbolic link that is named points to, instead of the link")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "do not say what was copied (the default without a terminal)")
	return c
}

// side is a container and a path in it, or a path here.
func side(arg string) (name, path string) {
	if filepath.IsAbs(arg) {
		return "", arg
	}
	name, path, ok := strings.Cut(arg, ":")
	if !ok || strings.HasPrefix(name, ".") {
		return "", arg
	}
	return name, path
}

func (p *program) copy(ctx context.Context, o *copyFlags, from, to string) error {
	if from == "" || to == "" {
		return errdef.Errorf(errdef.Invalid, "cp: neither source nor destination may be empty")
	}
	source, sourcePath := side(from)
	dest, destPath := side(to)
	switch {
	case source != "" && dest != "":
		err := errdef.Errorf(errdef.Unsupported, "cp: copying between containers is not supported")
		return errdef.WithHint(err, "bulkhead cp "+from+" - | bulkhead cp - "+to)
	case source == "" && dest == "":
		return errdef.WithHint(errdef.Errorf(errdef.Invalid, "cp: neither side names a container"), "as in web:/etc/nginx .")
	}
	api, err := p.engine()
	if err != nil {
		return err
	}
	c := copier{p: p, api: api, o: o}
	if source != "" {
		c.name = source
		return c.out(ctx, sourcePath, destPath)
	}
	c.name = dest
	return c.in(ctx, sourcePath, destPath)
}

// A copier copies out of one container or into it.
type copier struct {
	p     *program
	api   *client.Client
	o     *copyFlags
	name  string
	moved atomic.Int64
}

// Write counts.
func (c *copier) Write(b []byte) (int, error) {
	c.moved.Add(int64(len(b)))
	return len(b), nil
}

// done says what was copied.
func (c *copier) done(to string) {
	if !c.o.quiet {
		c.p.line("Successfully copied " + format.Bytes(c.moved.Load()) + " to " + to)
	}
}

func (c *copier) archive() string { return containerPath(c.name, "archive") }

// stat asks for what a path in the container is.
func (c *copier) stat(ctx context.Context, path string) (container.PathStat, error) {
	var st container.PathStat
	answer, err := c.api.Stream(ctx, client.Request{Method: http.MethodHead, Path: c.archive(), Query: url.Values{"path": {path}}})
	if err != nil {
		return st, err
	}
	defer answer.Body.Close()
	return statOf(answer.Header)
}

// statOf reads the header that tells what a path is.
func statOf(h http.Header) (container.PathStat, error) {
	var st container.PathStat
	data, err := base64.StdEncoding.DecodeString(h.Get("X-Docker-Container-Path-Stat"))
	if err == nil {
		err = json.Unmarshal(data, &st)
	}
	if err != nil {
		return st, errdef.Errorf(errdef.Internal, "cp: what the engine tells of a path: %w", err)
	}
	return st, nil
}

// linked is the path that a symbolic link of a container points to.
func linked(link string, st container.PathStat) string {
	if path.IsAbs(st.LinkTarget) {
		return st.LinkTarget
	}
	return path.Join(path.Dir(path.Clean(link)), st.LinkTarget)
}

// out copies from the container.
func (c *copier) out(ctx context.Context, source, dest string) error {
	base := path.Base(path.Clean("/" + source))
	if c.o.follow {
		if st, err := c.stat(ctx, source); err == nil && st.Mode&os.ModeSymlink != 0 {
			source = linked(source, st)
		}
	}
	answer, err := c.api.Stream(ctx, client.Request{Method: http.MethodGet, Path: c.archive(), Query: url.Values{"path": {source}}})
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	body := io.TeeReader(answer.Body, c)
	if dest == "-" {
		if c.p.terminal() {
			return errdef.WithHint(errdef.Errorf(errdef.Invalid, "cp: an archive is nothing for a terminal"), "redirect it, or name a file")
		}
		return copyBody(ctx, "cp", c.p.out, body)
	}
	st, err := statOf(answer.Header)
	if err != nil {
		return err
	}
	var at transfer.Place
	if info, err := os.Stat(dest); err == nil {
		at = transfer.Place{Exists: true, Dir: info.IsDir()}
		if !info.IsDir() && !info.Mode().IsRegular() {
			return errdef.WithHint(errdef.Errorf(errdef.Invalid, "cp to %q: neither a file nor a directory", dest), "- is standard output")
		}
	}
	dir, name, err := transfer.Resolve(source, base, st.Mode.IsDir(), dest, at)
	if err != nil {
		return err
	}
	err = transfer.Unpack(body, transfer.Target{Dir: dir, Name: name, Owners: c.o.archive})
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err == nil {
		c.done(dest)
	}
	return err
}

// in copies into the container.
func (c *copier) in(ctx context.Context, source, dest string) error {
	var at transfer.Place
	if st, err := c.stat(ctx, dest); err == nil {
		if st.Mode&os.ModeSymlink != 0 {
			dest = linked(dest, st)
			st, err = c.stat(ctx, dest)
		}
		at = transfer.Place{Exists: err == nil, Dir: err == nil && st.Mode.IsDir()}
	} else if !errdef.Is(err, errdef.NotFound) {
		return err
	}
	if source == "-" {
		if !at.Dir {
			return errdef.Errorf(errdef.Invalid, "cp: destination %s:%s must be a directory", c.name, dest)
		}
		return c.put(ctx, dest, readable(ctx, c.p.in))
	}
	follow := os.Lstat
	if c.o.follow || strings.HasSuffix(source, "/") {
		follow = os.Stat
	}
	info, err := follow(source)
	if err != nil {
		return errdef.Errorf(errdef.NotFound, "cp: %w", err)
	}
	abs, err := filepath.Abs(source)
	if err != nil {
		return errdef.Errorf(errdef.Invalid, "cp: %w", err)
	}
	dir, name, err := transfer.Resolve(source, filepath.Base(abs), info.IsDir(), dest, at)
	if err != nil {
		return err
	}
	if info.Mode()&os.ModeSymlink == 0 {
		if abs, err = filepath.EvalSymlinks(abs); err != nil {
			return errdef.Errorf(errdef.NotFound, "cp: %w", err)
		}
	}
	r, w := io.Pipe()
	packed := make(chan error, 1)
	go func() {
		err := transfer.Pack(w, transfer.Source{Path: abs, Name: name})
		_ = w.CloseWithError(err)
		packed <- err
	}()
	err = c.put(ctx, dir, r)
	_ = r.CloseWithError(errors.New("the engine reads no more"))
	if e := <-packed; e != nil && errdef.KindOf(e) != errdef.Unavailable || err == nil && e != nil {
		return e
	}
	if err == nil {
		c.done(c.name + ":" + dest)
	}
	return err
}

// put lets the engine unpack an archive.
func (c *copier) put(ctx context.Context, dir string, r io.Reader) error {
	q := url.Values{"path": {dir}, "noOverwriteDirNonDir": {"true"}}
	if c.o.archive {
		q.Set("copyUIDGID", "true")
	}
	answer, err := c.api.Stream(ctx, client.Request{
		Method: http.MethodPut, Path: c.archive(), Query: q, Body: io.TeeReader(r, c), Header: http.Header{"Content-Type": {"application/x-tar"}},
	})
	if err != nil {
		return err
	}
	return answer.Body.Close()
}
