package conformance

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// init turns this binary into the first process of a cell, or into one that enters it. It runs
// before the testing package looks at the arguments, and on the main thread, which it keeps:
// namespaces are an attribute of a thread, and /proc/PID/ns shows those of the main one.
func init() {
	stage := os.Getenv(stageVar)
	if stage == "" {
		return
	}
	runtime.LockOSThread()
	var err error
	switch stage {
	case "hold":
		err = hold(strings.Split(os.Getenv(cellVar), ":"))
	case "join":
		err = join(strings.Split(os.Getenv(cellVar), ":"))
	default:
		err = fmt.Errorf("unknown stage %q", stage)
	}
	fmt.Fprintln(os.Stderr, "conformance cell:", err)
	os.Exit(125)
}

// hold makes the cell around the process and reaps until it is killed, or its standard input
// ends because the test died.
func hold(groups []string) error {
	mounts, err := cgroupMounts()
	if err != nil {
		return err
	}
	if err := enterGroups(groups); err != nil {
		return err
	}
	if err := unix.Unshare(unix.CLONE_NEWCGROUP); err != nil {
		return fmt.Errorf("unshare cgroup namespace: %w", err)
	}
	if unified(mounts) { // the namespace's root is the group that the process was in; now it goes to the leaf
		if err := divide(groups[0]); err != nil {
			return err
		}
	}
	if err := unix.Mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := furnish(mounts); err != nil {
		return err
	}
	if _, err := os.Stdout.WriteString("ready"); err != nil {
		return err
	}
	if err := os.Stdout.Close(); err != nil {
		return err
	}
	go reap()
	_, err = io.Copy(io.Discard, os.Stdin)
	return fmt.Errorf("the test has ended: %w", err)
}

// reap collects the orphans of the cell, as an init does.
func reap() {
	for {
		var info unix.Siginfo
		// WNOWAIT first: Wait4 alone would return ECHILD at once, and spin, while there is no child.
		if err := unix.Waitid(unix.P_ALL, 0, &info, unix.WEXITED|unix.WNOWAIT, nil); err != nil {
			_ = unix.Nanosleep(&unix.Timespec{Nsec: 20e6}, nil) // an early return only polls sooner
			continue
		}
		_, _ = unix.Wait4(-1, nil, unix.WNOHANG, nil) // ECHILD is met above
	}
}

// furnish mounts what a cell has of its own.
func furnish(groups []groupMount) error {
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	for _, dir := range []string{"/run", "/dev/shm"} {
		if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755"); err != nil {
			return fmt.Errorf("mount %s: %w", dir, err)
		}
	}
	for _, g := range slices.Backward(groups) {
		// A file system is refused on top of itself, whatever part of it the namespace shows.
		if err := unix.Unmount(g.point, unix.MNT_DETACH); err != nil {
			return fmt.Errorf("unmount %s: %w", g.point, err)
		}
	}
	if err := freshParent(groups); err != nil {
		return err
	}
	for _, g := range groups {
		if err := unix.Mount(g.fstype, g.point, g.fstype, unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, g.data); err != nil {
			return fmt.Errorf("mount %s at %s: %w", g.fstype, g.point, err)
		}
	}
	return nil
}

// freshParent covers the tmpfs that holds the mount points of v1 hierarchies, in which engines
// make folders for controllers that are not mounted.
func freshParent(groups []groupMount) error {
	const parent = "/sys/fs/cgroup"
	var fs unix.Statfs_t
	if err := unix.Statfs(parent, &fs); err != nil || fs.Type != unix.TMPFS_MAGIC {
		return err
	}
	if err := unix.Mount("tmpfs", parent, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "mode=755"); err != nil {
		return fmt.Errorf("mount %s: %w", parent, err)
	}
	for _, g := range groups {
		if err := os.MkdirAll(g.point, 0o755); err != nil {
			return err
		}
		// cpu,cpuacct is also known by the names of its parts
		for _, name := range strings.Split(filepath.Base(g.point), ",") {
			if name == filepath.Base(g.point) {
				continue
			}
			if err := os.Symlink(filepath.Base(g.point), filepath.Join(filepath.Dir(g.point), name)); err != nil {
				return err
			}
		}
	}
	return nil
}

// join enters the cell whose holder and cgroups it is told, and runs os.Args[1:] there.
func join(args []string) error {
	pid, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	groups := args[1:]
	if exists(filepath.Join(groups[0], leaf)) {
		groups = []string{filepath.Join(groups[0], leaf)}
	}
	if err := enterGroups(groups); err != nil {
		return err
	}
	holder, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return fmt.Errorf("open holder: %w", err)
	}
	dir, err := os.Getwd()
	if err != nil {
		return err
	}
	// setns(2): a thread that shares its root and working directory cannot change mount namespace.
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return fmt.Errorf("unshare root and working directory: %w", err)
	}
	if err := unix.Setns(holder, cellFlags|unix.CLONE_NEWCGROUP); err != nil {
		return fmt.Errorf("enter cell: %w", err)
	}
	cmd := exec.Command(os.Args[1], os.Args[2:]...)
	cmd.Dir = dir
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if os.Getenv(ttyVar) != "" {
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	}
	for _, v := range []string{stageVar, cellVar, ttyVar} {
		if err := os.Unsetenv(v); err != nil {
			return err
		}
	}
	err = cmd.Run()
	if cmd.ProcessState == nil {
		return err
	}
	if code := cmd.ProcessState.ExitCode(); code >= 0 {
		os.Exit(code)
	}
	return err
}

// groupMount is a mounted cgroup hierarchy.
type groupMount struct{ point, root, fstype, data string }

// cgroupMounts reads those that the process sees. data is what mounts the same hierarchy again:
// the controllers or the name of a v1 hierarchy (cgroups(7)).
func cgroupMounts() ([]groupMount, error) {
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	var mounts []groupMount
	for line := range strings.Lines(string(table)) {
		left, right, ok := strings.Cut(strings.TrimSpace(line), " - ")
		l, r := strings.Fields(left), strings.Fields(right)
		if !ok || len(l) < 5 || len(r) < 3 || (r[0] != "cgroup" && r[0] != "cgroup2") {
			continue
		}
		m := groupMount{point: l[4], root: l[3], fstype: r[0]}
		if m.fstype == "cgroup" {
			m.data = hierarchy(r[2])
		}
		mounts = append(mounts, m)
	}
	return mounts, nil
}

// unified says whether there is one hierarchy alone, of version 2.
func unified(mounts []groupMount) bool { return len(mounts) == 1 && mounts[0].fstype == "cgroup2" }

// hierarchy keeps of a v1 mount's options those that name it.
func hierarchy(options string) string {
	var kept []string
	for _, o := range strings.Split(options, ",") {
		switch {
		case o == "rw" || o == "ro" || o == "xattr" || o == "clone_children" || o == "noprefix":
		case strings.HasPrefix(o, "release_agent="):
		case strings.HasPrefix(o, "name="):
			kept = append(kept, "none", o)
		default:
			kept = append(kept, o)
		}
	}
	return strings.Join(kept, ",")
}

// enterGroups moves the process into a group of each hierarchy.
func enterGroups(groups []string) error {
	for _, g := range groups {
		if err := os.WriteFile(filepath.Join(g, "cgroup.procs"), []byte("0"), 0); err != nil {
			return fmt.Errorf("enter cgroup: %w", err)
		}
	}
	return nil
}
