package runtime

import (
	"sync"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/linux/labelpipe"
	"github.com/bulkhead-engine/bulkhead/internal/linux/sys"
	"golang.org/x/sys/unix"
)

// relayChunk is what is moved at once, in bytes; a pipe holds 64 KiB (pipe(7)).
const relayChunk = 32 << 10

// A relay copies between the caller's descriptors and those of a process in the foreground. The zero value copies nothing.
//
// Copies use poll and blocking descriptors: the caller's are shared with whoever gave them to us, so their O_NONBLOCK is not ours to
// set. A copy that ends closes its end of the container's pipe, so that the other side sees end of file, or EPIPE.
type relay struct {
	pipes func() (read, write int, err error) // makes pipes that the container may use
	label string                              // that the caller's own must have for that; "": any
	ends  []int                               // the process's ends, to be closed once it has them
	done  [2]int
	open  bool
	outs  sync.WaitGroup // copies out of the container: what they hold is waited for
	ins   sync.WaitGroup // copies into it: they end when they next look
}

// newRelay prepares a relay.
func newRelay() (*relay, error) {
	r := &relay{pipes: func() (int, int, error) { return labelpipe.New(-1, "") }}
	if err := unix.Pipe2(r.done[:], unix.O_CLOEXEC); err != nil {
		return nil, errdef.Errorf(errdef.Unavailable, "pipe: %w", err)
	}
	r.open = true
	return r, nil
}

// stdio returns what the process gets for descriptors 0, 1 and 2 when the caller has those given (-1: closed): the caller's own where
// they are harmless and, with a label, open to the container by theirs; else pipes, whose copies start with start.
func (r *relay) stdio(caller [3]int) (fds [3]int, start func(), err error) {
	var copies []func()
	for i, fd := range caller {
		if i == 2 && fds[1] != caller[1] && caller[1] >= 0 && sys.SameDescription(caller[1], fd) {
			fds[2] = fds[1] // one pipe, so that what is written to one and the other stays in order
			continue
		}
		if fds[i], err = r.standIn(fd, i == 0, &copies); err != nil {
			return fds, nil, err
		}
	}
	return fds, func() {
		for _, c := range copies {
			c()
		}
	}, nil
}

// standIn returns the process's end for the caller's descriptor fd, from which the process reads if input is set.
func (r *relay) standIn(fd int, input bool, copies *[]func()) (int, error) {
	if fd < 0 {
		null, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
		if err != nil {
			return -1, errdef.Errorf(errdef.Unavailable, "open /dev/null: %w", err)
		}
		r.ends = append(r.ends, null)
		return null, nil
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return -1, errdef.Errorf(errdef.Internal, "stat a standard descriptor: %w", err)
	}
	if harmless(&st) && (r.label == "" || st.Mode&unix.S_IFMT == unix.S_IFCHR || labelpipe.LabelOf(fd) == r.label) {
		return fd, nil
	}
	read, write, err := r.pipes()
	if err != nil {
		return -1, err
	}
	if input {
		r.ends = append(r.ends, read)
		*copies = append(*copies, func() { r.ins.Go(func() { r.in(fd, write, true) }) })
		return read, nil
	}
	r.ends = append(r.ends, write)
	*copies = append(*copies, func() { r.out(read, fd) })
	return write, nil
}

// harmless reports whether a container may hold the caller's own descriptor: opened again through /proc/self/fd it gives no more than it
// gives now.
func harmless(st *unix.Stat_t) bool {
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFIFO, unix.S_IFSOCK:
		return true
	case unix.S_IFCHR:
		return st.Rdev == unix.Mkdev(1, 3) // /dev/null
	}
	return false
}

// started closes the process's ends, which it has by now.
func (r *relay) started() {
	for _, fd := range r.ends {
		unix.Close(fd)
	}
	r.ends = nil
}

// in copies what the caller sends until it ends or the relay does.
func (r *relay) in(from, to int, owned bool) {
	if owned {
		defer unix.Close(to)
	}
	buf := make([]byte, relayChunk)
	for {
		fds := []unix.PollFd{{Fd: int32(from), Events: unix.POLLIN}, {Fd: int32(r.done[0])}}
		if owned { // a pipe whose reader is gone
			fds = append(fds, unix.PollFd{Fd: int32(to)})
		}
		if _, err := unix.Poll(fds, -1); err == unix.EINTR {
			continue
		} else if err != nil || fds[1].Revents != 0 || owned && fds[2].Revents&unix.POLLERR != 0 {
			return
		}
		n, err := unix.Read(from, buf)
		if err == unix.EINTR || err == unix.EAGAIN {
			continue
		}
		if n <= 0 || err != nil || !writeAll(to, buf[:n]) {
			return
		}
	}
}

// out copies what the container says until all its ends are closed, or, once the process has ended, until the pipe is drained: what
// other processes that still hold it say later is lost, and does not keep us.
func (r *relay) out(from, to int) {
	r.outs.Go(func() {
		defer unix.Close(from)
		buf := make([]byte, relayChunk)
		left := -1 // bytes that may still be from the process that has ended; -1: it runs
		for left != 0 {
			fds := []unix.PollFd{{Fd: int32(from), Events: unix.POLLIN}, {Fd: int32(r.done[0])}}
			if _, err := unix.Poll(fds, -1); err == unix.EINTR {
				continue
			} else if err != nil {
				return
			}
			if fds[1].Revents != 0 && left < 0 {
				left = capacity(from)
			}
			if fds[0].Revents == 0 {
				return
			}
			n, err := unix.Read(from, buf)
			if err == unix.EINTR {
				continue
			}
			if n <= 0 || err != nil || !writeAll(to, buf[:n]) { // EIO: a terminal that nobody holds any more
				return
			}
			if left > 0 {
				left = max(0, left-n)
			}
		}
	})
}

// capacity is how much a pipe can hold; a terminal holds less than the default.
func capacity(fd int) int {
	n, err := unix.FcntlInt(uintptr(fd), unix.F_GETPIPE_SZ, 0)
	if err != nil {
		return 64 << 10
	}
	return n
}

// drain is called when the process has ended: it waits for what it said to be passed on, and ends all copies.
func (r *relay) drain() {
	if !r.open {
		return
	}
	unix.Close(r.done[1]) // POLLHUP for all
	r.open = false
	r.outs.Wait()
	go func() { // a copy in may be inside a read of the caller's descriptor, which only its next input ends
		r.ins.Wait()
		unix.Close(r.done[0])
	}()
}

// close ends a relay whatever its state is.
func (r *relay) close() {
	r.started()
	r.drain()
}

func writeAll(fd int, data []byte) bool {
	for len(data) > 0 {
		n, err := unix.Write(fd, data)
		switch {
		case err == unix.EINTR:
		case err == unix.EAGAIN: // somebody else made the caller's descriptor non-blocking
			_, _ = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}, -1)
		case err != nil:
			return false
		default:
			data = data[n:]
		}
	}
	return true
}
