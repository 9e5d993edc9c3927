package apparmor

import (
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/linux/procfs"
	"github.com/bulkhead-engine/bulkhead/internal/linux/sys"
	"golang.org/x/sys/unix"
)

// A kernel is where profiles are loaded: a directory of securityfs.
type kernel string

const hostKernel kernel = "/sys/kernel/security/apparmor"

// ready returns why nothing can be loaded, nil if it can.
func (k kernel) ready() error {
	fd, err := unix.Open(string(k)+"/.replace", unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err == nil {
		unix.Close(fd)
		if firstUserNamespace() {
			return nil
		}
		err = unix.EPERM
	}
	hint := "mount it: mount -t securityfs securityfs /sys/kernel/security"
	if err == unix.EACCES || err == unix.EPERM {
		hint = "it takes CAP_MAC_ADMIN in the first user namespace; have an administrator load a profile, and name it in process.apparmorProfile"
	}
	err = errdef.Errorf(errdef.Unsupported, "apparmor: load a profile: %s/.replace: %w", k, err)
	return errdef.WithHint(err, hint)
}

// firstUserNamespace reports whether all user ids are mapped to themselves, as user_namespaces(7) has it for the first namespace. In others the files
// can be opened, and no profile can be loaded.
func firstUserNamespace() bool {
	proc, err := procfs.Host()
	if err != nil {
		return false
	}
	b, err := proc.Read("self/uid_map")
	return err == nil && strings.Join(strings.Fields(string(b)), " ") == "0 0 4294967295"
}

// load loads a compiled profile, or replaces the one with its name. The kernel takes a profile in one write or not at all.
func (k kernel) load(blob []byte) error { return k.write(".replace", blob) }

// remove removes a profile; it is no error if there is none.
func (k kernel) remove(name string) error {
	err := k.write(".remove", []byte(name))
	if err == unix.ENOENT {
		return nil
	}
	return err
}

func (k kernel) write(file string, data []byte) error {
	fd, err := unix.Open(string(k)+"/"+file, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	n, err := unix.Write(fd, data)
	if err == nil && n != len(data) {
		err = unix.EIO
	}
	return err
}

// loaded reports whether the kernel has a profile of this name.
func (k kernel) loaded(name string) (bool, error) {
	b, err := sys.ReadFileAt(unix.AT_FDCWD, string(k)+"/profiles", 8<<20)
	if err != nil {
		return false, errdef.Errorf(errdef.Unavailable, "apparmor: %s/profiles: %w", k, err)
	}
	for line := range strings.Lines(string(b)) {
		if strings.HasPrefix(line, name+" (") {
			return true, nil
		}
	}
	return false, nil
}

// used reports whether a process is confined by a profile. It reads all of /proc: for the rare case only.
func (k kernel) used(name string) (bool, error) {
	proc, err := procfs.Host()
	if err != nil {
		return true, err
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return true, err
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		b, err := proc.Read(procfs.Path(pid, "attr/apparmor/current"))
		if err != nil {
			b, err = proc.Read(procfs.Path(pid, "attr/current"))
		}
		if err == nil && confines(string(b), name) {
			return true, nil
		}
	}
	return false, nil
}

// confines reports whether a label, as /proc/PID/attr/current has it, is or contains a profile: name (mode), or name//&name (mode).
func confines(label, name string) bool {
	label, _, _ = strings.Cut(label, " (")
	return slices.Contains(strings.Split(strings.TrimRight(label, "\x00\n"), "//&"), name)
}
