package conformance

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// terminal is a command of the cell that runs on a pty of its own.
type terminal struct {
	master *os.File
	cmd    *exec.Cmd
	ended  chan struct{} // closed once the reader saw the end

	mu  sync.Mutex
	out bytes.Buffer // what the command printed so far
}

// openPTY returns both ends of a new pseudo terminal of 40 columns by 25 rows (pts(4)).
func openPTY(t *testing.T) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	fd := int(master.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatalf("unlock pty: %v", err)
	}
	n, err := unix.IoctlGetUint32(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatalf("number of pty: %v", err)
	}
	if err := unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 25, Col: 40}); err != nil {
		t.Fatalf("size of pty: %v", err)
	}
	slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return master, slave
}

// startTerminal runs argv in the cell with a new terminal as its controlling one.
func (c *cell) startTerminal(t *testing.T, argv ...string) *terminal {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	master, slave := openPTY(t)
	term := &terminal{master: master, cmd: c.command(ctx, argv...), ended: make(chan struct{})}
	term.cmd.Env = append(term.cmd.Env, ttyVar+"=1", "TERM=dumb")
	term.cmd.Stdin, term.cmd.Stdout, term.cmd.Stderr = slave, slave, slave
	if err := term.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := slave.Close(); err != nil {
		t.Fatal(err)
	}
	go term.read()
	t.Cleanup(func() { _ = master.Close() }) // ends read where the command still holds the slave
	return term
}

func (term *terminal) read() {
	defer close(term.ended)
	buf := make([]byte, 4096)
	for {
		n, err := term.master.Read(buf)
		term.mu.Lock()
		term.out.Write(buf[:n])
		term.mu.Unlock()
		if err != nil { // EIO: the last slave was closed
			return
		}
	}
}

func (term *terminal) output() string {
	term.mu.Lock()
	defer term.mu.Unlock()
	return term.out.String()
}

// expect waits at most 20 seconds until the output has text.
func (term *terminal) expect(t *testing.T, text string) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !strings.Contains(term.output(), text) {
		if time.Now().After(deadline) {
			t.Fatalf("no %q on the terminal: %q", text, term.output())
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// send types text.
func (term *terminal) send(t *testing.T, text string) {
	t.Helper()
	if _, err := term.master.WriteString(text); err != nil {
		t.Fatal(err)
	}
}

// wait returns the exit code of the command.
func (term *terminal) wait(t *testing.T) int {
	t.Helper()
	_ = term.cmd.Wait() // the exit code says it
	select {
	case <-term.ended:
	case <-time.After(10 * time.Second):
		t.Errorf("somebody still holds the terminal")
	}
	return term.cmd.ProcessState.ExitCode()
}

// converse is the talk that every interactive container must stand: its standard input is a
// terminal of the right size, follows a resize, and the shell's exit code arrives.
func (term *terminal) converse(t *testing.T) {
	t.Helper()
	term.send(t, "tty; echo is$((1+1))tty\n")
	term.expect(t, "is2tty")
	if !strings.Contains(term.output(), "/dev/pts/0") && !strings.Contains(term.output(), "/dev/console") {
		t.Errorf("no terminal in the container: %q", term.output())
	}
	term.send(t, "stty size; echo size$((1+1))\n")
	term.expect(t, "size2")
	if !strings.Contains(term.output(), "25 40") {
		t.Errorf("size of the terminal is not 25 40: %q", term.output())
	}
	if err := unix.IoctlSetWinsize(int(term.master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 31, Col: 77}); err != nil {
		t.Fatal(err)
	}
	term.send(t, "while [ \"$(stty size)\" != '31 77' ]; do usleep 50000; done; echo resized$((1+1))\n")
	term.expect(t, "resized2")
	term.send(t, "exit 5\n")
	if code := term.wait(t); code != 5 {
		t.Errorf("exit code %d, want 5; %q", code, term.output())
	}
}
