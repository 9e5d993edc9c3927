package runtime

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/runtime/state"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Where a container finds its socket, and where it lies in the state directory.
const (
	notifyDirInside = "/run/notify"
	notifyDir       = "notify"
	notifyName      = "notify.sock"
)

// How often a container that says nothing is looked at, and how long the service manager may take to acknowledge.
const (
	notifyPoll    = 100 * time.Millisecond
	notifyBarrier = 30 * time.Second
	notifyMax     = 4096 // bytes of one message
)

// A notify passes a container's readiness on to the service manager: sd_notify(3). The container gets a socket of its own, below
// /run/notify, never the manager's: of what comes in, READY=1 alone goes out, and MAINPID is ours to say. A nil notify does nothing.
type notify struct {
	fd   int
	host string
}

// prepareNotify makes the directory for the socket and has it mounted into the container. With bind the socket is there at once, else Start
// binds it.
func prepareNotify(dir *state.Dir, host string, bind bool, spec *specs.Spec) (*notify, error) {
	if host == "" {
		return nil, nil
	}
	path := filepath.Join(dir.Path, notifyDir)
	if err := os.Mkdir(path, 0o755); err != nil {
		return nil, errdef.Errorf(errdef.Internal, "make directory for the notification socket: %w", err)
	}
	spec.Mounts = append(append([]specs.Mount(nil), spec.Mounts...), specs.Mount{
		Destination: notifyDirInside, Type: "bind", Source: path, Options: []string{"bind", "nosuid", "noexec", "nodev", "ro"},
	})
	spec.Process.Env = completeEnv(append(spec.Process.Env, "NOTIFY_SOCKET="+notifyDirInside+"/"+notifyName), func() string { return "/" })
	if !bind {
		return nil, nil
	}
	return bindNotify(dir, host)
}

// bindNotify binds the container's socket, if its create prepared one.
func bindNotify(dir *state.Dir, host string) (*notify, error) {
	if host == "" {
		return nil, nil
	}
	parent, err := unix.Openat(dir.FD(), notifyDir, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err == unix.ENOENT { // created without
		return nil, nil
	}
	if err != nil {
		return nil, errdef.Errorf(errdef.Internal, "open directory of the notification socket: %w", err)
	}
	defer unix.Close(parent)
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, errdef.Errorf(errdef.Internal, "notification socket: %w", err)
	}
	n := &notify{fd: fd, host: host}
	// Through the descriptor: a state directory's path may be longer than an address.
	err = unix.Bind(fd, &unix.SockaddrUnix{Name: "/proc/self/fd/" + strconv.Itoa(parent) + "/" + notifyName})
	if err == nil {
		err = unix.Fchmodat(parent, notifyName, 0o777, 0) // whatever user the container runs as
	}
	if err != nil {
		n.close()
		return nil, errdef.Errorf(errdef.Internal, "bind the notification socket: %w", err)
	}
	return n, nil
}

func (n *notify) close() {
	if n != nil && n.fd >= 0 {
		unix.Close(n.fd)
		n.fd = -1
	}
}

// forward waits until the container says that it is ready, tells the service manager, and returns. A container that ends first never
// was ready.
func (n *notify) forward(ctx context.Context, init state.Process) error {
	if n == nil {
		return nil
	}
	buf := make([]byte, notifyMax)
	for ctx.Err() == nil {
		poll := []unix.PollFd{{Fd: int32(n.fd), Events: unix.POLLIN}}
		count, err := unix.Poll(poll, int(notifyPoll.Milliseconds()))
		if err != nil && err != unix.EINTR {
			return errdef.Errorf(errdef.Internal, "wait for the container's readiness: %w", err)
		}
		if count <= 0 {
			if !init.Alive() {
				return nil
			}
			continue
		}
		size, err := unix.Read(n.fd, buf)
		if err != nil {
			return nil // closed
		}
		for line := range bytes.SplitSeq(buf[:size], []byte{'\n'}) {
			if string(line) == "READY=1" {
				return n.ready(init.PID)
			}
		}
	}
	return nil
}

// ready tells the service manager, and waits until it has taken note: sd_notify_barrier(3). Without that it might look at this program,
// which may have ended, to find out which service the message is from.
func (n *notify) ready(pid int) error {
	fd, err := connect(n.host, unix.SOCK_DGRAM) // "@" begins an abstract name
	if err != nil {
		return errdef.Errorf(errdef.Unavailable, "connect to NOTIFY_SOCKET %q: %w", n.host, err)
	}
	defer unix.Close(fd)
	for _, text := range []string{"READY=1\n", "MAINPID=" + strconv.Itoa(pid) + "\n"} {
		if _, err := unix.Write(fd, []byte(text)); err != nil {
			return errdef.Errorf(errdef.Unavailable, "write to NOTIFY_SOCKET: %w", err)
		}
	}
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		return errdef.Errorf(errdef.Unavailable, "pipe: %w", err)
	}
	defer unix.Close(p[0])
	err = unix.Sendmsg(fd, []byte("BARRIER=1"), unix.UnixRights(p[1]), nil, unix.MSG_NOSIGNAL)
	unix.Close(p[1])
	if err != nil {
		return errdef.Errorf(errdef.Unavailable, "write to NOTIFY_SOCKET: %w", err)
	}
	deadline := time.Now().Add(notifyBarrier)
	for {
		left := time.Until(deadline)
		if left <= 0 {
			return errdef.Errorf(errdef.Timeout, "NOTIFY_SOCKET: the service manager did not acknowledge within %v", notifyBarrier)
		}
		if count, _ := unix.Poll([]unix.PollFd{{Fd: int32(p[0])}}, int(left.Milliseconds())+1); count > 0 {
			return nil // all its copies of the other end are closed
		}
	}
}
