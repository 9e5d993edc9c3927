package main

import (
	"context"
	"io"
	"os"
	"os/exec"
	"strconv"

	"github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
)

// holdArg makes the program the process that keeps a scope alive.
const holdArg = "hold"

// A server answers the requests of one runtime.
type server struct {
	m    *manager
	hold *exec.Cmd
	pipe io.Closer
}

func (s *server) close() {
	s.release()
	if s.m != nil {
		s.m.conn.Close()
	}
}

// do carries out one request. All requests of one helper are for the same manager.
func (s *server) do(ctx context.Context, req *request) (map[string]string, error) {
	if s.m == nil {
		m, err := connect(ctx, req.manager == "user")
		if err != nil {
			return nil, err
		}
		s.m = m
	}
	ok := map[string]string{"ok": "1"}
	switch req.op {
	case "start":
		return s.start(ctx, req)
	case "release":
		err := s.set(ctx, req)
		s.release()
		return ok, err
	case "set":
		return ok, s.set(ctx, req)
	case "stop":
		return ok, s.m.stop(ctx, req.unit)
	case "attach":
		err := s.m.call(ctx, "AttachProcessesToUnit", req.unit, req.sub, []uint32{req.pid})
		if err != nil {
			return nil, errdef.Errorf(kindOf(err), "unit %s: attach process %d: %w", req.unit, req.pid, err)
		}
		return ok, nil
	}
	return nil, errdef.Errorf(errdef.Invalid, "request: unknown op %q", req.op)
}

func (s *server) set(ctx context.Context, req *request) error {
	props := s.m.known(req.props)
	if len(props) == 0 {
		return nil
	}
	const runtime = true // not to outlive a reboot
	if err := s.m.call(ctx, "SetUnitProperties", req.unit, runtime, props); err != nil {
		return errdef.Errorf(kindOf(err), "unit %s: properties: %w", req.unit, err)
	}
	return nil
}

// start starts the unit, with what every container's has: its cgroup is delegated, so that systemd keeps its hands off what is in it, all
// is counted, nothing but its slice comes with it, and when it has failed it goes as if it had ended. A scope fails when its process dies between
// the call and the moment that systemd attaches it ("No PIDs left to attach"), as when this helper is killed; by systemd's default it then stays,
// and its name cannot be used, until somebody resets it.
func (s *server) start(ctx context.Context, req *request) (map[string]string, error) {
	props := []dbusProperty{{"Description", dbus.MakeVariant("Bulkhead container " + req.unit)}, {"DefaultDependencies", dbus.MakeVariant(false)}}
	for _, name := range []string{"MemoryAccounting", "CPUAccounting", "IOAccounting", "TasksAccounting"} {
		props = append(props, dbusProperty{name, dbus.MakeVariant(true)})
	}
	if req.isSlice() {
		props = append(props, dbusProperty{"Wants", dbus.MakeVariant([]string{req.slice})})
	} else {
		pid, err := s.keep()
		if err != nil {
			return nil, err
		}
		props = append(props, dbusProperty{"Slice", dbus.MakeVariant(req.slice)}, dbusProperty{"Delegate", dbus.MakeVariant(true)},
			dbusProperty{"PIDs", dbus.MakeVariant([]uint32{uint32(pid)})})
		props = append(props, s.m.known([]property{{236, "CollectMode", dbus.MakeVariant("inactive-or-failed")}})...)
	}
	props = append(props, s.m.known(req.props)...)
	for _, text := range req.variants {
		p, err := parseVariant(text)
		if err != nil {
			return nil, err
		}
		props = append(props, dbusProperty{p.Name, p.Value})
	}
	if err := s.m.start(ctx, req.unit, props); err != nil {
		s.release()
		return nil, err
	}
	path, err := s.m.cgroup(ctx, req.unit)
	if err != nil {
		s.release()
		return nil, err
	}
	return map[string]string{"ok": "1", "cgroup": path, "version": strconv.Itoa(s.m.version)}, nil
}

// keep starts the process that a scope begins with.
func (s *server) keep() (int, error) {
	s.release()
	self, err := os.Executable()
	if err != nil {
		return 0, errdef.Errorf(errdef.Internal, "own path: %w", err)
	}
	cmd := exec.Command(self, holdArg)
	cmd.Args[0] = "bulkhead-systemd"
	pipe, err := cmd.StdinPipe()
	if err != nil {
		return 0, errdef.Errorf(errdef.Internal, "process for the scope: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return 0, errdef.Errorf(errdef.Internal, "process for the scope: %w", err)
	}
	s.hold, s.pipe = cmd, pipe
	return cmd.Process.Pid, nil
}

// release ends that process, also when it is frozen or held back by a tiny limit, and reaps it.
func (s *server) release() {
	if s.hold == nil {
		return
	}
	_ = s.pipe.Close()
	_ = s.hold.Process.Signal(unix.SIGKILL)
	_ = s.hold.Wait()
	s.hold, s.pipe = nil, nil
}
