package cgroup

import (
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
)

// enable hands the controllers down to the children of each directory from the mount point to the parent (cgroup-v2.rst, "Enabling and
// Disabling"): all that there are, so that usage is counted also where nothing is limited. What cannot be handed down is no error as
// long as no setting needs it; then its file lacks, and that is said.
//
// In hybrid mode the hierarchy is other people's business, and only what a setting needs is handed down.
func (d *dir) enable(parent int, settings []setting, mode Mode) error {
	available, err := readFile(d.root, "cgroup.controllers")
	if err != nil {
		return errdef.Errorf(kindOf(err), "cgroup %s: cgroup.controllers: %w", d.mount, err)
	}
	want := strings.Fields(available)
	if mode != V2 {
		want = slices.DeleteFunc(want, func(c string) bool { return !besideV1[c] || !needs(settings, c) })
	}
	if len(want) == 0 {
		return nil
	}
	if err := handDown(d.root, want, settings); err != nil || parent == d.root {
		return err
	}
	parts := strings.Split(d.path, "/")
	cur := d.root
	defer func() {
		if cur != d.root {
			unix.Close(cur)
		}
	}()
	for _, part := range parts[:len(parts)-1] {
		next, err := openFile(cur, part, unix.O_RDONLY|unix.O_DIRECTORY)
		if err != nil {
			return errdef.Errorf(kindOf(err), "cgroup %s/%s: %w", d.mount, part, err)
		}
		if cur != d.root {
			unix.Close(cur)
		}
		cur = next
		if err := handDown(cur, want, settings); err != nil {
			return err
		}
	}
	return nil
}

// handDown enables the controllers for the children of one directory. A write of several is refused as a whole for one of them, so then
// each is tried alone. That the kernel refuses matters only for controllers that are needed. A cgroup with processes hands down none, which is
// not left to the kernel: it would take some (cpu, cpuset, pids) and make the cgroup threaded for it, which is not ours to do to its owner.
func handDown(dirfd int, want []string, settings []setting) error {
	text, err := readFile(dirfd, "cgroup.subtree_control")
	if err != nil {
		return errdef.Errorf(kindOf(err), "cgroup.subtree_control: %w", err)
	}
	on := strings.Fields(text)
	var lack []string
	for _, c := range want {
		if !slices.Contains(on, c) {
			lack = append(lack, "+"+c)
		}
	}
	if len(lack) == 0 {
		return nil
	}
	if _, err := readFile(dirfd, "cgroup.type"); err == nil { // not the root, which may have both
		if pids, err := procsOf(dirfd); err == nil && len(pids) > 0 {
			for _, c := range lack {
				if needs(settings, c[1:]) {
					return errdef.WithHint(errdef.Errorf(errdef.Conflict, "cgroup.subtree_control: %q: the parent cgroup has processes of its own", c),
						"move them into a cgroup below it, or choose another linux.cgroupsPath")
				}
			}
			return nil
		}
	}
	if writeFile(dirfd, "cgroup.subtree_control", strings.Join(lack, " ")) == nil {
		return nil
	}
	for _, c := range lack {
		err := writeFile(dirfd, "cgroup.subtree_control", c)
		if err != nil && errnoOf(err) == unix.EBUSY && needs(settings, c[1:]) {
			return errdef.WithHint(errdef.Errorf(errdef.Conflict, "cgroup.subtree_control: %q: %w", c, err), "choose another linux.cgroupsPath")
		}
	}
	return nil
}

func needs(settings []setting, controller string) bool {
	return slices.ContainsFunc(settings, func(s setting) bool { return s.controller == controller && !s.optional })
}

// Chown gives a v2 group to a user, who may then make cgroups in it and spread its processes over them: the directory, and the files that
// the kernel names as safe for that in /sys/kernel/cgroup/delegate (Linux 4.15; cgroups(7), "Cgroups delegation"). It is for a container
// with a cgroup namespace, a user namespace and a writable cgroup file system. Without a v2 hierarchy it does nothing: v1 has no safe
// delegation.
func (g *Group) Chown(uid int) error {
	d := g.unifiedDir()
	if d == nil || g.mode != V2 {
		return nil
	}
	if err := d.open(); err != nil {
		return err
	}
	names := []string{"cgroup.procs", "cgroup.threads", "cgroup.subtree_control"}
	if text, err := os.ReadFile("/sys/kernel/cgroup/delegate"); err == nil {
		names = strings.Fields(string(text))
	}
	if err := unix.Fchown(d.fd, uid, -1); err != nil {
		return errdef.Errorf(kindOf(err), "cgroup %s: give to user %d: %w", d.name(), uid, err)
	}
	for _, name := range names {
		if strings.Contains(name, "/") {
			continue
		}
		err := unix.Fchownat(d.fd, name, uid, -1, unix.AT_SYMLINK_NOFOLLOW)
		if err != nil && !gone(err) {
			return errdef.Errorf(kindOf(err), "cgroup %s: give %s to user %d: %w", d.name(), name, uid, err)
		}
	}
	return nil
}
