package layer_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bulkhead-engine/bulkhead/internal/image/layer"
	"golang.org/x/sys/unix"
)

// script makes a tree with all that a layer may hold.
const script = `set -e
mkdir -p d/e/f d/mode1777 long; chmod 1777 d/mode1777; chmod 2755 d/e
echo hello > d/file; chmod 4755 d/file; chown 65535:65534 d/file; chmod 4755 d/file
ln d/file d/hard; ln -s ../file d/e/soft; mkfifo d/fifo; mknod d/null c 1 3; mknod d/disk b 8 1
truncate -s 8M sparse; printf x | dd of=sparse bs=1 seek=5000000 conv=notrunc status=none; printf y >> sparse
n=$(printf 'n%.0s' $(seq 200)); mkdir -p long/$n/$n; echo x > long/$n/$n/$n; ln -s long/$n/$n/$n deep
printf x > "$(printf '\377\376')"; setfattr -n user.note -v value d/file; setcap cap_net_raw+ep d/e/../file 2>/dev/null || true
: > empty; chown 3000000:7 empty
touch -d '2001-02-03 04:05:06' d/e/f d/e d d/file long`

// TestLikeTar: GNU tar's and bsdtar's archives, in each format, unpack to what GNU tar and bsdtar make of them.
func TestLikeTar(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	source := t.TempDir()
	run(t, source, "sh", "-c", script)
	archives := map[string][]string{
		"gnu":        {"tar", "--format=gnu", "-S", "-cf", "@", "."},
		"pax":        {"tar", "--format=pax", "--xattrs", "--xattrs-include=*", "-S", "-cf", "@", "."},
		"pax-0.1":    {"tar", "--format=pax", "--sparse-version=0.1", "-S", "-cf", "@", "."},
		"pax-0.0":    {"tar", "--format=pax", "--sparse-version=0.0", "-S", "-cf", "@", "."},
		"pax-dense":  {"tar", "--format=pax", "--xattrs", "--xattrs-include=*", "-cf", "@", "."},
		"ustar":      {"tar", "--format=ustar", "--exclude=long", "--exclude=deep", "--exclude=empty", "-cf", "@", "."},
		"v7":         {"tar", "--format=v7", "--exclude=long", "--exclude=deep", "--exclude=empty", "--exclude=d/null", "--exclude=d/disk", "--exclude=d/fifo", "-cf", "@", "."},
		"bsdtar-pax": {"bsdtar", "--format=pax", "-cf", "@", "."},
		"bsdtar-gnu": {"bsdtar", "--format=gnutar", "-cf", "@", "."},
	}
	w := start(t, layer.Options{})
	for name, args := range archives {
		t.Run(name, func(t *testing.T) {
			if _, err := exec.LookPath(args[0]); err != nil {
				t.Skip(err)
			}
			file := filepath.Join(t.TempDir(), "archive")
			for i := range args {
				if args[i] == "@" {
					args[i] = file
				}
			}
			run(t, source, args[0], args[1:]...)
			theirs := t.TempDir()
			if args[0] == "bsdtar" { // GNU tar loses times of directories that its order does not keep together
				run(t, theirs, "bsdtar", "--numeric-owner", "-xpf", file)
			} else {
				run(t, theirs, "tar", "--xattrs", "--xattrs-include=*", "--numeric-owner", "-xpf", file)
			}
			f, err := os.Open(file)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if _, err := w.Unpack(context.Background(), layer.Request{Name: name, Stream: f, MediaType: plain}); err != nil {
				t.Fatal(err)
			}
			if a, b := describe(t, w.Path(name)), describe(t, theirs); a != b {
				for i, line := range strings.Split(a, "\n") {
					if other := strings.Split(b+strings.Repeat("\n", i), "\n")[i]; line != other {
						t.Errorf("ours %.300s\ntar's %.300s", line, other)
					}
				}
			}
			var st unix.Stat_t
			if err := unix.Stat(filepath.Join(w.Path(name), "sparse"), &st); err != nil || st.Blocks > 512 {
				t.Errorf("sparse has %d blocks, %v", st.Blocks, err)
			}
		})
	}
}

func run(t *testing.T, dir, program string, args ...string) {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s %v: %v: %s", program, args, err, out)
	}
}

// describe lists names, modes, owners, times, contents, links and attributes.
func describe(t *testing.T, root string) string {
	t.Helper()
	var b bytes.Buffer
	first := map[uint64]string{}
	var walk func(dir string)
	walk = func(dir string) {
		entries, err := os.ReadDir(filepath.Join(root, dir))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			name := filepath.Join(dir, e.Name())
			path := filepath.Join(root, name)
			var st unix.Stat_t
			if err := unix.Lstat(path, &st); err != nil {
				t.Fatal(err)
			}
			if first[st.Ino] == "" {
				first[st.Ino] = name
			}
			fmt.Fprintf(&b, "%.100q %o %d:%d %x %d.%d = %.100q", name, st.Mode, st.Uid, st.Gid, st.Rdev, st.Mtim.Sec, st.Mtim.Nsec, first[st.Ino])
			link, _ := os.Readlink(path)
			if e.Type().IsRegular() {
				data, err := os.ReadFile(path)
				fmt.Fprintf(&b, " %d %q %v", len(data), bytes.Trim(data, "\x00"), err)
				for _, x := range []string{"user.note", "security.capability"} {
					buf := make([]byte, 100)
					if n, err := unix.Lgetxattr(path, x, buf); err == nil {
						fmt.Fprintf(&b, " %s=%x", x, buf[:n])
					}
				}
			}
			fmt.Fprintf(&b, " %s\n", link)
			if e.IsDir() {
				walk(name)
			}
		}
	}
	walk("")
	return b.String()
}
