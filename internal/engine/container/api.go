package container

import (
	"context"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/engine/option"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/image/layer/overlay"
	"github.com/bulkhead-engine/bulkhead/internal/monitor/control"
	api "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/api/types/network"
	"golang.org/x/sys/unix"
)

// API is the service as the Engine API asks for it.
type API struct{ *Service }

// Create makes a container of an image that is here. All that can be refused of a request is refused now.
func (s API) Create(ctx context.Context, o option.Create) (api.CreateResponse, error) {
	var none api.CreateResponse
	if err := checkNetworking(&o.Host, &o.Networking); err != nil {
		return none, err
	}
	img, err := s.o.Images.Find(o.Config.Image, o.Platform)
	if errdef.Is(err, errdef.NotFound) {
		return none, errdef.WithHint(errdef.Errorf(errdef.NotFound, "no such image: %s", withTag(o.Config.Image)), errdef.Hint(err))
	}
	if err != nil {
		return none, err
	}
	r, err := s.Service.Create(ctx, Request{Name: o.Name, Image: img, Ref: o.Config.Image, Config: o.Config, Host: o.Host, Secrets: o.Secrets})
	if err != nil {
		return none, err
	}
	done := api.CreateResponse{ID: r.ID, Warnings: []string{}}
	for _, w := range r.Weaker {
		done.Warnings = append(done.Warnings, "--"+w.Flag+" gives up "+w.What)
	}
	return done, nil
}

// withTag is a name as Docker's messages have it.
func withTag(ref string) string {
	if strings.Contains(ref, "@") || strings.Contains(ref[strings.LastIndex(ref, "/")+1:], ":") {
		return ref
	}
	return ref + ":latest"
}

// checkNetworking refuses what is asked of networks with names. Clients send an entry for the mode that the container has anyway.
func checkNetworking(h *api.HostConfig, n *network.NetworkingConfig) error {
	for name, e := range n.EndpointsConfig {
		if name != "default" && name != string(h.NetworkMode) {
			return errdef.Errorf(errdef.Unsupported, "network %.64q: networks with names are not there yet; none, host and container:NAME are", name)
		}
		if e == nil {
			continue
		}
		switch i := e.IPAMConfig; {
		case i != nil && (i.IPv4Address.IsValid() || i.IPv6Address.IsValid() || len(i.LinkLocalIPs) > 0):
			return errdef.Errorf(errdef.Unsupported, "ip, ip6, link-local-ip: addresses come with networks, which are not there yet")
		case len(e.Aliases) > 0:
			return errdef.Errorf(errdef.Unsupported, "network-alias: comes with networks, which are not there yet")
		case len(e.Links) > 0, len(e.DriverOpts) > 0:
			return errdef.Errorf(errdef.Unsupported, "link, driver-opt of a network: come with networks, which are not there yet")
		case len(e.MacAddress) > 0:
			return errdef.Errorf(errdef.Unsupported, "mac-address: comes with networks, which are not there yet")
		}
	}
	return nil
}

// Start lets a container run, and returns when its program does. One that runs already is an error of kind Exists. Who is attached before, and who waits, in this process,
// misses nothing.
func (s API) Start(ctx context.Context, name string) error {
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

func (s API) run(ctx context.Context, c *Container) error {
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

// Stop asks the program of a container to end, and kills it when the time is over. One that does not run is an error of kind Exists: it is so already.
func (s API) Stop(ctx context.Context, name string, o option.Stop) error {
	c, err := s.Get(name)
	if err != nil {
		return err
	}
	if !c.Alive {
		return errdef.Errorf(errdef.Exists, "container %s does not run", c.Name)
	}
	return s.halt(ctx, c, o)
}

// Restart stops a container, if it runs, and starts it.
func (s API) Restart(ctx context.Context, name string, o option.Stop) error {
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

// halt stops a container that runs.
func (s *Service) halt(ctx context.Context, c *Container, o option.Stop) error {
	if o.Signal == "" {
		o.Signal = c.Config.StopSignal
	}
	sig := unix.SIGTERM
	if o.Signal != "" {
		var err error
		if sig, err = ParseSignal(o.Signal); err != nil {
			return err
		}
	}
	patience := DefaultStopTimeout
	if c.Config.StopTimeout != nil {
		patience = time.Duration(*c.Config.StopTimeout) * time.Second
	}
	if o.Timeout != nil {
		patience = *o.Timeout
	}
	if patience >= 0 { // what was begun is brought to its end, as Docker does
		ctx = context.WithoutCancel(ctx)
	}
	return s.stop(ctx, c, sig, patience)
}

// Kill sends a signal, SIGKILL if none is named.
func (s API) Kill(ctx context.Context, name, signal string) error {
	if signal == "" {
		signal = "KILL"
	}
	sig, err := ParseSignal(signal)
	if err != nil {
		return err
	}
	return s.Service.Kill(ctx, name, sig)
}

// Pause freezes a container.
func (s API) Pause(ctx context.Context, name string) error {
	c, err := s.Get(name)
	switch {
	case err != nil:
		return err
	case !c.Alive || c.State.Phase != control.Running:
		return errdef.Errorf(errdef.Conflict, "container %s is not running", c.Name)
	case s.paused(c):
		return errdef.Errorf(errdef.Conflict, "container %s is already paused", c.Name)
	}
	return s.Service.Pause(ctx, c.ID)
}

// Unpause lets a paused container go on.
func (s API) Unpause(ctx context.Context, name string) error {
	c, err := s.Get(name)
	switch {
	case err != nil:
		return err
	case !c.Alive || !s.paused(c):
		return errdef.Errorf(errdef.Conflict, "container %s is not paused", c.Name)
	}
	return s.Service.Unpause(ctx, c.ID)
}

// Remove removes a container, its writable layer and its log.
func (s API) Remove(ctx context.Context, name string, o option.Remove) error {
	return s.Service.Remove(context.WithoutCancel(ctx), name, RemoveOptions{Force: o.Force, Volumes: o.Volumes})
}

// Resize tells the terminal of a container its size.
func (s API) Resize(ctx context.Context, name string, height, width uint16) error {
	c, err := s.Get(name)
	if err != nil {
		return err
	}
	if !c.Alive {
		return errdef.Errorf(errdef.Conflict, "container %s is not running", c.Name)
	}
	return s.Service.Resize(ctx, c.ID, height, width)
}

// Changes lists what a container has changed of its image's files.
func (s API) Changes(ctx context.Context, name string) ([]api.FilesystemChange, error) {
	list, err := s.Diff(ctx, name)
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

// Commit makes an image of a container.
func (s API) Commit(ctx context.Context, o option.Commit) (string, error) {
	img, err := s.Service.Commit(ctx, o.Container, CommitOptions{Name: o.Ref, Author: o.Author, Message: o.Comment, Changes: o.Changes, NoPause: o.NoPause, Config: o.Config})
	if err != nil {
		return "", err
	}
	return img.ID.String(), nil
}

// paused asks the kernel.
func (s *Service) paused(c *Container) bool {
	if !c.Alive || c.State.Phase != control.Running {
		return false
	}
	st, err := s.rt.State(c.ID)
	return err == nil && st.Status == "paused"
}

// exists reports whether there is such a container.
func (s *Service) exists(id string) bool {
	_, err := os.Lstat(s.dir(id))
	return err == nil
}
