package layer_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/image/layer"
	"golang.org/x/sys/unix"
)

// TestWithoutRoot unpacks as a user who has no subordinate ids: root's files work, others are an error with the way out, or squashed; devices are
// skipped and counted; opaque directories are marked in the user namespace of attributes.
func TestWithoutRoot(t *testing.T) {
	if dir := os.Getenv("BULKHEAD_TEST_ROOTLESS"); dir != "" {
		withoutRoot(t, dir)
		return
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root, to be another user")
	}
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "bulkhead-rootless-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	const user = 54321
	run(t, dir, "sh", "-c", "mkdir a b && cp "+path+" bulkhead-unpack && cp "+os.Args[0]+" test && chmod -R 755 . && chown -R 54321:54321 .")
	cmd := exec.Command(filepath.Join(dir, "test"), "-test.run", "^TestWithoutRoot$", "-test.v")
	cmd.Env = []string{"BULKHEAD_TEST_ROOTLESS=" + dir, "PATH=" + os.Getenv("PATH"), "TMPDIR=" + dir}
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: user, Gid: user}}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

func withoutRoot(t *testing.T, dir string) {
	t.Helper()
	ctx := context.Background()
	for name, squash := range map[string]bool{"a": false, "b": true} {
		w, err := layer.NewWorker(ctx, layer.Options{Dir: filepath.Join(dir, name), Program: filepath.Join(dir, "bulkhead-unpack"), Squash: squash})
		if err != nil {
			t.Fatal(err)
		}
		mine := archive(t, entry{name: "d/"}, entry{name: "d/.wh..wh..opq"}, entry{name: ".wh.gone"}, entry{name: "f", body: "x"}, entry{name: "null", typ: '3', major: 1, minor: 3})
		r, err := w.Unpack(ctx, layer.Request{Name: "0", Stream: stream(t, mine), MediaType: plain})
		if err != nil {
			t.Fatal(err)
		}
		if r.Skipped.Devices != 1 {
			t.Errorf("%+v", r.Skipped)
		}
		value := make([]byte, 1)
		if _, err := unix.Getxattr(filepath.Join(w.Path("0"), "d"), "user.overlay.opaque", value); err != nil || value[0] != 'y' {
			t.Errorf("no mark: %q, %v", value, err)
		}
		r, err = w.Unpack(ctx, layer.Request{Name: "1", Stream: stream(t, archive(t, entry{name: "f", uid: 33, gid: 33})), MediaType: plain})
		switch {
		case squash && (err != nil || r.Skipped.Owners != 1):
			t.Errorf("squash: %+v, %v", r.Skipped, err)
		case !squash && (err == nil || !strings.Contains(err.Error(), "33:33") || errdef.Hint(err) == ""):
			t.Errorf("an id that is not mapped: %v", err)
		}
		if err := w.Remove(ctx, "0"); err != nil {
			t.Error(err)
		}
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	}
}
