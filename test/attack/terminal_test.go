package attack

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// terminal is a pty whose slave side is the caller's terminal.
type terminal struct {
	master, slave *os.File
	screen        chan string // all that was shown, when the master is closed
}

func openTerminal(t *testing.T) *terminal {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := unix.IoctlGetTermios(int(slave.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	raw.Lflag &^= unix.ICANON | unix.ECHO | unix.ISIG
	if err := unix.IoctlSetTermios(int(slave.Fd()), unix.TCSETS, raw); err != nil {
		t.Fatal(err)
	}
	w := &terminal{master: master, slave: slave, screen: make(chan string, 1)}
	go func() {
		var s strings.Builder
		_, _ = io.Copy(&s, master) // ends with EIO when the last slave is closed
		w.screen <- s.String()
	}()
	return w
}

// run runs a bundle with this terminal as the caller's controlling terminal; it returns what was shown, and what is left in the
// terminal's input for whoever reads it next, which is the caller's shell.
func (w *terminal) run(t *testing.T, p *program, b *bundle) (screen, input string) {
	t.Helper()
	b.write(t, p)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	id := newID()
	cmd := p.command(ctx, "run", "--bundle", b.dir, id)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = w.slave, w.slave, w.slave
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = new(syscall.SysProcAttr)
	}
	cmd.SysProcAttr.Setsid, cmd.SysProcAttr.Setctty = true, true
	err := cmd.Run()
	t.Logf("run: %v", err)
	if _, err := os.Stat(filepath.Join(p.root, id)); err == nil {
		p.remove(t, id)
	}
	if n, err := unix.IoctlGetInt(int(w.slave.Fd()), unix.TIOCINQ); err == nil && n > 0 {
		buf := make([]byte, n)
		n, _ = w.slave.Read(buf)
		input = string(buf[:n])
	}
	_ = w.slave.Close()
	select {
	case screen = <-w.screen:
	case <-time.After(30 * time.Second):
		t.Error("the terminal is still open: a process was left on it")
	}
	_ = w.master.Close()
	return screen, input
}

// TestPushedInput is CVE-2017-5226: a container with a terminal, and with all capabilities, types a command into the terminal
// of its caller.
func TestPushedInput(t *testing.T) {
	prove(t, func(t *testing.T, p *program) string {
		b := newBundle(t, "/attacker", "tiocsti", "reboot\n")
		b.unconfine()
		b.spec.Process.Terminal = true
		screen, input := openTerminal(t).run(t, p, b)
		t.Logf("screen: %q", screen)
		if !strings.Contains(screen, "pushed") {
			t.Error("the attack did not run")
		}
		if input != "" {
			return fmt.Sprintf("the caller's terminal holds the input %q", input)
		}
		return ""
	})
}

// TestControllingTerminal: without a terminal of its own a container has none, although its descriptors are the caller's.
func TestControllingTerminal(t *testing.T) {
	prove(t, func(t *testing.T, p *program) string {
		b := newBundle(t, "/attacker", "ctty")
		screen, _ := openTerminal(t).run(t, p, b)
		return hits(screen)
	})
}

// TestConsoleLink is CVE-2025-52565: /dev/console is a link, and the terminal is mounted over what it names.
func TestConsoleLink(t *testing.T) {
	prove(t, func(t *testing.T, p *program) string {
		volume := t.TempDir()
		symlink(t, "../victim", filepath.Join(volume, "console"))
		b := newBundle(t, "/attacker", "stat", "/victim")
		writeFile(t, filepath.Join(b.rootfs, "victim"), "a file", 0o600)
		for i := range b.spec.Mounts {
			if m := &b.spec.Mounts[i]; m.Destination == "/dev" {
				*m = specs.Mount{Destination: "/dev", Type: "bind", Source: volume, Options: []string{"rbind", "rw"}}
			}
		}
		b.spec.Process.Terminal = true
		screen, _ := openTerminal(t).run(t, p, b)
		t.Logf("screen: %q", screen)
		if strings.Contains(screen, "/victim: char") {
			return "the terminal was mounted where the image's link leads: " + screen
		}
		return ""
	})
}

// TestEscapesInNames: what the runtime says about a name must not drive the terminal on which it is read.
func TestEscapesInNames(t *testing.T) {
	const escape = "\x1b]0;owned\x07"
	prove(t, func(t *testing.T, p *program) string {
		b := newBundle(t, "/bin/true"+escape)
		b.spec.Process.Cwd = "/no" + escape
		b.write(t, p)
		for _, args := range [][]string{
			{"state", "no" + escape},
			{"delete", escape},
			{"run", "--bundle", b.dir + escape, newID()},
			{"run", "--bundle", b.dir, newID()},
			{"no" + escape},
		} {
			if out, _ := p.call(t, args...); strings.ContainsAny(out, "\x1b\x07") {
				return fmt.Sprintf("%q prints %q", args, out)
			}
		}
		return ""
	})
}
