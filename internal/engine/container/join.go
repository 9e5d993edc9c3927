package container

import (
	"context"
	"strconv"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/monitor/control"
	"github.com/bulkhead-engine/bulkhead/internal/runtime"
	"github.com/moby/moby/api/types/events"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// Attach connects to the streams of a running container: control.Conn says what goes over the connection.
func (s *Service) Attach(ctx context.Context, name string, stdin bool) (*control.Conn, error) {
	c, err := s.Get(name)
	if err != nil {
		return nil, err
	}
	if !c.Alive {
		return nil, errdef.Errorf(errdef.Conflict, "you cannot attach to a stopped container, start it first: %s", c.Name)
	}
	return control.Dial(ctx, s.runDir(c.ID), control.Request{Op: "attach", Stdin: stdin})
}

// Resize tells the terminal of a container its size.
func (s *Service) Resize(ctx context.Context, name string, height, width uint16) error {
	c, err := s.Get(name)
	if err != nil {
		return err
	}
	conn, err := control.Dial(ctx, s.runDir(c.ID), control.Request{Op: "resize", Height: height, Width: width})
	if err != nil {
		return err
	}
	return conn.Close()
}

// ExecOptions say what to run in a container.
type ExecOptions struct {
	Args       []string
	Env        []string
	Dir        string
	User       string // numbers, or "" for the container's own
	TTY        bool
	Detach     bool
	Privileged bool
}

// Exec runs one more process in a running container, with this process's standard streams, and returns its exit code.
func (s *Service) Exec(ctx context.Context, name string, o ExecOptions) (int, error) {
	c, err := s.Get(name)
	if err != nil {
		return -1, err
	}
	if !c.Alive || c.State.Phase != control.Running {
		return -1, errdef.Errorf(errdef.Conflict, "container %s is not running", c.Name)
	}
	if o.Privileged {
		return -1, errdef.Errorf(errdef.Unsupported, "exec: --privileged would give a process more than its container has")
	}
	return s.rt.Exec(ctx, c.ID, &runtime.ExecOptions{Detach: o.Detach, Process: func(p *specs.Process) (*specs.Process, error) {
		p.Args, p.Terminal = o.Args, o.TTY
		p.Env = append(p.Env, o.Env...)
		if o.Dir != "" {
			p.Cwd = o.Dir
		}
		return p, asUser(p, o.User)
	}})
}

// asUser makes the process that of UID[:GID]. Who is not root has no capabilities in effect, as execve(2) has it.
func asUser(p *specs.Process, text string) error {
	if text == "" {
		return nil
	}
	first, second, both := strings.Cut(text, ":")
	uid, err := strconv.ParseUint(first, 10, 32)
	gid := uint64(0)
	if err == nil && both {
		gid, err = strconv.ParseUint(second, 10, 32)
	}
	if err != nil {
		return errdef.Errorf(errdef.Invalid, "exec: user %.64q: wants UID[:GID]", text)
	}
	p.User = specs.User{UID: uint32(uid), GID: uint32(gid)}
	if c := p.Capabilities; c != nil && uid != 0 {
		p.Capabilities = &specs.LinuxCapabilities{Bounding: c.Bounding, Inheritable: []string{}, Ambient: []string{}, Effective: []string{}, Permitted: []string{}}
	}
	return nil
}

// Pause freezes a container, and Unpause lets it go on.
func (s *Service) Pause(ctx context.Context, name string) error {
	c, err := s.Get(name)
	if err != nil {
		return err
	}
	return s.told(c, events.ActionPause, s.rt.Pause(ctx, c.ID))
}

// Unpause lets a paused container go on.
func (s *Service) Unpause(ctx context.Context, name string) error {
	c, err := s.Get(name)
	if err != nil {
		return err
	}
	return s.told(c, events.ActionUnPause, s.rt.Resume(ctx, c.ID))
}

// PIDs returns the processes of a container, as the host numbers them.
func (s *Service) PIDs(name string) ([]int, error) {
	c, err := s.Get(name)
	if err != nil {
		return nil, err
	}
	return s.rt.PIDs(c.ID)
}
