package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// descriptors lists what this process inherited. It comes before any os.Open, which would make an epoll descriptor.
func descriptors([]string) {
	dir, err := syscall.Open("/proc/self/fd", syscall.O_RDONLY|syscall.O_DIRECTORY|syscall.O_CLOEXEC, 0)
	if err != nil {
		say("open /proc/self/fd: %v", err)
		return
	}
	buf := make([]byte, 1<<16)
	n, err := syscall.ReadDirent(dir, buf)
	if err != nil {
		say("read /proc/self/fd: %v", err)
		return
	}
	_, _, names := syscall.ParseDirent(buf[:n], -1, nil)
	for _, name := range names {
		fd, err := strconv.Atoi(name)
		if err != nil || fd == dir {
			continue
		}
		link, _ := os.Readlink("/proc/self/fd/" + name)
		say("%s -> %s", name, link)
		if fd > 2 {
			hit("descriptor %s -> %s", name, link)
		}
	}
}

// workingDirectory tries to climb from the working directory to a file of the host (args[0], an absolute path).
func workingDirectory(args []string) {
	cwd, err := os.Getwd()
	say("cwd %q %v", cwd, err)
	for depth := range 12 {
		name := strings.Repeat("../", depth) + strings.TrimPrefix(args[0], "/")
		if data, err := os.ReadFile(name); err == nil {
			hit("read %s through the working directory: %s", name, strings.TrimSpace(string(data)))
			return
		}
	}
}

// stat prints type and device number of each path, without following links.
func stat(paths []string) {
	for _, p := range paths {
		var st unix.Stat_t
		if err := unix.Lstat(p, &st); err != nil {
			say("%s: %v", p, err)
			continue
		}
		kinds := map[uint32]string{unix.S_IFCHR: "char", unix.S_IFBLK: "block", unix.S_IFREG: "file", unix.S_IFDIR: "dir", unix.S_IFLNK: "link"}
		say("%s: %s %d:%d", p, kinds[st.Mode&unix.S_IFMT], unix.Major(st.Rdev), unix.Minor(st.Rdev))
	}
}

// fileSystems prints the magic number of the file system at each path.
func fileSystems(paths []string) {
	for _, p := range paths {
		var st unix.Statfs_t
		if err := unix.Statfs(p, &st); err != nil {
			say("%s: %v", p, err)
			continue
		}
		say("%s: %#x", p, st.Type)
	}
}

// devices makes a node for each argument ("b:8:0") and opens it. The device cgroup answers EPERM before the driver is asked, so
// every other answer of open means that the device may be used.
func devices(args []string) {
	made := 0
	for i, a := range args {
		var kind string
		var major, minor uint32
		if _, err := fmt.Sscanf(strings.ReplaceAll(a, ":", " "), "%s %d %d", &kind, &major, &minor); err != nil {
			say("%s: %v", a, err)
			continue
		}
		mode := uint32(unix.S_IFCHR)
		if kind == "b" {
			mode = unix.S_IFBLK
		}
		node := filepath.Join("/tmp", "node"+strconv.Itoa(i))
		if err := unix.Mknod(node, mode|0o600, int(unix.Mkdev(major, minor))); err != nil {
			say("mknod %s: %v", a, err)
			continue
		}
		made++
		fd, err := unix.Open(node, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
		if !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.EACCES) {
			hit("device %s: open says %v", a, err)
		}
		if err == nil {
			_ = unix.Close(fd)
		}
		_ = unix.Unlink(node)
	}
	say("%d nodes made", made)
}

// cgroupFiles opens for writing whatever under /sys/fs/cgroup changes a limit, moves a process or names a program to run. Three
// hits are enough: in a container without any protection these are the host's cgroups.
func cgroupFiles([]string) {
	seen, hits := 0, 0
	_ = filepath.WalkDir("/sys/fs/cgroup", func(path string, d fs.DirEntry, err error) error {
		switch {
		case hits == 3:
			return filepath.SkipAll
		case err != nil: // what cannot be entered cannot be attacked
		case d.IsDir():
			var st unix.Statfs_t
			inside := unix.Statfs(path, &st) == nil && (st.Type == unix.CGROUP_SUPER_MAGIC || st.Type == unix.CGROUP2_SUPER_MAGIC)
			if group := filepath.Join(path, "attack"); inside && os.Mkdir(group, 0o755) == nil {
				hits++
				hit("made the cgroup %s", group)
				_ = os.Remove(group)
			}
		default:
			seen++
			if f, err := os.OpenFile(path, os.O_WRONLY, 0); err == nil {
				_ = f.Close()
				hits++
				hit("%s opens for writing", path)
			}
		}
		return nil
	})
	say("%d files seen", seen)
}
