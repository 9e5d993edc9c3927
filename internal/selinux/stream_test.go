package selinux

import (
	"os"
	"strings"
	"testing"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"golang.org/x/sys/unix"
)

// A pipe with a label and one without carry the same, end when the last writer closes, and leave no name.
func TestPipe(t *testing.T) {
	dir := t.TempDir()
	at, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	must(t, err)
	defer unix.Close(at)
	for _, label := range []string{"", "system_u:object_r:container_file_t:s0:c1,c2"} {
		r, w, err := Pipe(at, label)
		if label != "" && Current() == Disabled && errdef.Is(err, errdef.Denied) {
			t.Logf("only root may write the attribute where no SELinux looks after it: %v", err)
			continue
		}
		must(t, err)
		reader, writer := os.NewFile(uintptr(r), "r"), os.NewFile(uintptr(w), "w")
		for _, fd := range []int{r, w} {
			flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
			closes, err2 := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
			if err != nil || err2 != nil || flags&unix.O_NONBLOCK != 0 || closes != unix.FD_CLOEXEC {
				t.Errorf("%q: flags %#x, %#x", label, flags, closes)
			}
		}
		if label != "" {
			buf := make([]byte, 256)
			n, err := unix.Fgetxattr(w, attribute, buf)
			if err != nil || strings.TrimRight(string(buf[:n]), "\x00") != label {
				t.Errorf("label %q, %v", buf[:max(n, 0)], err)
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
	if _, _, err := Pipe(-1, "x:y:z"); err == nil {
		t.Error("a pipe in no directory")
	}
	if names, err := os.ReadDir(dir); err != nil || len(names) != 0 {
		t.Errorf("left: %v, %v", names, err)
	}
}
