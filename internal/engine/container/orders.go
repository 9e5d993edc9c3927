package container

import (
	"context"
	"maps"
	"path/filepath"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/engine/assemble"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/event"
	"github.com/bulkhead-engine/bulkhead/internal/monitor/control"
	"github.com/moby/moby/api/types/events"
	"golang.org/x/sys/unix"
)

// check refuses what the monitor could not do.
func check(r *Record) error {
	if err := checkRestart(&r.Host); err != nil {
		return err
	}
	if _, err := healthCheck(&r.Config, &r.Host); err != nil {
		return err
	}
	if _, err := ParseSignal(r.Config.StopSignal); err != nil && r.Config.StopSignal != "" {
		return errdef.Errorf(errdef.Invalid, "stop-signal: %w", err)
	}
	_, err := logOf(r)
	return err
}

// orders are what the monitor is to do.
func (s *Service) orders(ctx context.Context, c *Container, result *assemble.Result) (control.Orders, error) {
	o := control.Orders{
		Owner: [2]uint32{outside(result.Spec.Linux.UIDMappings, result.UID), outside(result.Spec.Linux.GIDMappings, result.GID)},
		ID:    c.ID, Dir: s.dir(c.ID), Run: s.runDir(c.ID), RuntimeRoot: s.rt.Root, Rootless: s.rt.Rootless, SeccompCache: s.rt.SeccompCache,
		Devices: deviceNodes(result),
		TTY:     c.Config.Tty, OpenStdin: c.Config.OpenStdin, StdinOnce: c.Config.StdinOnce,
		Height: uint16(c.Host.ConsoleSize[0]), Width: uint16(c.Host.ConsoleSize[1]),
		Label: c.pipeLabel(), DeviceLabel: c.mountLabel(), Restart: restartOf(c.Host.RestartPolicy), Events: s.eventDir(), Attributes: attributes(&c.Record),
	}
	if c.Host.AutoRemove {
		o.AutoRemove = []string{s.claimPath("names", c.Name)} // the claims first: later they may be somebody else's
		for _, name := range c.claims() {
			o.AutoRemove = append(o.AutoRemove, s.claimPath("ranges", name))
		}
		for _, name := range anonymous(c.Points) {
			o.AutoRemove = append(o.AutoRemove, filepath.Join(volumesDir(s.o.Root), name))
		}
		o.AutoRemove = append(o.AutoRemove, s.secretsOf(c.ID), s.dir(c.ID), s.runDir(c.ID)) // what says whose the rest is comes after it
		o.Project = c.project(s.o.Root)
	}
	if l := c.SELinux; l != nil && c.Host.AutoRemove && l.Level != "" {
		o.Categories = control.Categories{Dir: s.labels(), Level: l.Level}
	}
	var err error
	if o.Health, err = healthCheck(&c.Config, &c.Host); err != nil {
		return o, err
	}
	if o.Log, err = logOf(&c.Record); err != nil {
		return o, err
	}
	o.Log.Path = s.LogPath(c.ID)
	if o.Network, err = s.netOrders(ctx, c); err != nil {
		return o, err
	}
	return o, nil
}

func (s *Service) claimPath(kind, name string) string { return filepath.Join(s.o.Root, kind, name) }

func (s *Service) eventDir() string { return filepath.Join(s.o.Run, "events") }

// attributes are what events say of a container.
func attributes(r *Record) map[string]string {
	a := map[string]string{}
	maps.Copy(a, r.Config.Labels)
	a["image"], a["name"] = r.Ref, r.Name
	return a
}

// event records that something has happened to a container: more are names and values. That it cannot be recorded is a warning.
func (s *Service) event(r *Record, action events.Action, more ...string) {
	a := attributes(r)
	for i := 0; i+1 < len(more); i += 2 {
		a[more[i]] = more[i+1]
	}
	if err := event.Open(s.eventDir()).Append(event.New(events.ContainerEventType, action, r.ID, a)); err != nil && s.o.Warn != nil {
		s.o.Warn(err)
	}
}

// told records what was done, if it was.
func (s *Service) told(c *Container, action events.Action, err error) error {
	if err == nil {
		s.event(&c.Record, action)
	}
	return err
}

// deviceNodes are those that the monitor makes.
func deviceNodes(result *assemble.Result) []control.Device {
	var out []control.Device
	for _, n := range result.Nodes {
		d := control.Device{Mode: unix.S_IFCHR | 0o600, Major: uint32(n.Major), Minor: uint32(n.Minor)}
		if n.FileMode != nil {
			d.Mode = unix.S_IFCHR | uint32(n.FileMode.Perm())
		}
		if n.Type == "b" {
			d.Mode = d.Mode&^unix.S_IFMT | unix.S_IFBLK
		}
		var uid, gid uint32 // of an id that no map has: root's
		if n.UID != nil && n.GID != nil {
			uid, gid = *n.UID, *n.GID
		}
		d.UID, d.GID = outside(result.Spec.Linux.UIDMappings, uid), outside(result.Spec.Linux.GIDMappings, gid)
		out = append(out, d)
	}
	return out
}

// execAction is what Docker calls an event of a program in a container: with its command line.
func execAction(action events.Action, e *execRecord) events.Action {
	return action + ": " + events.Action(strings.Join(e.Request.Cmd, " "))
}
