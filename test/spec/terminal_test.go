package spec

import (
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// socket listens on a unix socket of the test.
func socket(t *testing.T, path string) *net.UnixListener {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	if err := l.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return l
}

// receive accepts one connection and takes a message with a descriptor from it.
func receive(t *testing.T, l *net.UnixListener) (string, *os.File) {
	t.Helper()
	conn, err := l.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	buf, oob := make([]byte, 1<<16), make([]byte, 64)
	n, oobn, _, _, err := conn.ReadMsgUnix(buf, oob)
	if err != nil {
		t.Fatal(err)
	}
	msgs, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil || len(msgs) != 1 {
		t.Fatalf("%d control messages, %v", len(msgs), err)
	}
	fds, err := unix.ParseUnixRights(&msgs[0])
	if err != nil || len(fds) != 1 {
		t.Fatalf("descriptors %v, %v", fds, err)
	}
	unix.CloseOnExec(fds[0])
	rest, err := io.ReadAll(conn) // the other side closes: one message per connection
	if err != nil || len(rest) > 0 && fds[0] < 0 {
		t.Fatal(err)
	}
	return string(buf[:n]) + string(rest), os.NewFile(uintptr(fds[0]), "received")
}

// shown is all that a terminal shows until its last user is gone.
func shown(master *os.File) string {
	defer master.Close()
	data, _ := io.ReadAll(master) // EIO is the end
	return strings.ReplaceAll(string(data), "\r", "")
}

// TestTerminal: process.terminal and consoleSize, with the master sent over --console-socket.
func TestTerminal(t *testing.T) {
	t.Parallel()
	script := `stty size; tty; test -t 0 -a -t 1 -a -t 2 && echo three; stat -c '%u %t' /dev/console; echo hello >/dev/console; echo hi >/dev/tty; read x; echo "got $x"`
	b := newBox(t, "sh", "-c", script)
	b.spec.Process.User = specs.User{UID: 1000, GID: 1000}
	b.spec.Process.Terminal = true
	b.spec.Process.ConsoleSize = &specs.Box{Height: 31, Width: 97}
	l := socket(t, b.path("console"))
	b.create("--console-socket", b.path("console"))
	_, master := receive(t, l)
	b.ok("start", b.id)
	if _, err := master.WriteString("typed\n"); err != nil {
		t.Fatal(err)
	}
	out := shown(master)
	for _, want := range []string{"31 97\n", "/dev/pts/0\n", "three\n", "1000 88\n", "hello", "hi", "got typed\n"} { // what is typed is shown between
		if !strings.Contains(out, want) {
			t.Errorf("no %q in %q", want, out)
		}
	}
	b.await(specs.StateStopped)
}

// TestTerminalExec: a joining process gets a terminal of the container's own devpts, and the size of its process.json.
func TestTerminalExec(t *testing.T) {
	t.Parallel()
	b := newBox(t, "sleep", "60")
	b.up()
	l := socket(t, b.path("console"))
	b.makeFile("process.json", `{"terminal":true,"consoleSize":{"height":12,"width":34},"cwd":"/","args":["sh","-c","stty size; tty"],"env":["PATH=/bin"]}`)
	b.ok("exec", "--detach", "--console-socket", b.path("console"), "--process", b.path("process.json"), b.id)
	_, master := receive(t, l)
	if out := shown(master); out != "12 34\n/dev/pts/0\n" {
		t.Errorf("%q", out)
	}
}

// TestNoTerminal: consoleSize without a terminal is ignored, and there is no /dev/console.
func TestNoTerminal(t *testing.T) {
	t.Parallel()
	b := newBox(t, "sh", "-c", "test -e /dev/console || echo none; test -t 0 || test -t 1 || echo no terminal")
	b.spec.Process.ConsoleSize = &specs.Box{Height: 31, Width: 97}
	if out := b.output(); out != "none\nno terminal\n" {
		t.Errorf("%q", out)
	}
	b.spec.Process.Terminal = true
	b.refused("process.terminal")
}
