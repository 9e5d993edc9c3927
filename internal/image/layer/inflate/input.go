package inflate

import (
	"context"
	"io"
	"sync"
	"sync/atomic"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"golang.org/x/sys/unix"
)

// An input reads a descriptor that may be a pipe on which nothing comes, and gives up when it is told to.
type input struct {
	fd   int
	read atomic.Int64
	stop func() bool
	ctx  context.Context
	file bool // never blocks

	mu   sync.Mutex
	wake int // an eventfd; -1 when it is closed
}

func newInput(ctx context.Context, fd int) (*input, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, errdef.Errorf(errdef.Internal, "look at the layer's stream: %w", err)
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, errdef.Errorf(errdef.Internal, "eventfd: %w", err)
	}
	in := &input{fd: fd, wake: wake, ctx: ctx, file: st.Mode&unix.S_IFMT == unix.S_IFREG}
	in.stop = context.AfterFunc(ctx, in.cancel)
	return in, nil
}

// cancel ends a Read that waits.
func (in *input) cancel() {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.wake >= 0 {
		_, _ = unix.Write(in.wake, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	}
}

// close frees what newInput made; nobody may be in Read.
func (in *input) close() {
	in.stop()
	in.mu.Lock()
	defer in.mu.Unlock()
	unix.Close(in.wake)
	in.wake = -1
}

// Read implements io.Reader.
func (in *input) Read(b []byte) (int, error) {
	for {
		if !in.file {
			fds := []unix.PollFd{{Fd: int32(in.fd), Events: unix.POLLIN}, {Fd: int32(in.wake), Events: unix.POLLIN}}
			if _, err := unix.Poll(fds, -1); err != nil && err != unix.EINTR {
				return 0, errdef.Errorf(errdef.Unavailable, "wait for the layer's stream: %w", err)
			}
			if fds[1].Revents != 0 {
				return 0, in.canceled()
			}
		} else if in.ctx.Err() != nil {
			return 0, in.canceled()
		}
		n, err := unix.Read(in.fd, b)
		switch {
		case err == unix.EINTR, err == unix.EAGAIN:
			continue
		case err != nil:
			return 0, errdef.Errorf(errdef.Unavailable, "read the layer's stream: %w", err)
		case n == 0:
			return 0, io.EOF
		}
		in.read.Add(int64(n))
		return n, nil
	}
}

func (in *input) canceled() error {
	if in.ctx.Err() != nil {
		return errdef.Errorf(errdef.Timeout, "read the layer's stream: %w", context.Cause(in.ctx))
	}
	return errdef.Errorf(errdef.Unavailable, "read the layer's stream: given up")
}
