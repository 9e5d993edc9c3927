package doctor

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/linux/procfs"
	"github.com/bulkhead-engine/bulkhead/internal/linux/sys"
	"golang.org/x/sys/unix"
)

// Options says for whom the host is examined.
type Options struct {
	StateDir string        // of containers; "" where there is none to be had
	Patience time.Duration // how long one thing may take to answer; 0: 2 s
}

// Examine asks the host. It may be called by anybody anywhere, and what it cannot see stays unknown.
func Examine(ctx context.Context, o Options) *Facts {
	if o.Patience <= 0 {
		o.Patience = 2 * time.Second
	}
	ctx, cancel := context.WithTimeout(ctx, 3*o.Patience)
	defer cancel()
	e := &examiner{ctx: ctx, o: o}
	f := &Facts{}
	f.Caller = e.caller()
	f.Host = e.host(&f.Caller)
	f.Settings = settings()
	// The parts do not depend on each other. Each waits for itself only, so that one that hangs takes no other's answer along.
	kernel := later(func() Kernel { return e.kernel(&f.Caller) })
	modules := later(func() Modules { return e.modules(&f.Caller, f.Host.Release) })
	cgroups := later(func() Cgroups { return e.cgroups(&f.Caller) })
	places := later(func() []Place { return e.places(&f.Caller) })
	maps := later(func() Maps { return e.maps(&f.Caller) })
	wait(e, f, "kernel", kernel, &f.Kernel)
	wait(e, f, "security modules", modules, &f.Modules)
	wait(e, f, "control groups", cgroups, &f.Cgroups)
	wait(e, f, "file systems", places, &f.Places)
	wait(e, f, "maps of ids", maps, &f.Maps)
	return f
}

// An examiner is one examination.
type examiner struct {
	ctx context.Context
	o   Options
}

// later begins to ask.
func later[T any](ask func() T) <-chan T {
	c := make(chan T, 1)
	go func() { c <- ask() }()
	return c
}

// wait takes an answer, or notes that there was none in time. Whoever still asks is left behind with what it has.
func wait[T any](e *examiner, f *Facts, what string, c <-chan T, to *T) {
	select {
	case *to = <-c:
	case <-e.ctx.Done():
		f.Silent = append(f.Silent, what)
	}
}

// within asks, and gives up after the patience: false.
func within[T any](e *examiner, ask func() T) (T, bool) {
	t := time.NewTimer(e.o.Patience)
	defer t.Stop()
	select {
	case answer := <-later(ask):
		return answer, true
	case <-t.C:
	case <-e.ctx.Done():
	}
	var none T
	return none, false
}

// maxFile bounds what is read of one file, in bytes: ranges of ids of many users, a mount table.
const maxFile = 4 << 20

// read returns a file without space around it, "" if there is none, or none that this process may read. Nothing is decided by it but words.
func read(path string) string {
	b, err := sys.ReadFileAt(unix.AT_FDCWD, path, maxFile)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// readLink is read for a file that may be a link, as those of /etc.
func readLink(path string) string {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return ""
	}
	return read(real)
}

func exists(path string) bool {
	var st unix.Stat_t
	return unix.Stat(path, &st) == nil
}

// fsType is the magic number of the file system at path, 0 if that cannot be asked.
func fsType(path string) int64 {
	var st unix.Statfs_t
	if unix.Statfs(path, &st) != nil {
		return 0
	}
	return int64(st.Type)
}

// reason is an error for a line of the report.
func reason(err error) string {
	var errno syscall.Errno
	if errors.As(err, &errno) && err == error(errno) {
		return sys.ErrnoName(errno) + ", " + errno.Error()
	}
	return err.Error()
}

// settingNames are the sysctls that are asked for.
var settingNames = [...]string{
	"kernel.unprivileged_bpf_disabled", "kernel.kptr_restrict", "kernel.dmesg_restrict", "kernel.core_pattern", "kernel.io_uring_disabled",
	"user.max_user_namespaces", "kernel.unprivileged_userns_clone", "kernel.apparmor_restrict_unprivileged_userns",
	"fs.protected_symlinks", "fs.protected_hardlinks", "fs.protected_fifos", "fs.protected_regular",
	"net.ipv4.ip_unprivileged_port_start", "net.ipv4.ping_group_range",
}

func settings() []Setting {
	list := make([]Setting, 0, len(settingNames))
	for _, name := range settingNames {
		list = append(list, Setting{name, sysctl(name)})
	}
	return list
}

// sysctl reads a setting. Its dots stand for slashes.
func sysctl(name string) string { return read("/proc/sys/" + strings.ReplaceAll(name, ".", "/")) }

