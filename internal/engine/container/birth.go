package container

import (
	"net"
	"os"
	"os/exec"
	"slices"
	"sync"
	"syscall"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/monitor/control"
	"golang.org/x/sys/unix"
)

// A birth is a monitor that is started while its orders are still being written: it comes to life meanwhile, and waits for what it works with. If this process dies before that, it ends by itself.
type birth struct {
	done chan struct{} // closed when the rest is there
	cmd  *exec.Cmd     // nil: it was not started, or is not ours to end any more
	conn *net.UnixConn
	err  error
	once sync.Once
}

// bear begins to start a monitor.
func (s *Service) bear(id string) *birth {
	b := &birth{done: make(chan struct{})}
	go func() {
		defer close(b.done)
		b.err = b.start(s, id)
	}()
	return b
}

func (b *birth) start(s *Service, id string) error {
	program, err := s.program()
	if err != nil {
		return err
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return errdef.Errorf(errdef.Unavailable, "start: %w", err)
	}
	defer null.Close()
	ours, theirs, err := pair()
	if err != nil {
		return err
	}
	defer theirs.Close()
	cmd := exec.Command(program, s.runDir(id))
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.Dir = null, null, null, "/"
	cmd.ExtraFiles = []*os.File{theirs} // control.ReadyFD
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Cloneflags: syscall.CLONE_NEWNS}
	if err := cmd.Start(); err != nil {
		_ = ours.Close()
		return errdef.Errorf(errdef.Internal, "start %s: %w", program, err)
	}
	go func() { _ = cmd.Wait() }() // reaped, if we live that long
	b.cmd, b.conn = cmd, ours.(*net.UnixConn)
	return nil
}

// hand gives a monitor its descriptors, in the order of their numbers from control.RootFD on.
func (b *birth) hand(files []*os.File) error {
	<-b.done
	if b.err != nil {
		return b.err
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return errdef.Errorf(errdef.Unavailable, "start: %w", err)
	}
	defer null.Close()
	files = slices.Clone(files)
	var fds []int
	for i, f := range files {
		if f == nil {
			files[i] = null
		}
		fds = append(fds, int(files[i].Fd()))
	}
	for len(fds) > 0 {
		part, word := fds[:min(len(fds), control.MostFDs)], byte(control.Handing)
		if fds = fds[len(part):]; len(fds) == 0 {
			word = control.Handed
		}
		if _, _, err := b.conn.WriteMsgUnix([]byte{word}, unix.UnixRights(part...), nil); err != nil {
			return errdef.Errorf(errdef.Internal, "start: give the monitor its descriptors: %w", err)
		}
	}
	return nil
}

// abort ends a monitor that has not told that its program runs. It may be called again.
func (b *birth) abort() {
	if b == nil { // it was not begun
		return
	}
	<-b.done
	b.once.Do(func() {
		if b.conn != nil {
			_ = b.conn.Close()
		}
	})
	if b.cmd != nil {
		_ = b.cmd.Process.Kill()
		b.cmd = nil
	}
}
