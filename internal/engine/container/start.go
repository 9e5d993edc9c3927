package container

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/atomicfile"
	"github.com/bulkhead-engine/bulkhead/internal/engine/assemble"
	"github.com/bulkhead-engine/bulkhead/internal/engine/option"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/image/snapshot"
	"github.com/bulkhead-engine/bulkhead/internal/linux/idmap"
	"github.com/bulkhead-engine/bulkhead/internal/monitor/control"
	"github.com/bulkhead-engine/bulkhead/internal/ocijson"
	"github.com/moby/moby/api/types/events"
	"golang.org/x/sys/unix"
)

const (
	startTime = time.Minute      // for a monitor to say that the program runs: a hook may take its time
	endTime   = 30 * time.Second // for what is left of a container
)

// Start lets a container run, and returns when its program does. One that runs already is an error of kind Exists. Who is attached before, and who waits, in this process,
// misses nothing.
func (s *Service) Start(ctx context.Context, name string) error {
	c, err := s.Get(name)
	if err != nil {
		return err
	}
	if c.Alive {
		if s.paused(c) {
			return errdef.Errorf(errdef.Conflict, "cannot start a paused container, try unpause instead")
		}
		return errdef.Errorf(errdef.Exists, "container %s is running already", c.Name)
	}
	return s.run(context.WithoutCancel(ctx), c) // a client that goes away has asked for it all the same; the start has a time of its own
}

// run starts a container for who has asked for it, and removes it if it cannot start and removes itself.
func (s *Service) run(ctx context.Context, c *Container) error {
	sockets := s.coming.take(c.ID)
	err := s.start(ctx, c.ID, sockets)
	for _, f := range sockets {
		_ = f.Close()
	}
	if err != nil && c.Host.AutoRemove {
		if e := s.Remove(ctx, c.ID, option.Remove{Force: true}); e != nil && s.o.Warn != nil {
			s.o.Warn(e)
		}
	}
	return err
}

// Restart stops a container, if it runs, and starts it.
func (s *Service) Restart(ctx context.Context, name string, o option.Stop) error {
	c, err := s.Get(name)
	if err != nil {
		return err
	}
	if c.Alive {
		if c.Host.AutoRemove {
			if err := s.keep(ctx, c); err != nil {
				return err
			}
		}
		if err := s.halt(ctx, c, o); err != nil {
			return err
		}
	}
	return s.told(c, events.ActionRestart, s.run(context.WithoutCancel(ctx), c))
}

// keep tells a monitor not to remove the container when it ends.
func (s *Service) keep(ctx context.Context, c *Container) error {
	conn, err := control.Dial(ctx, s.runDir(c.ID), control.Request{Op: "keep"})
	if err != nil {
		return err
	}
	return conn.Close()
}

// start hands clients, each one end of a socket pair with a request in it, to the monitor. They stay the caller's.
func (s *Service) start(ctx context.Context, id string, clients []*os.File) error {
	if err := s.writable(); err != nil {
		return err
	}
	lock, err := s.lock(ctx, id)
	if err != nil {
		return err
	}
	defer lock.Close()
	c, err := s.get(id)
	if err != nil || c.Alive {
		return err
	}
	if !s.settled(id) {
		return errdef.Errorf(errdef.Conflict, "start container %s: its last monitor does not end", c.Name)
	}
	if err := s.emptyRun(ctx, id); err != nil {
		return err
	}
	var b *birth
	if !hasVolumes(&c.Record) { // else it is born when they are mounted: its mount namespace is a copy of ours, which later mounts need not reach
		b = s.bear(id)
	}
	defer func() { b.abort() }()
	if err := s.oldLabels(ctx, &c.Record); err != nil {
		return err
	}
	use, err := s.layers(ctx, &c.Record, "start")
	if err != nil {
		return err
	}
	defer use.Close()
	if err := s.labelLayers(ctx, use.Layers()); err != nil {
		return err
	}
	root, err := s.mount(c, use)
	if err != nil {
		return err
	}
	defer root.Close()
	if err := s.readyVolumes(ctx, &c.Record, use); err != nil {
		return err
	}
	if b == nil {
		b = s.bear(id)
	}
	if err := s.bundle(ctx, c, root, len(clients)); err != nil {
		return err
	}
	more, err := s.prepared(ctx, c)
	if err != nil {
		return err
	}
	defer more.close()
	files := slices.Concat([]*os.File{root, use.File(), lock}, clients, more.mounts, more.held)
	return s.teach(ctx, c, s.monitor(ctx, c, b, files))
}