func (e *examiner) caller() Caller {
	c := Caller{UID: unix.Geteuid()}
	c.ProcMissing = fsType("/proc") != unix.PROC_SUPER_MAGIC
	c.SysMissing = fsType("/sys") != unix.SYSFS_MAGIC
	if fields := strings.Fields(read("/proc/self/uid_map")); len(fields) > 0 {
		c.InUserNS = len(fields) != 3 || fields[0] != "0" || fields[1] != "0" || fields[2] != "4294967295"
	}
	if v, err := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0); err == nil {
		c.NoNewPrivs = v == 1
	}
	if st, err := procfs.ParseStatus([]byte(read("/proc/self/status"))); err == nil {
		c.Seccomp = st.Seccomp != 0
	}
	c.Privileged = c.UID == 0 && !c.InUserNS && capable(unix.CAP_SYS_ADMIN)
	for _, l := range []struct {
		which int
		to    *uint64
	}{{unix.RLIMIT_NOFILE, &c.NoFile}, {unix.RLIMIT_NPROC, &c.NProc}, {unix.RLIMIT_MEMLOCK, &c.MemLock}} {
		var r unix.Rlimit
		if unix.Getrlimit(l.which, &r) == nil {
			*l.to = r.Max
		}
	}
	for _, m := range mountTable() {
		if m.Point == "/proc" {
			c.Hidepid = hidepid(m.Super)
		}
	}
	c.Name = userName(c.UID)
	c.Systemd, c.Report = findHelper("bulkhead-systemd"), findHelper("bulkhead-report")
	e.session(&c)
	return c
}

// capable reports whether this thread has a capability in its user namespace.
func capable(capability int) bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	return unix.Capget(&header, &data[0]) == nil && data[capability/32].Effective&(1<<(capability%32)) != 0
}

// hidepid finds the option among those of a procfs (proc(5)).
func hidepid(options string) string {
	for o := range strings.SplitSeq(options, ",") {
		if v, ok := strings.CutPrefix(o, "hidepid="); ok && v != "0" && v != "off" {
			return v
		}
	}
	return ""
}

// mountTable is the mounts of this process, nil if that cannot be read.
func mountTable() []procfs.Mount {
	list, err := procfs.ParseMountinfo([]byte(read("/proc/self/mountinfo")))
	if err != nil {
		return nil
	}
	return list
}

// userName looks into /etc/passwd. A user whom only a directory server knows is called by what the environment says of him.
func userName(uid int) string {
	if name := nameOf(readLink("/etc/passwd"), uid); name != "" {
		return name
	}
	if name := os.Getenv("USER"); isName(name) {
		return name
	}
	return ""
}

// findHelper looks where the runtime looks: beside the program, and in ../libexec/bulkhead.
func findHelper(name string) Helper {
	self, err := os.Executable()
	if err != nil {
		return Helper{}
	}
	dir := filepath.Dir(self)
	for _, path := range []string{filepath.Join(dir, name), filepath.Join(dir, "../libexec/bulkhead", name)} {
		if unix.Access(path, unix.X_OK) == nil {
			return Helper{Path: path, Seen: dir}
		}
	}
	return Helper{Seen: dir}
}

// session looks at what a login gives a user.
func (e *examiner) session(c *Caller) {
	run := "/run/user/" + number(c.UID)
	c.HasRunUser = ownDir(run, c.UID) == ""
	c.RuntimeDir = os.Getenv("XDG_RUNTIME_DIR")
	switch {
	case c.RuntimeDir == "":
		c.RuntimeDirOK = "not set"
	case !filepath.IsAbs(c.RuntimeDir):
		c.RuntimeDirOK = "not an absolute path: " + c.RuntimeDir
	default:
		text, answered := within(e, func() string { return ownDir(c.RuntimeDir, c.UID) })
		if !answered {
			text = "does not answer"
		}
		if text != "" {
			c.RuntimeDirOK = c.RuntimeDir + " " + text
		}
	}
	c.Linger = c.Name != "" && !strings.Contains(c.Name, "/") && exists("/var/lib/systemd/linger/"+c.Name)
}

// ownDir returns "" if the directory is there and the user's alone, else what is wrong with it.
func ownDir(path string, uid int) string {
	var st unix.Stat_t
	switch err := unix.Stat(path, &st); {
	case err == unix.ENOENT:
		return "does not exist"
	case err != nil:
		return "cannot be looked at: " + err.Error()
	case st.Mode&unix.S_IFMT != unix.S_IFDIR:
		return "is not a directory"
	case int(st.Uid) != uid:
		return "belongs to another user"
	case st.Mode&0o022 != 0:
		return "may be written by others"
	}
	return ""
}
