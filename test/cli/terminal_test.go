package cli

import (
	"bytes"
	"context"
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

// A terminal is a pseudo-terminal with a command of an engine on it.
type terminal struct {
	testing.TB
	master, slave *os.File
	cmd           *exec.Cmd
	reading       sync.WaitGroup
	cancel        context.CancelFunc

	mu     sync.Mutex
	shown  bytes.Buffer
	echoed bool // at the end
}

// terminal starts a command that has a terminal of 100 columns and 30 rows for all it reads and writes.
func (e *engine) terminal(args ...string) *terminal {
	e.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		e.Fatal(err)
	}
	fd := int(master.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		e.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		e.Fatal(err)
	}
	slaveFD, err := unix.Open("/dev/pts/"+strconv.Itoa(n), unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		e.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	p := &terminal{TB: e.TB, master: master, slave: os.NewFile(uintptr(slaveFD), "slave"), cancel: cancel}
	if err := unix.IoctlSetWinsize(slaveFD, unix.TIOCSWINSZ, &unix.Winsize{Col: 100, Row: 30}); err != nil {
		e.Fatal(err)
	}
	p.cmd = e.command(ctx, args...)
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = p.slave, p.slave, p.slave
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		e.Fatal(err)
	}
	p.reading.Go(func() {
		b := make([]byte, 4096)
		for {
			n, err := p.master.Read(b)
			p.mu.Lock()
			p.shown.Write(b[:n])
			p.mu.Unlock()
			if err != nil { // EIO: nobody has the other end
				return
			}
		}
	})
	return p
}

// text is what was shown so far.
func (p *terminal) text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.shown.String()
}

// wait waits until something is shown.
func (p *terminal) wait(text string) {
	p.Helper()
	for range 600 {
		if strings.Contains(p.text(), text) {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	p.Fatalf("%q is not shown: %q", text, p.text())
}

func (p *terminal) write(text string) {
	p.Helper()
	if _, err := p.master.WriteString(text); err != nil {
		p.Fatal(err)
	}
}

// echoes reports whether the terminal shows what is typed. It is asked until it does not, for a second.
func (p *terminal) echoes() bool {
	for range 20 {
		state, err := unix.IoctlGetTermios(int(p.slave.Fd()), unix.TCGETS)
		if err == nil && state.Lflag&unix.ECHO == 0 {
			return false
		}
		time.Sleep(50 * time.Millisecond)
	}
	return true
}

// end waits for the command and returns its status.
func (p *terminal) end() int {
	p.Helper()
	code := status(p, p.cmd.Wait())
	p.cancel()
	state, err := unix.IoctlGetTermios(int(p.slave.Fd()), unix.TCGETS)
	p.echoed = err == nil && state.Lflag&unix.ECHO != 0
	_ = p.slave.Close()
	p.reading.Wait()
	_ = p.master.Close()
	return code
}
