package lsm

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

func fileLabel(t *testing.T, path string) string {
	t.Helper()
	buf := make([]byte, 4096)
	n, err := unix.Lgetxattr(path, "security.selinux", buf)
	if err != nil {
		t.Fatalf("label of %s: %v", path, err)
	}
	return strings.TrimRight(string(buf[:n]), "\x00")
}

// insideSELinux is what containers of these tests do beside what a shell can. What they find goes to a file: the test's pipes are not theirs.
func insideSELinux(what, argument string) error {
	switch what {
	case "keyring": // opens its session keyring to everybody, as far as permissions go, and says its number and its label
		id, err := unix.KeyctlGetKeyringID(unix.KEY_SPEC_SESSION_KEYRING, false)
		if err != nil {
			return err
		}
		if _, err := unix.AddKey("user", "bulkhead", []byte("secret"), id); err != nil {
			return err
		}
		if err := unix.KeyctlSetperm(id, 0x3f3f3f3f); err != nil {
			return err
		}
		label, err := unix.KeyctlString(unix.KEYCTL_GET_SECURITY, id)
		if err != nil {
			return err
		}
		return os.WriteFile(argument, fmt.Appendf(nil, "%d %s", id, label), 0o644)
	case "keyring-of": // looks into the keyring with this number
		id, err := strconv.Atoi(argument)
		if err != nil {
			return err
		}
		if _, err := unix.KeyctlString(unix.KEYCTL_DESCRIBE, id); err != nil {
			return err
		}
		_, err = unix.KeyctlBuffer(unix.KEYCTL_READ, id, make([]byte, 64), 0)
		return err
	case "terminal": // makes a new one and writes through it
		master, err := os.OpenFile(argument, os.O_RDWR|unix.O_NOCTTY, 0)
		if err != nil {
			return err
		}
		defer master.Close()
		n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
		if err == nil {
			err = unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0)
		}
		if err != nil {
			return err
		}
		return os.WriteFile(fmt.Sprint("/dev/pts/", n), []byte("through"), 0)
	case "label": // gives a file the label of shared ones
		return unix.Setxattr(argument, "security.selinux", []byte("system_u:object_r:container_file_t:s0"), 0)
	}
	return fmt.Errorf("inside %s: no such thing", what)
}

// TestSELinuxKeyring: the session keyring has the container's label, for init and for exec, and is closed to another container that knows its number and
// that its permissions let in.
func TestSELinuxKeyring(t *testing.T) {
	enforcing(t)
	data := volume(t)
	one, two, same, off := labelled(t), labelled(t), newBox(t), newBox(t)
	relabel(t, data, one.labels.Mount, false)
	same.labels = allocate(t, same.id, "level:"+one.labels.Level)
	same.spec.Process.SelinuxLabel, same.spec.Linux.MountLabel = same.labels.Process, same.labels.Mount
	relabel(t, filepath.Join(same.dir, "rootfs"), same.labels.Mount, false)
	one.bind(data, "/data")
	one.start("sh", "-c", "inside keyring /data/init; exec sleep 1000")
	// A keyring ends with the last process that has it.
	if r := one.command("exec", "--detach", one.id, "sh", "-c", "inside keyring /data/exec; exec sleep 1000"); r.code != 0 {
		t.Fatalf("exec: %d: %s", r.code, r.out)
	}
	for _, file := range []string{"init", "exec"} {
		var text []byte
		for n := 0; len(text) == 0 && n < 100; n++ {
			one.try("alive", try{"sleep 0.1", true})
			text, _ = os.ReadFile(filepath.Join(data, file))
		}
		id, label, _ := strings.Cut(string(text), " ")
		if strings.TrimRight(label, "\x00") != one.labels.Process {
			t.Errorf("%s: the keyring is %q, want %q", file, label, one.labels.Process)
		}
		for who, b := range map[string]*box{"another": two, "of the same level": same, "without a label": off} {
			if r := b.run("inside", "keyring-of", id); (r.code == 0) != (b != two) {
				t.Errorf("%s keyring, a container %s: %d: %s", file, who, r.code, r.out)
			}
			b.command("delete", "--force", b.id)
		}
	}
}

// TestSELinuxNested: on mounts with the option that label=nested asks for, a container may label its files; on others it may not.
func TestSELinuxNested(t *testing.T) {
	enforcing(t)
	for _, nested := range []bool{false, true} {
		values := []string{"type:spc_t"}
		if nested {
			values = append(values, "nested")
		}
		b := labelled(t, values...)
		changes := b.labels.Nesting()
		b.spec.Mounts = append(b.spec.Mounts, specs.Mount{Destination: "/tmp", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid"}})
		if nested {
			last := &b.spec.Mounts[len(b.spec.Mounts)-1]
			last.Options = append(last.Options, changes.MountOption+`="`+b.labels.Mount+`"`)
		}
		for _, dir := range changes.Show {
			b.bind(dir, dir)
		}
		b.start("sleep", "1000")
		b.try(fmt.Sprintf("nested %v", nested), try{"echo x >/tmp/file && cat /tmp/file", true}, try{"inside label /tmp/file", nested}, try{"test -e /sys/fs/selinux/enforce", nested})
	}
}
