package labelpipe

import (
	"errors"
	"io"
	"os"
	"testing"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"golang.org/x/sys/unix"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// rooms are the directories that pipes are made in: one with a name, and one without where this process may mount.
func rooms(t *testing.T, dir string) []int {
	t.Helper()
	named, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	must(t, err)
	t.Cleanup(func() { unix.Close(named) })
	room, err := Room()
	if os.Geteuid() != 0 && errdef.Is(err, errdef.Denied) {
		t.Logf("only root may mount: %v", err)
		return []int{named}
	}
	must(t, err)
	t.Cleanup(func() { unix.Close(room) })
	return []int{named, room}
}

// A pipe with a label and one without carry the same, end when the last writer closes, and leave no name.
func TestPipe(t *testing.T) {
	dir := t.TempDir()
	for _, at := range rooms(t, dir) {
		for _, label := range []string{"", "system_u:object_r:container_file_t:s0:c1,c2"} {
			r, w, err := New(at, label)
			if label != "" && os.Geteuid() != 0 && errdef.Is(err, errdef.Denied) {
				t.Logf("only root may write the attribute where no SELinux looks after it: %v", err)
				continue
			}
			must(t, err)
			carries(t, label, r, w)
		}
	}
	if _, _, err := New(-1, "x:y:z"); err == nil {
		t.Error("a pipe in no directory")
	}
	if names, err := os.ReadDir(dir); err != nil || len(names) != 0 {
		t.Errorf("left: %v, %v", names, err)
	}
}

func carries(t *testing.T, label string, r, w int) {
	t.Helper()
	reader, writer := os.NewFile(uintptr(r), "r"), os.NewFile(uintptr(w), "w")
	for _, fd := range []int{r, w} {
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
		closes, err2 := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if err != nil || err2 != nil || flags&unix.O_NONBLOCK != 0 || closes != unix.FD_CLOEXEC {
			t.Errorf("%q: flags %#x, %#x", label, flags, closes)
		}
		if got := LabelOf(fd); label != "" && got != label {
			t.Errorf("label %q, want %q", got, label)
		}
	}
	go func() {
		_, _ = writer.WriteString("through")
		writer.Close()
	}()
	buf := make([]byte, 64)
	n, err := reader.Read(buf)
	if string(buf[:n]) != "through" || err != nil {
		t.Errorf("%q: %q, %v", label, buf[:n], err)
	}
	if n, err := reader.Read(buf); n != 0 || err == nil {
		t.Errorf("%q: no end: %d, %v", label, n, err)
	}
	reader.Close()
}

// TestRoom: a pipe outlives the room that it was made in, and the room is no mount that anybody sees.
func TestRoom(t *testing.T) {
	before, err := os.ReadFile("/proc/self/mountinfo")
	must(t, err)
	room, err := Room()
	if os.Geteuid() != 0 && errdef.Is(err, errdef.Denied) {
		t.Skipf("only root may mount: %v", err)
	}
	must(t, err)
	r, w, err := New(room, "system_u:object_r:container_file_t:s0")
	must(t, err)
	if after, err := os.ReadFile("/proc/self/mountinfo"); err != nil || string(after) != string(before) {
		t.Errorf("mounts before:\n%s\nand after: %v\n%s", before, err, after)
	}
	unix.Close(room)
	carries(t, "system_u:object_r:container_file_t:s0", r, w)
}

// TestFiles: the program's end blocks, as programs expect, and ours takes deadlines; both ends are one file, whose owner can be changed through either.
func TestFiles(t *testing.T) {
	for _, label := range []string{"", "system_u:object_r:container_file_t:s0:c1,c2"} {
		for _, in := range []bool{true, false} {
			theirs, ours, err := Files(label, in)
			if label != "" && os.Geteuid() != 0 && errdef.Is(err, errdef.Denied) {
				continue
			}
			must(t, err)
			raw, err := theirs.SyscallConn()
			must(t, err)
			must(t, raw.Control(func(fd uintptr) {
				flags, err := unix.FcntlInt(fd, unix.F_GETFL, 0)
				if err != nil || flags&unix.O_NONBLOCK != 0 || (flags&unix.O_ACCMODE == unix.O_RDONLY) != in {
					t.Errorf("%q, %v: their flags are %#x, %v", label, in, flags, err)
				}
			}))
			must(t, ours.SetDeadline(time.Now().Add(-time.Second)))
			buf := make([]byte, 8)
			if !in {
				if _, err := ours.Read(buf); !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("%q: a read after the deadline: %v", label, err)
				}
			}
			must(t, ours.SetDeadline(time.Time{}))
			from, to := ours, theirs
			if in {
				from, to = theirs, ours
			}
			_, err = to.WriteString("through")
			must(t, err)
			must(t, to.Close())
			if b, err := io.ReadAll(from); err != nil || string(b) != "through" {
				t.Errorf("%q, %v: %q, %v", label, in, b, err)
			}
			must(t, from.Close())
		}
	}
}
