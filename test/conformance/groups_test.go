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

// removeGroups removes cgroups and all below them. A killed process leaves its cgroup a little
// after its parent could reap it, so it tries for five seconds.
func removeGroups(groups []string) error {
	deadline := time.Now().Add(5 * time.Second)
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
