package rootfs

// A Device is a device node.
type Device struct {
	Path         string
	Type         byte // 'c' character, 'b' block, 'p' FIFO
	Major, Minor uint32
	Mode         uint32 // permission bits
}

// A Link is a symbolic link.
type Link struct{ Path, Target string }

var devices = [...]Device{
	{"/dev/null", 'c', 1, 3, 0o666},
	{"/dev/zero", 'c', 1, 5, 0o666},
	{"/dev/full", 'c', 1, 7, 0o666},
	{"/dev/random", 'c', 1, 8, 0o666},
	{"/dev/urandom", 'c', 1, 9, 0o666},
	{"/dev/tty", 'c', 5, 0, 0o666},
}

// runtime-linux.md asks for the four links of standard input and output; ptmx is config-linux.md, "Default Devices".
var links = [...]Link{
	{"/dev/fd", "/proc/self/fd"},
	{"/dev/stdin", "/proc/self/fd/0"},
	{"/dev/stdout", "/proc/self/fd/1"},
	{"/dev/stderr", "/proc/self/fd/2"},
	{"/dev/ptmx", "pts/ptmx"},
}

// DefaultDevices returns the devices that every container has (runtime-spec config-linux.md, "Default Devices"), numbers as in the
// kernel's Documentation/admin-guide/devices.txt. /dev/console is a bind mount of the terminal and /dev/ptmx a link, both not here.
func DefaultDevices() []Device { return append([]Device(nil), devices[:]...) }

// DefaultLinks returns the symbolic links under /dev. kcore says whether the kernel has /proc/kcore (CONFIG_PROC_KCORE); the link
// /dev/core that programs expect then is made although the file itself is masked by default.
func DefaultLinks(kcore bool) []Link {
	l := append([]Link(nil), links[:]...)
	if kcore {
		l = append(l, Link{"/dev/core", "/proc/kcore"})
	}
	return l
}

// Reserved reports whether a path under /dev is made by the runtime whatever config.json says.
func Reserved(path string) bool {
	for i := range devices {
		if devices[i].Path == path {
			return true
		}
	}
	for i := range links {
		if links[i].Path == path {
			return true
		}
	}
	return path == "/dev/console" || path == "/dev/core"
}
