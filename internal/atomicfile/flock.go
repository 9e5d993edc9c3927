package atomicfile

import (
	"context"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"golang.org/x/sys/unix"
)

// How a lock is taken.
type How int

// The ways of taking a lock.
const (
	Exclusive How = unix.LOCK_EX
	Shared    How = unix.LOCK_SH
)

// Between two tries for a lock that is taken. flock(2) that waits cannot be told to stop, and nothing here may block for ever.
const (
	firstPause = 200 * time.Microsecond
	lastPause  = 20 * time.Millisecond
)

// Flock locks an open file or directory (flock(2)) and waits for it until ctx ends: then the error is of kind Timeout. The lock goes
// with the last descriptor of this open file, so a killed program leaves none. A lock of the other kind on fd is converted.
func Flock(ctx context.Context, fd int, how How) error {
	pause := firstPause
	for {
		ok, err := TryFlock(fd, how)
		if ok || err != nil {
			return err
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return errdef.Errorf(errdef.Timeout, "wait for a lock: %w", context.Cause(ctx))
		case <-timer.C:
		}
		pause = min(2*pause, lastPause)
	}
}

// TryFlock is Flock without waiting: it reports whether it has the lock.
func TryFlock(fd int, how How) (bool, error) {
	for {
		switch err := unix.Flock(fd, int(how)|unix.LOCK_NB); err {
		case nil:
			return true, nil
		case unix.EINTR:
		case unix.EWOULDBLOCK:
			return false, nil
		default:
			return false, errdef.Errorf(errdef.Internal, "flock: %w", err)
		}
	}
}
