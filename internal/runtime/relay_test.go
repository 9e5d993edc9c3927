package runtime

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/linux/labelpipe"
	"golang.org/x/sys/unix"
)

// TestRelayLabel: a container with SELinux labels gets the caller's pipe only if it has the container's label, and else one that has.
func TestRelayLabel(t *testing.T) {
	const label = "system_u:object_r:container_file_t:s0:c1,c2"
	room, err := labelpipe.Room()
	if os.Geteuid() != 0 && errdef.Is(err, errdef.Denied) {
		t.Skipf("only root may mount and label: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(room)
	var ends [2][2]int // of a pipe with the label and of one without
	for i, l := range []string{label, ""} {
		if ends[i][0], ends[i][1], err = labelpipe.New(room, l); err != nil {
			t.Fatal(err)
		}
		defer unix.Close(ends[i][0])
		defer unix.Close(ends[i][1])
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	r, err := newRelay()
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	r.label, r.pipes = label, func() (int, int, error) { return labelpipe.New(room, label) }
	fds, start, err := r.stdio([3]int{int(null.Fd()), ends[0][1], ends[1][1]})
	if err != nil {
		t.Fatal(err)
	}
	if fds[0] != int(null.Fd()) || fds[1] != ends[0][1] {
		t.Errorf("replaced without need: %v", fds)
	}
	if fds[2] == ends[1][1] || labelpipe.LabelOf(fds[2]) != label {
		t.Errorf("a pipe without the label stands in for %d as %v", ends[1][1], fds)
	}
	if _, err := unix.Write(fds[2], []byte("through")); err != nil {
		t.Fatal(err)
	}
	r.started()
	start()
	buf := make([]byte, 64)
	if n, err := unix.Read(ends[1][0], buf); err != nil || string(buf[:n]) != "through" {
		t.Errorf("%q, %v", buf[:max(n, 0)], err)
	}
}

func file(t *testing.T, content string) *os.File {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "f")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if _, err := f.WriteString(content); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	return f
}

// TestRelayOrder: what goes to two descriptors of one open file arrives in the order in which it was written.
func TestRelayOrder(t *testing.T) {
	out := file(t, "")
	dup, err := unix.Dup(int(out.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(dup)
	r, err := newRelay()
	if err != nil {
		t.Fatal(err)
	}
	fds, start, err := r.stdio([3]int{-1, int(out.Fd()), dup})
	if err != nil {
		t.Fatal(err)
	}
	start()
	var want strings.Builder
	for n := range 1000 {
		text := fmt.Sprintln("line", n)
		want.WriteString(text)
		if _, err := unix.Write(fds[1+n%2], []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	r.started()
	r.drain()
	if got, err := os.ReadFile(out.Name()); err != nil || string(got) != want.String() {
		t.Errorf("%v, not in order: %d bytes of %d", err, len(got), want.Len())
	}
}

// TestRelay copies through stand-ins for files, as the process on the other side sees it.
func TestRelay(t *testing.T) {
	in, out := file(t, strings.Repeat("input ", 50000)), file(t, "")
	pr, pw, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer pr.Close()
	defer pw.Close()
	r, err := newRelay()
	if err != nil {
		t.Fatal(err)
	}
	fds, start, err := r.stdio([3]int{int(in.Fd()), int(out.Fd()), int(pw.Fd())})
	if err != nil {
		t.Fatal(err)
	}
	if fds[2] != int(pw.Fd()) {
		t.Error("a pipe of the caller's was replaced")
	}
	if fds[0] == int(in.Fd()) || fds[1] == int(out.Fd()) {
		t.Fatal("a file of the caller's was handed in")
	}
	var held [2]*os.File
	for i := range held { // the process's copies
		fd, err := unix.Dup(fds[i])
		if err != nil {
			t.Fatal(err)
		}
		held[i] = os.NewFile(uintptr(fd), "end")
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFIFO {
			t.Errorf("descriptor %d is no pipe", i)
		}
	}
	r.started()
	start()
	got, err := io.ReadAll(held[0])
	if err != nil || len(got) != 300000 {
		t.Errorf("read %d bytes, %v", len(got), err)
	}
	want := strings.Repeat("output\n", 30000)
	if _, err := held[1].WriteString(want); err != nil {
		t.Fatal(err)
	}
	// Somebody else in the container still holds its end: the copy must not wait for that.
	begin := time.Now()
	r.drain()
	if d := time.Since(begin); d > 5*time.Second {
		t.Errorf("drain took %v", d)
	}
	held[0].Close()
	held[1].Close()
	if data, _ := os.ReadFile(out.Name()); !bytes.Equal(data, []byte(want)) {
		t.Errorf("%d bytes of %d arrived", len(data), len(want))
	}
}

func TestRelayClosed(t *testing.T) {
	r, err := newRelay()
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	fds, _, err := r.stdio([3]int{-1, -1, -1})
	if err != nil {
		t.Fatal(err)
	}
	for i, fd := range fds {
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil || st.Rdev != unix.Mkdev(1, 3) {
			t.Errorf("descriptor %d is not /dev/null", i)
		}
	}
}

func TestHome(t *testing.T) {
	const passwd = "root:x:0:0:root:/root:/bin/sh\r\nbad\nshort:x:5:5\nrel:x:6:6::relative:\nuser:x:1000:1000:a:b:/wrong\nnul:x:7:7::/a\x00b:/bin/sh\nlast:x:8:8::/last"
	for uid, want := range map[uint32]string{0: "/root", 5: "/", 6: "/", 7: "/", 8: "/last", 9: "/", 1000: "/"} {
		if got := parseHome([]byte(passwd), uid); got != want {
			t.Errorf("uid %d: %q, want %q", uid, got, want)
		}
	}
	dir := t.TempDir()
	if got := homeInRoot(dir, 0); got != "/" {
		t.Errorf("no passwd: %q", got)
	}
	if err := os.MkdirAll(dir+"/etc", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(dir+"/etc/passwd", 0o644); err != nil { // must not hang
		t.Fatal(err)
	}
	if got := homeInRoot(dir, 0); got != "/" {
		t.Errorf("a fifo: %q", got)
	}
	outside := dir + "-outside"
	if err := os.WriteFile(outside, []byte("root:x:0:0::/host:\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	defer os.Remove(outside)
	_ = os.Remove(dir + "/etc/passwd")
	if err := os.Symlink(outside, dir+"/etc/passwd"); err != nil {
		t.Fatal(err)
	}
	if got := homeInRoot(dir, 0); got != "/" {
		t.Errorf("a link out of the root was followed: %q", got)
	}
}

func TestListen(t *testing.T) {
	for _, test := range []struct {
		pid, fds string
		want     int
	}{{"self", "2", 2}, {"1", "2", 0}, {"self", "0", 0}, {"self", "x", 0}, {"", "2", 0}} {
		pid := test.pid
		if pid == "self" {
			pid = itoa(os.Getpid())
		}
		t.Setenv("LISTEN_PID", pid)
		t.Setenv("LISTEN_FDS", test.fds)
		t.Setenv("LISTEN_FDNAMES", "a:b")
		if got := ListenFromEnv(); got.N != test.want {
			t.Errorf("%+v gives %+v", test, got)
		}
	}
	if got := (ListenFDs{N: 2, Names: "a:b"}).env(); strings.Join(got, " ") != "LISTEN_FDS=2 LISTEN_PID=1 LISTEN_FDNAMES=a:b" {
		t.Errorf("env %q", got)
	}
	if got := (ListenFDs{}).env(); got != nil {
		t.Errorf("env of none %q", got)
	}
}
