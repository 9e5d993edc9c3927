package conformance

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// createGroups makes a cgroup of the given name in every mounted hierarchy. On error it leaves none.
func createGroups(name string) ([]string, error) {
	mounts, err := cgroupMounts()
	if err != nil {
		return nil, err
	}
	var groups []string
	for _, m := range mounts {
		dir := filepath.Join(m.point, name)
		err := os.Mkdir(dir, 0o755)
		if err == nil {
			groups = append(groups, dir)
			err = inheritCPUs(m.point, dir)
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("make cgroup: %w", err), removeGroups(groups))
		}
	}
	return groups, nil
}

// leaf is the group below a cell's own where its processes are on a unified hierarchy, in which a group that hands controllers down has no process
// of its own (cgroups(7), "no internal processes"). On a host it is where systemd puts the services.
const leaf = "judges"

// divide moves the process, the only one in the group, to the group's leaf and hands all controllers down: judges find the root of a hierarchy as on a host.
func divide(group string) error {
	if err := os.Mkdir(filepath.Join(group, leaf), 0o755); err != nil {
		return err
	}
	if err := enterGroups([]string{filepath.Join(group, leaf)}); err != nil {
		return err
	}
	controllers, err := os.ReadFile(filepath.Join(group, "cgroup.controllers"))
	if err != nil {
		return err
	}
	for c := range strings.FieldsSeq(string(controllers)) {
		if err := os.WriteFile(filepath.Join(group, "cgroup.subtree_control"), []byte("+"+c), 0); err != nil {
			return fmt.Errorf("enable controller %s: %w", c, err)
		}
	}
	return nil
}

// inheritCPUs copies the sets that a v1 cpuset starts without; until then no process may enter
// it (cpuset(7)).
func inheritCPUs(parent, child string) error {
	for _, name := range []string{"cpuset.cpus", "cpuset.mems"} {
		old, err := os.ReadFile(filepath.Join(child, name))
		if errors.Is(err, fs.ErrNotExist) || (err == nil && strings.TrimSpace(string(old)) != "") {
			continue
		}
		set, err := os.ReadFile(filepath.Join(parent, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue // the root of a v2 hierarchy
		}
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(child, name), set, 0); err != nil {
			return err
		}
	}
	return nil
}

// subgroups lists the cgroups below the given ones, deepest first.
func subgroups(groups []string) []string {
	var all []string
	for _, g := range groups {
		_ = filepath.WalkDir(g, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() && path != g {
				all = append(all, path)
			}
			return nil // a group that vanishes meanwhile is not left
		})
	}
	slices.Reverse(all)
	return all
}

// made lists the cgroups that the cell's commands have made, deepest first.
func (c *cell) made() []string {
	return slices.DeleteFunc(subgroups(c.groups), func(path string) bool { return path == filepath.Join(c.groups[0], leaf) })
}

// removeGroups removes cgroups and all below them. A killed process leaves its cgroup a little
// after its parent could reap it, so it tries for thirty seconds.
func removeGroups(groups []string) error {
	deadline := time.Now().Add(30 * time.Second)
	for {
		var last error
		for _, g := range append(subgroups(groups), groups...) {
			if err := os.Remove(g); err != nil && !errors.Is(err, fs.ErrNotExist) {
				last = err
			}
		}
		if last == nil || time.Now().After(deadline) {
			return last
		}
		time.Sleep(20 * time.Millisecond)
	}
}
