package verify

import (
	"context"
	"time"
	"unsafe"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/linux/thread"
	"golang.org/x/sys/unix"
)

const (
	getFilter   = 0x420c      // PTRACE_SECCOMP_GET_FILTER, ptrace(2), Linux 4.4
	maxStopped  = 64          // processes whose filters are read
	maxFilters  = 64          // of a process
	maxInsns    = 4096        // of a filter: BPF_MAXINSNS
	stopTime    = time.Second // for a process to stop
	stopPause   = 200 * time.Microsecond
	insnSize    = 8 // struct sock_filter
	anyOfThread = unix.WALL | unix.WNOHANG
)

// filters reads the seccomp filters of the processes, each of which is stopped for that.
func (r *reader) filters() error {
	if !r.d.Stop {
		return nil
	}
	for i := range r.f.Processes {
		p := &r.f.Processes[i]
		if i >= maxStopped {
			break
		}
		var err error
		thread.Spend(func() { p.Filters, err = readFilters(r.ctx, p.PID) }) // the tracer: with its end what it traces is let go, whatever has happened
		if err != nil {
			p.Filters = nil
			r.f.FiltersErr = err.Error()
			if errdef.Is(err, errdef.Timeout) {
				break // it is frozen, and so are the others
			}
		}
	}
	return nil
}

// readFilters stops a process, reads its filters, the oldest first, and lets it go on. One that has ended has none.
func readFilters(ctx context.Context, pid int) ([][]byte, error) {
	if err := unix.PtraceSeize(pid); err != nil {
		return nil, errdef.Errorf(errdef.Denied, "process %d cannot be traced: %w", pid, err)
	}
	if err := unix.PtraceInterrupt(pid); err != nil {
		return nil, errdef.Errorf(errdef.Denied, "process %d cannot be stopped: %w", pid, err)
	}
	for end := time.Now().Add(stopTime); ; time.Sleep(stopPause) {
		var ws unix.WaitStatus
		got, err := unix.Wait4(pid, &ws, anyOfThread, nil)
		if err != nil && err != unix.EINTR {
			return nil, errdef.Errorf(errdef.Unavailable, "process %d: %w", pid, err)
		}
		if got == pid && ws.Stopped() {
			break
		}
		if got == pid || ctx.Err() != nil || time.Now().After(end) {
			return nil, errdef.Errorf(errdef.Timeout, "process %d does not stop", pid)
		}
	}
	defer func() { _ = unix.PtraceDetach(pid) }()
	out := [][]byte{}
	for n := range maxFilters {
		size, err := ptraceFilter(pid, n, nil)
		if err == unix.ENOENT {
			break
		}
		if err != nil || size > maxInsns {
			return nil, errdef.Errorf(errdef.Unsupported, "filters of process %d: %w", pid, err)
		}
		program := make([]byte, size*insnSize)
		if _, err := ptraceFilter(pid, n, program); err != nil {
			return nil, errdef.Errorf(errdef.Unsupported, "filters of process %d: %w", pid, err)
		}
		out = append(out, program)
	}
	return out, nil
}

// ptraceFilter returns the number of instructions of a filter, and the filter if there is room.
func ptraceFilter(pid, n int, to []byte) (int, error) {
	size, _, errno := unix.Syscall6(unix.SYS_PTRACE, getFilter, uintptr(pid), uintptr(n), uintptr(unsafe.Pointer(unsafe.SliceData(to))), 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(size), nil
}
