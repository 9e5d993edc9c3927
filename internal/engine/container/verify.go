package container

import (
	"context"
	"path/filepath"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/monitor/control"
	"github.com/bulkhead-engine/bulkhead/internal/verify"
	"github.com/opencontainers/runtime-spec/specs-go"
)

const (
	// A process on its way into the container (exec, a health check) is not confined yet for some milliseconds. What is wrong is looked at again, and counts if
	// it stays so.
	verifyTries = 3
	verifyPause = 100 * time.Millisecond
)

// Verify compares a running container with what it was started with, as the kernel has it now.
func (s *Service) Verify(ctx context.Context, name string) (*verify.Report, error) {
	return s.verify(ctx, name, false)
}

// VerifyStopped is Verify that reads seccomp filters, too. For that each process is stopped for some microseconds, as by SIGSTOP and SIGCONT: of a call that waits, as
// epoll_wait(2), the program may see EINTR (signal(7)).
func (s *Service) VerifyStopped(ctx context.Context, name string) (*verify.Report, error) {
	return s.verify(ctx, name, true)
}

func (s *Service) verify(ctx context.Context, name string, stop bool) (*verify.Report, error) {
	c, err := s.Get(name)
	if err != nil {
		return nil, err
	}
	if !c.Alive || c.State.Phase != control.Running {
		return nil, errdef.WithHint(errdef.Errorf(errdef.Conflict, "verify: container %s is not running", c.Name), "there is nothing to look at: bulkhead explain says what it will be")
	}
	d, err := s.declared(ctx, c)
	if err != nil {
		return nil, err
	}
	d.Stop = stop
	for try := 1; ; try++ {
		f, err := verify.Read(ctx, d)
		if err != nil {
			return nil, err
		}
		r := verify.Compare(d, f)
		if len(r.Differences()) == 0 || try == verifyTries {
			return r, nil
		}
		select {
		case <-ctx.Done():
			return nil, errdef.Errorf(errdef.Timeout, "verify container %s: %w", c.Name, context.Cause(ctx))
		case <-time.After(verifyPause):
		}
	}
}

// declared is what a container was started with, and whom it is compared with.
func (s *Service) declared(ctx context.Context, c *Container) (*verify.Declared, error) {
	st, err := s.rt.Started(c.ID)
	if err != nil {
		return nil, err
	}
	if st.Spec, err = s.limitsNow(ctx, c, st.Spec); err != nil {
		return nil, err
	}
	d := &verify.Declared{
		ID: c.ID, Name: c.Name, Spec: st.Spec, Bundle: st.Bundle, PID: st.PID, StartTime: st.StartTime, Cgroup: st.Cgroup, AppArmor: st.AppArmor,
		Upper: filepath.Join(s.dir(c.ID), "fs", "upper"), Alone: netMode(&c.Record) == modeNone, Parent: c.State.Monitor, Rootless: st.Rootless, NewRules: st.NewDevices,
	}
	if c.Rootfs != nil && !c.Rootfs.Overlay {
		d.Upper = ""
	}
	all, err := s.containers(ctx, true)
	if err != nil {
		return nil, err
	}
	for _, o := range all {
		if o.ID == c.ID || !o.Alive || o.State.Phase != control.Running {
			continue
		}
		ost, err := s.rt.Started(o.ID)
		if err != nil {
			continue // it has ended meanwhile
		}
		other := verify.Other{Name: o.Name, PID: ost.PID, Cgroup: ost.Cgroup}
		if ost.Spec.Linux != nil {
			for _, n := range ost.Spec.Linux.Namespaces {
				if n.Path != "" {
					other.Joins = append(other.Joins, specs.LinuxNamespace{Type: n.Type, Path: n.Path})
				}
			}
		}
		d.Others = append(d.Others, other)
	}
	return d, nil
}

// limitsNow is a configuration with the limits that the container has been given since, which its record has. Rules for devices stay: no update of the engine's changes them.
func (s *Service) limitsNow(ctx context.Context, c *Container, spec *specs.Spec) (*specs.Spec, error) {
	if spec.Linux == nil || spec.Linux.Resources == nil {
		return spec, nil
	}
	now, err := s.assemble(ctx, &c.Record, "/", nil)
	if err != nil || now.Spec.Linux.Resources == nil {
		return spec, err
	}
	out, linux, resources := *spec, *spec.Linux, *now.Spec.Linux.Resources
	resources.Devices = spec.Linux.Resources.Devices
	linux.Resources, out.Linux = &resources, &linux
	return &out, nil
}
