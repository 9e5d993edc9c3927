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

// maxTree bounds how many cgroups right below one another are looked at: the container may make them itself, without end.
const maxTree = 100_000

// errMoved means that cgroups vanished under the walk's feet: it has to begin again.
var errMoved = errors.New("cgroups were removed meanwhile")

// pidsOf reads the processes of a cgroup. A cgroup in threaded mode has none to show (EOPNOTSUPP): its domain has them.
func pidsOf(dirfd int, all bool) ([]int, error) {
	if !all {
		return procsOf(dirfd)
	}
	var pids []int
	for try := 0; ; try++ {
		pids = pids[:0]
		err := walkTree(dirfd, func(fd int) error {
			here, err := procsOf(fd)
			pids = append(pids, here...)
			return err
		})
		if !errors.Is(err, errMoved) || try == 100 {
			return pids, err
		}
	}
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

// A walk goes through a cgroup and all below it, top down. It holds two descriptors at a time however deep the tree is, and goes up by "..",
// which is safe here: a cgroup never gets another parent.
type walk struct {
	top, cur int
	todo     [][]string // for each level down to cur, the names not yet visited
}

// walkTree calls visit with a descriptor of each. What vanishes meanwhile is skipped.
func walkTree(top int, visit func(fd int) error) error {
	w := &walk{top: top, cur: top}
	defer func() { w.move(top) }()
	for {
		names, err := w.here(visit)
		if err != nil {
			return err
		}
		w.todo = append(w.todo, names)
		if more, err := w.next(); err != nil || !more {
			return err
		}
	}
}

// here visits the cgroup that the walk is at, and lists those right below it.
func (w *walk) here(visit func(fd int) error) ([]string, error) {
	err := visit(w.cur)
	var names []string
	if err == nil {
		names, err = childDirs(w.cur)
	}
	if gone(err) && len(w.todo) > 0 {
		return nil, nil
	}
	if len(names) >= maxTree {
		return nil, errdef.Errorf(errdef.Conflict, "cgroup: the container has made more than %d cgroups in one", maxTree)
	}
	return names, err
}

// next goes to the next cgroup, over as many levels up as have none left; false at the end.
func (w *walk) next() (bool, error) {
	for {
		last := len(w.todo) - 1
		if len(w.todo[last]) == 0 {
			w.todo = w.todo[:last]
			if last == 0 {
				return false, nil
			}
			up, err := openFile(w.cur, "..", unix.O_RDONLY|unix.O_DIRECTORY)
			if err != nil {
				return false, errMoved
			}
			w.move(up)
			continue
		}
		name := w.todo[last][0]
		w.todo[last] = w.todo[last][1:]
		fd, err := openFile(w.cur, name, unix.O_RDONLY|unix.O_DIRECTORY)
		if gone(err) {
			continue
		}
		if err != nil {
			return false, errdef.Errorf(kindOf(err), "cgroup %q: %w", name, err)
		}
		w.move(fd)
		return true, nil
	}
}

// move puts the walk at the descriptor, which it owns unless it is the top.
func (w *walk) move(fd int) {
	if w.cur != w.top && w.cur != fd {
		unix.Close(w.cur)
	}
	w.cur = fd
}
