package launch

import (
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/ocijson"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// sendListener hands the seccomp listener to the agent: it connects to linux.seccomp.listenerPath and sends a ContainerProcessState with
// the descriptor beside it (runtime-spec config-linux.md, seccomp listener).
func (r *run) sendListener(fd int) error {
	return sendListener(fd, r.o.Spec, r.o.ID, r.p.PID, r.o.State)
}

func sendListener(fd int, spec *specs.Spec, id string, pid int, state func(string, int) []byte) error {
	sc := spec.Linux.Seccomp
	if sc.ListenerPath == "" {
		return errdef.WithHint(errdef.Errorf(errdef.Invalid, "linux.seccomp.listenerPath: missing, but a rule has the action SCMP_ACT_NOTIFY"),
			"name the unix socket of the agent that answers")
	}
	msg := specs.ContainerProcessState{
		Version: specs.Version, Fds: []string{specs.SeccompFdName}, Pid: pid, Metadata: sc.ListenerMetadata,
	}
	if err := ocijson.UnmarshalState(state("creating", pid), &msg.State); err != nil {
		return err
	}
	return sendToSocket(sc.ListenerPath, ocijson.AppendContainerProcessState(nil, &msg), fd)
}

// sendToSocket connects to a unix stream socket and sends one message with a descriptor.
func sendToSocket(path string, data []byte, fd int) error {
	s, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return wrap("socket for the seccomp agent", err)
	}
	defer unix.Close(s)
	const patience = 10 // seconds that an agent may take to read
	_ = unix.SetsockoptTimeval(s, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &unix.Timeval{Sec: patience})
	if err := unix.Connect(s, &unix.SockaddrUnix{Name: path}); err != nil {
		return errdef.WithHint(errdef.Errorf(errdef.Unavailable, "linux.seccomp.listenerPath: connect to %q: %w", path, err), "start the agent before the container")
	}
	rights := unix.UnixRights(fd)
	for len(data) > 0 {
		n, err := unix.SendmsgN(s, data, rights, nil, unix.MSG_NOSIGNAL)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return errdef.Errorf(errdef.Unavailable, "linux.seccomp.listenerPath: send to %q: %w", path, err)
		}
		data, rights = data[n:], nil
	}
	return nil
}
