package container

import (
	"context"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/engine/assemble"
	"github.com/bulkhead-engine/bulkhead/internal/engine/option"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/image"
	"github.com/bulkhead-engine/bulkhead/internal/image/layer/overlay"
	"github.com/bulkhead-engine/bulkhead/internal/image/snapshot"
	"github.com/bulkhead-engine/bulkhead/internal/linux/idmap"
	"github.com/bulkhead-engine/bulkhead/internal/monitor/control"
	api "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"
)

// ids are those of a container's files on the host.
func ids(r *Record) idmap.Mapping {
	if userNSOff(r) {
		return idmap.Mapping{}
	}
	h := host(r)
	return idmap.FromSpec(h.UIDs, h.GIDs)
}

// openDir opens a directory to be read.
func openDir(path string) (int, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, errdef.Errorf(errdef.Unavailable, "open %s: %w", path, err)
	}
	return fd, nil
}

// changed opens the writable layer of a container and what lies below it. The lock of the layers is the caller's to close.
func (s *Service) changed(ctx context.Context, c *Container) (*overlay.Tree, *snapshot.Use, error) {
	if c.Rootfs != nil && !c.Rootfs.Overlay {
		err := errdef.Errorf(errdef.Unsupported, "changes: the files of the container are the directory %s itself", c.Rootfs.Path)
		return nil, nil, errdef.WithHint(err, "--rootfs "+c.Rootfs.Path+":O keeps what is changed apart")
	}
	use, err := s.layers(ctx, &c.Record, "changes")
	if err != nil {
		return nil, nil, err
	}
	t := &overlay.Tree{Upper: -1, IDs: ids(&c.Record)}
	fail := func(err error) (*overlay.Tree, *snapshot.Use, error) {
		for _, fd := range append(t.Lower, t.Upper) {
			if fd >= 0 {
				_ = unix.Close(fd)
			}
		}
		_ = use.Close()
		return nil, nil, err
	}
	if t.Upper, err = openDir(filepath.Join(s.dir(c.ID), "fs", "upper")); err != nil {
		return fail(err)
	}
	var dirs []string
	if c.Rootfs != nil {
		dirs = []string{c.Rootfs.Path}
	} else {
		dirs = use.Layers()
	}
	for _, dir := range dirs {
		fd, err := openDir(dir)
		if err != nil {
			return fail(err)
		}
		t.Lower = append(t.Lower, fd)
	}
	return t, use, nil
}

// Changes lists what a container has changed of its image's files.
func (s *Service) Changes(ctx context.Context, name string) ([]api.FilesystemChange, error) {
	c, err := s.Get(name)
	if err != nil {
		return nil, err
	}
	t, use, err := s.changed(ctx, c)
	if err != nil {
		return nil, err
	}
	defer use.Close()
	defer t.Close()
	list, err := overlay.Changes(ctx, t)
	if err != nil {
		return nil, err
	}
	list = withoutOurs(list)
	kinds := map[byte]api.ChangeType{overlay.Changed: api.ChangeModify, overlay.Added: api.ChangeAdd, overlay.Deleted: api.ChangeDelete}
	out := make([]api.FilesystemChange, len(list))
	for i, c := range list {
		out[i] = api.FilesystemChange{Kind: kinds[c.Kind], Path: c.Path}
	}
	return out, nil
}

// withoutOurs leaves out the files on which the engine's own are shown, and their directory, if nothing else of it has changed.
func withoutOurs(list []overlay.Change) []overlay.Change {
	before := len(list)
	list = slices.DeleteFunc(list, func(c overlay.Change) bool {
		return c.Kind == overlay.Added && slices.Contains([]string{"/etc/hostname", "/etc/hosts", "/etc/resolv.conf"}, c.Path)
	})
	if len(list) == before || slices.ContainsFunc(list, func(c overlay.Change) bool { return strings.HasPrefix(c.Path, "/etc/") }) {
		return list
	}
	return slices.DeleteFunc(list, func(c overlay.Change) bool { return c.Path == "/etc" })
}

