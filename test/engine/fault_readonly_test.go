package engine

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestReadOnlyState: on a disk that is mounted read-only what only looks works, and what changes something says one sentence with a hint. A monitor that cannot record an end is no reason to have none.
func TestReadOnlyState(t *testing.T) {
	l := newLine(t)
	for _, args := range []string{"run -d --network none --name good busybox sh -c", "create --network none --name still busybox true"} {
		words := strings.Fields(args)
		if words[0] == "run" {
			words = append(words, "echo up; sleep 1000")
		}
		if r := l.do("", words...); r.code != 0 {
			t.Fatalf("%+v", r)
		}
	}
	for r := l.do("", "logs", "good"); r.out != "up\n"; r = l.do("", "logs", "good") {
		if r.code != 0 {
			t.Fatalf("%+v", r)
		}
	}
	root := filepath.Join(l.dir, "root")
	if err := unix.Mount(root, root, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unix.Unmount(root, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	}()
	if err := unix.Mount("", root, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	for args, want := range map[string]string{"ps": "good", "ps -a": "still", "inspect good": `"/good"`, "inspect still": `"/still"`, "logs good": "up", "images": "busybox", "exec good echo in": "in\n", "stats --no-stream good": "good"} {
		if r := l.do("", strings.Fields(args)...); r.code != 0 || !strings.Contains(r.out, want) {
			t.Errorf("%s: %+v", args, r)
		}
	}
	for _, args := range []string{"run --network none busybox true", "create --network none busybox true", "start still", "rm still", "rename still other", "update --memory 64m still", "rm -f good"} {
		r := l.do("", strings.Fields(args)...)
		if r.code == 0 || !strings.Contains(r.problems, filepath.Join(root, "containers")+": read-only file system\n") || !strings.Contains(r.problems, "hint: mount it writable") || strings.Count(r.problems, "\n") > 2 {
			t.Errorf("%s: %+v", args, r)
		}
	}
	if r := l.do("", "stop", "-t", "0", "good"); r.code != 0 {
		t.Errorf("%+v", r)
	}
	if r := l.do("", "ps", "-a"); r.code != 0 || strings.Contains(r.out, "Up ") {
		t.Errorf("%+v", r)
	}
	if entries, err := os.ReadDir(filepath.Join(root, "containers")); err != nil || len(entries) != 2 {
		t.Errorf("%v, %v", entries, err)
	}
}
