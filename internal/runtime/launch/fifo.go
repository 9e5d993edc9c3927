package launch

import (
	"context"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/linux/procfs"
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/op"
	"golang.org/x/sys/unix"
)

// Names in the container's state directory.
const (
	startFIFO = "start"
	replyFIFO = "reply"
	stepsFile = "steps"
)

// sealedName is what /proc/PID/exe of a waiting child shows.
const sealedName = "/memfd:bulkhead-init"

func makeFIFOs(dir string) error {
	for _, name := range []string{startFIFO, replyFIFO} {
		path := filepath.Join(dir, name)
		if err := unix.Mkfifo(path, 0o600); err != nil {
			return &os.PathError{Op: "mkfifo", Path: path, Err: err}
		}
	}
	return nil
}

// Waiting reports whether the container is created and not started.
func Waiting(dir string, pid int) bool {
	var st unix.Stat_t
	if err := unix.Lstat(filepath.Join(dir, startFIFO), &st); err != nil {
		return false
	}
	exe, err := os.Readlink("/proc/" + procfs.Path(pid, "exe"))
	return err == nil && strings.HasPrefix(exe, sealedName)
}

// saveSteps notes the reasons of the steps that follow the wait, one per line, so that Start can name one that fails. The child counts before
// steps more than there are ops.
func saveSteps(dir string, ops []op.Op, before int) error {
	first := len(ops)
	for i := range ops {
		if ops[i].Call == "write" && strings.HasSuffix(ops[i].Why, "created") {
			first = i
		}
	}
	var b strings.Builder
	for i := first; i < len(ops); i++ {
		o := &ops[i]
		b.WriteString(strconv.Itoa(i+before) + "\t" + strconv.Itoa(i+1) + "\t" + o.Call + "\t" + line(o.Why) + "\t" + line(o.Hint) + "\n")
	}
	path := filepath.Join(dir, stepsFile)
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return &os.PathError{Op: "create", Path: path, Err: err}
	}
	defer unix.Close(fd)
	if n, err := unix.Write(fd, []byte(b.String())); err != nil || n != b.Len() {
		return &os.PathError{Op: "write", Path: path, Err: err}
	}
	return nil
}

func line(s string) string { return strings.NewReplacer("\t", " ", "\n", " ").Replace(s) }

// Start lets a created container go on and returns when its program runs. The caller holds the container's lock and has made sure that
// the container waits.
func Start(ctx context.Context, dir string) error {
	reply, err := openFile(filepath.Join(dir, replyFIFO), unix.O_RDONLY|unix.O_NONBLOCK)
	if err != nil {
		return errdef.WithKind(errdef.Conflict, err)
	}
	defer unix.Close(reply)
	start, err := openFile(filepath.Join(dir, startFIFO), unix.O_WRONLY|unix.O_NONBLOCK)
	if errors.Is(err, unix.ENXIO) {
		return errdef.Errorf(errdef.Conflict, "start: the container's process has ended")
	}
	if err != nil {
		return errdef.WithKind(errdef.Conflict, err)
	}
	_, err = unix.Write(start, []byte{1})
	unix.Close(start)
	if err != nil {
		return errdef.Errorf(errdef.Conflict, "start: the container's process does not listen: %w", err)
	}
	msg, err := readReply(ctx, reply)
	if err != nil {
		return err
	}
	removeFIFOs(dir)
	if len(msg) == 0 {
		return nil
	}
	return failedStep(dir, msg)
}

// removeFIFOs marks the container as started.
func removeFIFOs(dir string) {
	for _, name := range []string{startFIFO, replyFIFO} {
		_ = unix.Unlink(filepath.Join(dir, name))
	}
}

// readReply waits until the child has executed its program (end of file) or has said what failed.
func readReply(ctx context.Context, fd int) ([]byte, error) {
	poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for {
		timeout := 1000 // milliseconds between two looks at ctx
		if d, ok := ctx.Deadline(); ok {
			timeout = min(timeout, int(time.Until(d).Milliseconds()))
		}
		if ctx.Err() != nil || timeout < 0 {
			return nil, errdef.Errorf(errdef.Timeout, "start: the container did not execute its program in time")
		}
		if _, err := unix.Poll(poll, timeout); err != nil && err != unix.EINTR {
			return nil, wrap("poll", err)
		}
		if poll[0].Revents == 0 {
			continue
		}
		buf := make([]byte, op.MsgSize)
		n, err := unix.Read(fd, buf)
		if err == unix.EAGAIN || err == unix.EINTR {
			continue
		}
		return buf[:max(n, 0)], wrap("read the container's reply", err)
	}
}

func failedStep(dir string, msg []byte) error {
	if len(msg) != op.MsgSize || binary.LittleEndian.Uint64(msg) != op.MsgFailed {
		return errdef.Errorf(errdef.Internal, "start: the container's process sent %d bytes that mean nothing", len(msg))
	}
	step := binary.LittleEndian.Uint64(msg[8:])
	errno := syscall.Errno(binary.LittleEndian.Uint64(msg[16:]))
	number, call, why, hint := stepNote(dir, int(step))
	kind := errdef.Internal
	if call == "execve" {
		kind = errdef.Denied
		if errno == unix.ENOENT {
			kind = errdef.NotFound
		}
	}
	return errdef.WithHint(errdef.Errorf(kind, "start: %s: step %s %s: %w", why, number, call, errno), hint)
}

// stepNote returns what saveSteps noted: the number that `explain` gives the step, and what it is.
func stepNote(dir string, step int) (number, call, why, hint string) {
	b, err := os.ReadFile(filepath.Join(dir, stepsFile))
	if err == nil {
		prefix := strconv.Itoa(step) + "\t"
		for l := range strings.Lines(string(b)) {
			if rest, ok := strings.CutPrefix(strings.TrimSuffix(l, "\n"), prefix); ok {
				parts := strings.SplitN(rest, "\t", 4)
				if len(parts) == 4 {
					return parts[0], parts[1], parts[2], parts[3]
				}
			}
		}
	}
	return "?", "", "a step after the wait", ""
}