// Commit makes an image of a container: its image, and its changes as one more layer. Volumes are not in it.
func (s *Service) Commit(ctx context.Context, o option.Commit) (id string, err error) {
	c, err := s.Get(o.Container)
	if err != nil {
		return "", err
	}
	if c.Rootfs != nil {
		err := errdef.Errorf(errdef.Unsupported, "commit: there is no image below the changes of a container with --rootfs")
		return "", errdef.WithHint(err, "bulkhead export "+c.Name+" | bulkhead import - NAME")
	}
	base, err := s.o.Images.Find(c.Image.String(), nil)
	if err != nil {
		return "", err
	}
	if c.Alive && c.State.Phase == control.Running && !o.NoPause {
		if err := s.rt.Pause(ctx, c.ID); err != nil {
			return "", err
		}
		defer func() { _ = s.rt.Resume(context.WithoutCancel(ctx), c.ID) }()
	}
	t, use, err := s.changed(ctx, c)
	if err != nil {
		return "", err
	}
	defer use.Close()
	defer t.Close()
	f, err := os.CreateTemp(s.dir(c.ID), "commit-")
	if err != nil {
		return "", errdef.Errorf(errdef.Unavailable, "commit: %w", err)
	}
	defer f.Close()
	defer os.Remove(f.Name())
	if _, err := overlay.Diff(ctx, t, f); err != nil {
		return "", err
	}
	now := time.Now().UTC()
	config := base.Config.Image
	config.Created, config.Author, config.Config = &now, o.Author, imageConfig(committed(&c.Config, o.Config))
	if err := image.Change(&config.Config, o.Changes); err != nil {
		return "", err
	}
	config.History = append(append([]v1.History{}, config.History...), v1.History{Created: &now, Author: o.Author, Comment: o.Comment, CreatedBy: "commit"})
	made, err := s.o.Images.Build(ctx, image.BuildOptions{Name: o.Ref, Base: base, Layer: f, Config: config, Action: "commit"})
	if err != nil {
		return "", err
	}
	return made.ID.String(), s.told(c, events.ActionCommit, nil)
}

// committed is a container's configuration with what a commit says of it.
func committed(of, over *api.Config) *api.Config {
	if over == nil {
		return of
	}
	out, o := *of, over
	out.Env = assemble.MergeEnv(out.Env, o.Env)
	out.Labels = maps.Clone(out.Labels)
	for k, v := range o.Labels {
		if out.Labels == nil {
			out.Labels = map[string]string{}
		}
		out.Labels[k] = v
	}
	if o.User != "" {
		out.User = o.User
	}
	if o.WorkingDir != "" {
		out.WorkingDir = o.WorkingDir
	}
	if o.StopSignal != "" {
		out.StopSignal = o.StopSignal
	}
	if len(o.Entrypoint) > 0 {
		out.Entrypoint, out.Cmd = o.Entrypoint, nil
	}
	if len(o.Cmd) > 0 {
		out.Cmd = o.Cmd
	}
	if len(o.Volumes) > 0 {
		out.Volumes = maps.Clone(o.Volumes)
	}
	if len(o.ExposedPorts) > 0 {
		out.ExposedPorts = maps.Clone(o.ExposedPorts)
	}
	return &out
}

// imageConfig is what of a container's configuration an image has.
func imageConfig(c *api.Config) v1.ImageConfig {
	out := v1.ImageConfig{
		User: c.User, Env: c.Env, Entrypoint: c.Entrypoint, Cmd: c.Cmd, Volumes: c.Volumes, WorkingDir: c.WorkingDir, Labels: c.Labels, StopSignal: c.StopSignal,
	}
	for p := range c.ExposedPorts {
		if out.ExposedPorts == nil {
			out.ExposedPorts = map[string]struct{}{}
		}
		out.ExposedPorts[p.String()] = struct{}{}
	}
	return out
}

// Export writes all files of a container as an archive, without volumes and what else is mounted into it.
func (s *Service) Export(ctx context.Context, name string, w io.Writer) error {
	c, err := s.Get(name)
	if err != nil {
		return err
	}
	use, err := s.layers(ctx, &c.Record, "export")
	if err != nil {
		return err
	}
	defer use.Close()
	path := "/proc/" + strconv.Itoa(c.State.Monitor) + "/root" + filepath.Join(s.runDir(c.ID), control.Rootfs) // where nothing else is mounted over it
	if !c.Alive {
		lock, err := s.lock(ctx, c.ID)
		if err != nil {
			return err
		}
		defer lock.Close()
		root, err := s.mount(c, use)
		if err != nil {
			return err
		}
		defer root.Close()
		path = "/proc/self/fd/" + strconv.Itoa(int(root.Fd()))
	}
	fd, err := openDir(path)
	if err != nil {
		return err
	}
	t := &overlay.Tree{Upper: fd, IDs: ids(&c.Record)}
	defer t.Close()
	_, err = overlay.Diff(ctx, t, w)
	return s.told(c, events.ActionExport, err)
}