// emptyRun makes the run directory of a container anew, when nothing of its last run is left.
func (s *Service) emptyRun(ctx context.Context, id string) error {
	if err := s.healRemains(ctx, id); err != nil {
		return err
	}
	run := s.runDir(id)
	if err := os.RemoveAll(run); err != nil {
		return errdef.Errorf(errdef.Unavailable, "start: %w", err)
	}
	if err := os.MkdirAll(filepath.Join(run, control.Rootfs), 0o711); err != nil {
		return errdef.Errorf(errdef.Unavailable, "start: %w", err)
	}
	return nil
}

// lock serialises those who start or remove a container. The lock lasts until the last descriptor of this open file is closed, a monitor's included.
func (s *Service) lock(ctx context.Context, id string) (*os.File, error) {
	fd, err := unix.Open(s.dir(id), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err == unix.ENOENT {
		return nil, errdef.Errorf(errdef.NotFound, "no such container: %s", id)
	}
	if err != nil {
		return nil, errdef.Errorf(errdef.Unavailable, "container %s: %w", id, err)
	}
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	if err := atomicfile.Flock(ctx, fd, atomicfile.Exclusive); err != nil {
		_ = unix.Close(fd)
		return nil, errdef.Errorf(errdef.KindOf(err), "container %s: another command works on it: %w", id, err)
	}
	if _, err := os.Lstat(s.dir(id)); err != nil { // it was removed while we waited
		_ = unix.Close(fd)
		return nil, errdef.Errorf(errdef.NotFound, "no such container: %s", id)
	}
	return os.NewFile(uintptr(fd), "lock"), nil
}

// mount puts the writable layer over the image's, shown with the container's ids.
func (s *Service) mount(c *Container, use *snapshot.Use) (*os.File, error) {
	if c.Rootfs != nil {
		return s.rootfsMount(&c.Record, true)
	}
	o := &snapshot.MountOptions{
		Use: use, Upper: filepath.Join(s.dir(c.ID), "fs", "upper"), Work: filepath.Join(s.dir(c.ID), "fs", "work"), Volatile: c.Host.AutoRemove,
		Label: c.mountLabel(),
	}
	if o.Volatile { // started again: overlayfs asks for a word that nothing was lost, and no machine has gone down since, for the container is there
		if err := os.RemoveAll(filepath.Join(o.Work, "work", "incompat", "volatile")); err != nil { // the kernel's, out of the container's reach
			return nil, errdef.Errorf(errdef.Unavailable, "start: the writable layer: %w", err)
		}
	}
	h := host(&c.Record)
	if !userNSOff(&c.Record) {
		o.IDs = idmap.FromSpec(h.UIDs, h.GIDs)
	}
	fd, err := snapshot.Mount(o)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), "root"), nil
}

// bundle writes the files that the container gets, its configuration, and the monitor's orders.
func (s *Service) bundle(ctx context.Context, c *Container, root *os.File, clients int) error {
	run := s.runDir(c.ID)
	if err := s.writeFiles(c); err != nil {
		return err
	}
	if err := s.labelFiles(&c.Record); err != nil {
		return err
	}
	result, err := s.assemble(ctx, &c.Record, filepath.Join(run, control.Rootfs), root)
	if err != nil {
		return err
	}
	if err := s.addSecrets(&c.Record, result.Spec); err != nil {
		return err
	}
	if err := prepare(result); err != nil {
		return err
	}
	if err := s.chown(ctx, result); err != nil {
		return err
	}
	if err := s.relabel(ctx, &c.Record, result.Relabel); err != nil {
		return err
	}
	data := ocijson.AppendSpec(nil, result.Spec)
	if err := atomicfile.Write(filepath.Join(run, "config.json"), data, atomicfile.Options{Volatile: true}); err != nil {
		return err
	}
	orders, err := s.orders(ctx, c, result)
	if err != nil {
		return err
	}
	orders.Clients = clients
	orders.Mounts, orders.Held = countPrepared(c.Points)
	if data, err = json.Marshal(orders); err == nil {
		err = atomicfile.Write(filepath.Join(run, control.OrdersFile), data, atomicfile.Options{Volatile: true})
	}
	return err
}

