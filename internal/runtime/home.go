package runtime

import (
	"bytes"
	"slices"
	"strconv"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/linux/procfs"
	"github.com/bulkhead-engine/bulkhead/internal/linux/resolve"
	"golang.org/x/sys/unix"
)

// maxPasswd is how much of a container's /etc/passwd is looked at, in bytes. The image wrote it.
const maxPasswd = 1 << 20

// completeEnv returns an environment in which each variable stands once, with the value and at the place of its last entry, and HOME is set: one
// that is missing or empty is what home returns. Programs disagree about which of two entries counts (a shell takes the last, getenv(3) the
// first), so that a check made by one would not hold for the other. runc does both.
func completeEnv(env []string, home func() string) []string {
	out, homeless := make([]string, 0, len(env)+1), true
	seen := make(map[string]bool, len(env))
	for _, e := range slices.Backward(env) {
		name, value, _ := strings.Cut(e, "=")
		if seen[name] {
			continue
		}
		seen[name] = true
		if name == "HOME" {
			if homeless = value == ""; homeless {
				continue
			}
		}
		out = append(out, e)
	}
	slices.Reverse(out)
	if homeless {
		out = append(out, "HOME="+home())
	}
	return out
}

// homeInRoot returns the home directory of a user by the passwd(5) of a root directory, "/" if that says none: what runc sets HOME to when the
// configuration does not. Docker and containerd leave it to the runtime.
func homeInRoot(root string, uid uint32) string {
	dir, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "/"
	}
	defer unix.Close(dir)
	path, err := resolve.InRoot(dir, "/etc/passwd", unix.O_PATH)
	if err != nil {
		return "/"
	}
	defer unix.Close(path)
	var st unix.Stat_t
	if unix.Fstat(path, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
		return "/" // an image may have a device here, and to open some does something: a watchdog, a tape, a terminal
	}
	fd, err := unix.Open("/proc/self/fd/"+strconv.Itoa(path), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "/"
	}
	defer unix.Close(fd)
	data := make([]byte, min(st.Size, maxPasswd))
	n, err := unix.Read(fd, data)
	if err != nil {
		return "/"
	}
	return parseHome(data[:n], uid)
}

// homeOfProcess is homeInRoot for the root directory of a running container.
func homeOfProcess(pid int, uid uint32) string {
	return homeInRoot("/proc/"+procfs.Path(pid, "root"), uid)
}

// parseHome finds a user's home directory. What the image gives is passed on only if it can stand in an environment as a path.
func parseHome(passwd []byte, uid uint32) string {
	want := strconv.FormatUint(uint64(uid), 10)
	for line := range bytes.Lines(passwd) {
		fields := bytes.Split(bytes.TrimRight(line, "\r\n"), []byte{':'})
		if len(fields) < 6 || string(fields[2]) != want {
			continue
		}
		home := string(fields[5])
		if strings.HasPrefix(home, "/") && !strings.Contains(home, "\x00") {
			return home
		}
		return "/"
	}
	return "/"
}
