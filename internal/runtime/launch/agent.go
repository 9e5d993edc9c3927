package launch

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/ocijson"
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/forkexec"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// A listener is a seccomp listener on its way from the child to the agent.
type listener struct {
	spec  *specs.Spec
	id    string
	pid   int
	pidfd int
	state func(status string, pid int) []byte
	flag  int
}

func (r *run) listener(number int) error {
	l := &listener{spec: r.o.Spec, id: r.o.ID, pid: r.p.PID, pidfd: r.p.PIDFD, state: r.o.State, flag: r.files.flag}
	return l.serve(number, r.p)
}

// serve fetches the listener, hands it to the agent and lets the child go on.
func (l *listener) serve(number int, p *forkexec.Process) error {
	if l.spec.Linux.Seccomp.ListenerPath == "" {
		return errdef.WithHint(errdef.Errorf(errdef.Invalid, "linux.seccomp.listenerPath: missing, but a rule has the action SCMP_ACT_NOTIFY"),
			"name the unix socket of the agent that answers")
	}
	fd, err := l.fetch(number)
	if errors.Is(err, errEnded) {
		if _, said := p.Next(); said != nil {
			err = said
		}
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := l.send(fd); err != nil {
		return err
	}
	one := make([]byte, 8)
	one[0] = 1
	_, err = unix.Pwrite(l.flag, one, 0)
	return wrap("set the flag for the child", err)
}

// patience is how long a child may take to load its filter after it has said so.
const patience = 10 * time.Second

// fetch waits until the child's descriptor is a listener and copies it: pidfd_getfd(2), kernel 5.6.
func (l *listener) fetch(number int) (int, error) {
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(50 * time.Microsecond) {
		fd, err := unix.PidfdGetfd(l.pidfd, number, 0)
		switch {
		case err == nil && isListener(fd):
			return fd, nil
		case err == nil:
			unix.Close(fd)
		case err != unix.EBADF:
			return -1, errdef.WithHint(errdef.Errorf(errdef.Denied, "fetch the seccomp listener: %w", err), "the runtime must be allowed to trace its own children (kernel.yama.ptrace_scope below 3)")
		}
		if n, _ := unix.Poll([]unix.PollFd{{Fd: int32(l.pidfd), Events: unix.POLLIN}}, 0); n > 0 {
			return -1, errEnded
		}
	}
	return -1, errdef.WithHint(errdef.Errorf(errdef.Unsupported, "the seccomp filter with notifications was not loaded"), "the kernel may lack an action or flag of the profile")
}

// errEnded says that the child has ended instead; its own message says why.
var errEnded = errors.New("the process ended before its seccomp listener was there")

// isListener looks at the name that the kernel gives the file: anon_inode:seccomp notify.
func isListener(fd int) bool {
	link, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(fd))
	return err == nil && strings.Contains(link, "seccomp")
}

// send connects to linux.seccomp.listenerPath and sends a ContainerProcessState with the descriptor beside it (runtime-spec
// config-linux.md, seccomp listener).
func (l *listener) send(fd int) error {
	sc := l.spec.Linux.Seccomp
	msg := specs.ContainerProcessState{
		Version: specs.Version, Fds: []string{specs.SeccompFdName}, Pid: l.pid, Metadata: sc.ListenerMetadata,
	}
	if err := ocijson.UnmarshalState(l.state("creating", l.pid), &msg.State); err != nil {
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
	_ = unix.SetsockoptTimeval(s, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &unix.Timeval{Sec: int64(patience / time.Second)})
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