// prepare does to sources what the flags say.
func prepare(r *assemble.Result) error {
	for _, dir := range r.Make {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return errdef.Errorf(errdef.Unavailable, "volume: make the source: %w", err)
		}
	}
	return nil
}

// writeFiles writes /etc/hostname, /etc/hosts and /etc/resolv.conf. They belong to the container's root: a container may change its own.
func (s *Service) writeFiles(c *Container) error {
	if err := s.lookSecrets(&c.Record); err != nil {
		return err
	}
	if err := s.writeInit(&c.Record); err != nil {
		return err
	}
	name := hostname(&c.Record)
	if c.Host.UTSMode == "host" {
		if h, err := os.Hostname(); err == nil {
			name = h
		}
	}
	hosts, resolv, err := s.namesFiles(c, name)
	if err != nil {
		return err
	}
	for file, text := range map[string]string{"hostname": name + "\n", "hosts": hosts, "resolv.conf": resolv} {
		path := filepath.Join(s.dir(c.ID), file)
		if err := atomicfile.Write(path, []byte(text), atomicfile.Options{Volatile: true, Mode: 0o644}); err != nil {
			return err
		}
	}
	return nil
}

// monitor gives the parent of the container what it works with, and waits for its word.
func (s *Service) monitor(ctx context.Context, c *Container, b *birth, files []*os.File) error {
	if err := b.hand(files); err != nil {
		return err
	}
	r := b.conn
	_ = r.SetReadDeadline(time.Now().Add(startTime))
	stop := context.AfterFunc(ctx, func() { _ = r.SetReadDeadline(time.Now()) })
	defer stop()
	data, err := io.ReadAll(io.LimitReader(r, control.MaxLine))
	if err != nil || len(data) == 0 {
		b.abort()
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTime)
		defer cancel()
		if err == nil {
			err = errors.New("it ended without a word")
		}
		return errors.Join(errdef.Errorf(errdef.Internal, "start: the monitor: %w", err), s.rt.Delete(end, c.ID, true), s.healRemains(end, c.ID))
	}
	b.cmd = nil // it lives on without us
	var ready control.Ready
	if err := json.Unmarshal(data, &ready); err != nil {
		return errdef.Errorf(errdef.Internal, "start: the monitor: %w", err)
	}
	if ready.Error != "" {
		return option.NotStarted(errdef.WithHint(errdef.Errorf(ready.Kind, "%s", ready.Error), ready.Hint))
	}
	return nil
}

// program finds bulkhead-monitor.
func (s *Service) program() (string, error) {
	if s.o.Monitor != "" {
		return s.o.Monitor, nil
	}
	self, err := os.Executable()
	if err != nil {
		return "", errdef.Errorf(errdef.Internal, "find this program: %w", err)
	}
	dir := filepath.Dir(self)
	places := []string{filepath.Join(dir, "bulkhead-monitor"), filepath.Join(dir, "..", "libexec", "bulkhead", "bulkhead-monitor")}
	at := slices.IndexFunc(places, func(p string) bool { return unix.Access(p, unix.X_OK) == nil })
	if at < 0 {
		err := errdef.Errorf(errdef.NotFound, "start: there is no bulkhead-monitor beside %s", self)
		return "", errdef.WithHint(err, "install all of Bulkhead's programs: make install")
	}
	return places[at], nil
}
