package cgroup

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
)

// moveProcess writes the number into an open cgroup.procs. A process that is being born (TASK_NEW) gives EINVAL for a moment.
func moveProcess(fd, pid int) error {
	var err error
	for range 5 {
		if err = writeFD(fd, strconv.Itoa(pid)); !errors.Is(err, unix.EINVAL) {
			return err
		}
		time.Sleep(20 * time.Millisecond)
	}
	return err
}

// maxTree bounds how many cgroups of a container are looked at: it may make them itself, without end.
const maxTree = 100_000

// pidsOf reads the processes of a cgroup. A cgroup in threaded mode has none to show (EOPNOTSUPP): its domain has them.
func pidsOf(dirfd int, all bool) ([]int, error) {
	if !all {
		return procsOf(dirfd)
	}
	var pids []int
	err := walkTree(dirfd, func(fd int) error {
		here, err := procsOf(fd)
		pids = append(pids, here...)
		return err
	})
	return pids, err
}

func procsOf(dirfd int) ([]int, error) {
	text, err := readFile(dirfd, "cgroup.procs")
	if errors.Is(err, unix.EOPNOTSUPP) {
		return nil, nil
	}
	if err != nil {
		return nil, errdef.Errorf(kindOf(err), "cgroup.procs: %w", err)
	}
	return parsePIDs(text), nil
}

func parsePIDs(text string) []int {
	var pids []int
	for len(text) > 0 {
		var line string
		line, text, _ = strings.Cut(text, "\n")
		if pid, err := strconv.Atoi(line); err == nil && pid > 0 { // 0 is a process of a pid namespace that we do not see
			pids = append(pids, pid)
		}
	}
	return pids
}

// walkTree calls visit with a descriptor of the cgroup and of each below it, top down. What vanishes meanwhile is skipped. It holds as many
// descriptors as the tree is deep at the place where it is, and gives up below 100 levels, where no sane tree is.
func walkTree(dirfd int, visit func(fd int) error) error {
	left := maxTree
	return walkLevel(dirfd, 0, &left, visit)
}

func walkLevel(dirfd, depth int, left *int, visit func(fd int) error) error {
	if *left--; *left < 0 || depth > 100 {
		return errdef.Errorf(errdef.Conflict, "cgroup: the container has made more than %d cgroups, or more than 100 levels of them", maxTree)
	}
	if err := visit(dirfd); err != nil {
		if gone(err) && depth > 0 {
			return nil
		}
		return err
	}
	names, err := childDirs(dirfd)
	if err != nil {
		if gone(err) && depth > 0 {
			return nil
		}
		return errdef.Errorf(kindOf(err), "cgroup: list: %w", err)
	}
	for _, name := range names {
		fd, err := openFile(dirfd, name, unix.O_RDONLY|unix.O_DIRECTORY)
		if gone(err) {
			continue
		}
		if err != nil {
			return errdef.Errorf(kindOf(err), "cgroup %q: %w", name, err)
		}
		err = walkLevel(fd, depth+1, left, visit)
		unix.Close(fd)
		if err != nil {
			return err
		}
	}
	return nil
}
