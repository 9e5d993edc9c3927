// Package terminal runs the commands that tests drive on a pseudo-terminal.
//
//	s := terminal.Start(t, cmd)      // 30 rows, 100 columns; the command leads a session that has the terminal
//	s.Wait("Password: ")             // until it is shown
//	s.Write("secret\r")
//	s.Resize(40, 120)                // the kernel tells the command by SIGWINCH
//	code := s.End()                  // exit status as a shell has it; s.Cooked says how the terminal was left
//
// All that is shown is kept (Text). Nothing waits for ever: what is not shown in time, and a command that does not end, fail the test with what was shown, and the command is
// killed with the test.
package terminal

import (
	"bytes"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const (
	showTime = 40 * time.Second // for what must be shown
	endTime  = time.Minute      // for a command to end
	lookTime = 10 * time.Millisecond
)

// A Screen is a pseudo-terminal with a command on it.
type Screen struct {
	// Cooked says, after End, that the terminal was left as it was found: it shows what is typed, and ^C is a signal.
	Cooked bool

	t             testing.TB
	master, slave *os.File
	cmd           *exec.Cmd
	read          chan struct{} // closed when nothing comes any more
	ended         bool

	mu    sync.Mutex
	shown bytes.Buffer
}

// Start starts a command that has a terminal of 30 rows and 100 columns for all it reads and writes.
func Start(t testing.TB, cmd *exec.Cmd) *Screen {
	t.Helper()
	s := &Screen{t: t, cmd: cmd, read: make(chan struct{})}
	if err := s.open(); err != nil {
		t.Fatal(err)
	}
	s.size(30, 100)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = s.slave, s.slave, s.slave
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setsid, cmd.SysProcAttr.Setctty = true, true
	if err := cmd.Start(); err != nil {
		_, _ = s.slave.Close(), s.master.Close()
		t.Fatal(err)
	}
	go s.copy()
	t.Cleanup(func() {
		if !s.ended { // the test has failed before
			_ = cmd.Process.Kill()
			s.End()
		}
	})
	return s
}

func (s *Screen) open() error {
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return err
	}
	fd := int(master.Fd())
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		s.slave, err = os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		_ = master.Close()
		return err
	}
	s.master = master
	return nil
}

// copy keeps what is shown until nobody has the other end (EIO).
func (s *Screen) copy() {
	defer close(s.read)
	b := make([]byte, 4096)
	for {
		n, err := s.master.Read(b)
		s.mu.Lock()
		s.shown.Write(b[:n])
		s.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func (s *Screen) size(rows, columns uint16) {
	s.t.Helper()
	if err := unix.IoctlSetWinsize(int(s.slave.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: columns}); err != nil {
		s.t.Fatal(err)
	}
}

// Resize changes the terminal's size, of which the kernel tells the command.
func (s *Screen) Resize(rows, columns uint16) { s.t.Helper(); s.size(rows, columns) }

// Signal sends a signal to the command alone.
func (s *Screen) Signal(sig syscall.Signal) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
}

// Text is what was shown so far.
func (s *Screen) Text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.shown.String()
}

// Wait waits until a text is shown.
func (s *Screen) Wait(text string) { s.t.Helper(); s.WaitTimes(text, 1) }

// WaitTimes waits until a text was shown n times.
func (s *Screen) WaitTimes(text string, n int) {
	s.t.Helper()
	if !s.within(func() bool { return strings.Count(s.Text(), text) >= n }) {
		s.t.Fatalf("%v: %q is not shown %d times: %q", s.cmd.Args, text, n, s.Text())
	}
}

// Until types a line again and again until a text is shown: for what takes a while to become so.
func (s *Screen) Until(line, text string) {
	s.t.Helper()
	for end := time.Now().Add(showTime); !strings.Contains(s.Text(), text); time.Sleep(20 * lookTime) {
		if time.Now().After(end) {
			s.t.Fatalf("%v: %q is not shown: %q", s.cmd.Args, text, s.Text())
		}
		s.Write(line)
	}
}

func (s *Screen) within(holds func() bool) bool {
	for end := time.Now().Add(showTime); ; time.Sleep(lookTime) {
		if holds() {
			return true
		}
		if time.Now().After(end) {
			return false
		}
	}
}

// Write types.
func (s *Screen) Write(text string) {
	s.t.Helper()
	if _, err := s.master.WriteString(text); err != nil {
		s.t.Fatal(err)
	}
}

// flags are the terminal's local modes.
func (s *Screen) flags() uint32 {
	state, err := unix.IoctlGetTermios(int(s.slave.Fd()), unix.TCGETS)
	if err != nil {
		return 0
	}
	return state.Lflag
}

// WaitSilent waits until the terminal does not show what is typed, as a question for a password and a raw terminal have it.
func (s *Screen) WaitSilent() {
	s.t.Helper()
	if !s.within(func() bool { return s.flags()&unix.ECHO == 0 }) {
		s.t.Fatalf("%v: the terminal shows what is typed: %q", s.cmd.Args, s.Text())
	}
}

// End waits for the command and returns its exit status: 128 and the number of a signal that ended it.
func (s *Screen) End() int {
	s.t.Helper()
	timer := time.AfterFunc(endTime, func() { _ = s.cmd.Process.Kill() })
	_ = s.cmd.Wait() // the status is looked at
	if !timer.Stop() {
		s.t.Errorf("%v hangs: %q", s.cmd.Args, s.Text())
	}
	s.ended = true
	cooked := uint32(unix.ECHO | unix.ICANON | unix.ISIG)
	s.Cooked = s.flags()&cooked == cooked
	_ = s.slave.Close()
	<-s.read
	_ = s.master.Close()
	if status, ok := s.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal())
	}
	return s.cmd.ProcessState.ExitCode()
}
