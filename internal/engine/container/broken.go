package container

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/atomicfile"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/linux/pidfd"
	"github.com/bulkhead-engine/bulkhead/internal/monitor/control"
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/cgroup"
	"golang.org/x/sys/unix"
)

// dead is the phase of a container whose record cannot be read, as Docker calls it: it is listed and can be removed, and is in nobody's way.
const dead control.Phase = "dead"

// broken is a container whose record cannot be read. Its name is in the claim.
func (s *Service) broken(id string, err error) *Container {
	if s.o.Warn != nil {
		s.o.Warn(errdef.WithHint(err, "bulkhead rm -f "+id[:12]))
	}
	c := &Container{Record: Record{ID: id, Name: id[:12]}, State: control.State{Phase: dead, Error: err.Error()}}
	entries, _ := os.ReadDir(filepath.Join(s.o.Root, "names"))
	for _, e := range entries {
		if data, err := atomicfile.Read(s.claimPath("names", e.Name())); err == nil && strings.HasPrefix(string(data), id) {
			c.Name = e.Name()
		}
	}
	return c
}

// removeBroken removes a container whose record cannot be read: what it would say is found by its id.
func (s *Service) removeBroken(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, endTime)
	defer cancel()
	if err := s.end(ctx, id); err != nil { // its monitor sees the end, and ends
		return err
	}
	lock, err := s.lock(ctx, id)
	if err != nil {
		return err
	}
	defer lock.Close()
	if !s.settled(id) {
		return errdef.Errorf(errdef.Conflict, "remove container %s: its monitor does not end", id[:12])
	}
	if err := s.end(ctx, id); err != nil {
		return err
	}
	if err := s.erase(ctx, &Record{ID: id, Name: id[:12]}, false); err != nil {
		return err
	}
	return s.Sweep() // its claims
}

// unreadable is the state of a container whose file of it cannot be read. If it runs, the kernel says of what.
func (s *Service) unreadable(c *Container, err error) {
	if s.o.Warn != nil {
		s.o.Warn(err)
	}
	c.State = control.State{Phase: control.Exited, ExitCode: 255, Error: err.Error()}
	if st, serr := s.rt.State(c.ID); c.Alive && serr == nil && st.PID > 0 {
		c.State.Phase, c.State.PID, c.State.ExitCode = control.Running, st.PID, 0
	}
}

// killChild ends the first process of a container that the runtime knows nothing of any more: the one that its monitor has named, if it is the monitor's child.
func (s *Service) killChild(id string) {
	c, err := s.get(id)
	if err != nil || !c.Alive || c.State.PID <= 0 || c.State.Monitor <= 0 {
		return
	}
	p, err := pidfd.Open(c.State.PID)
	if err != nil {
		return
	}
	defer p.Close()
	status, err := os.ReadFile("/proc/" + strconv.Itoa(c.State.PID) + "/status")
	if err == nil && strings.Contains(string(status), "\nPPid:\t"+strconv.Itoa(c.State.Monitor)+"\n") {
		_ = p.Signal(unix.SIGKILL)
	}
}

// end ends what the runtime has of a container. If its record of it cannot be read, that is found where it is for all containers of this engine: below the default parent.
func (s *Service) end(ctx context.Context, id string) error {
	err := s.rt.Delete(ctx, id, true)
	if err != nil && !errdef.Is(err, errdef.Internal) {
		return err
	}
	layout, lerr := cgroup.Detect()
	if lerr != nil {
		return lerr
	}
	group, lerr := layout.Open(cgroupOf(id), id, cgroup.Options{})
	if lerr == nil && group.Exists() { // the runtime did not know of it
		if lerr = group.Delete(ctx); lerr != nil {
			return lerr
		}
	}
	if err == nil {
		return nil
	}
	if err := os.RemoveAll(filepath.Join(s.rt.Root, id)); err != nil {
		return errdef.Errorf(errdef.Unavailable, "remove container: %w", err)
	}
	return nil
}
