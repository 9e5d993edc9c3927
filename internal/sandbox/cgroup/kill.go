package cgroup

import (
	"context"
	"errors"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
)

// Kill kills every process in the group and in the cgroups below it, a fork bomb too, and returns when none is left: at once when there is
// none. It takes no longer than ctx allows, 30 s if that has no deadline; a process that cannot die (in an uninterruptible wait) makes it
// a Timeout.
//
// With v2 the kernel does it (cgroup.kill, Linux 5.14). With v1, or before, forking is stopped first: by the freezer, or by pids.max.
func (g *Group) Kill(ctx context.Context) error {
	ctx, cancel := bounded(ctx, killTime)
	defer cancel()
	if !g.Active() {
		return errdef.Errorf(errdef.Unsupported, "kill: the container has no cgroup of its own")
	}
	if d := g.unifiedDir(); d != nil {
		err := d.open()
		if err == nil {
			err = writeFile(d.fd, "cgroup.kill", "1")
		}
		if err == nil && g.mode == V2 {
			return g.killRest(ctx, d)
		}
		if err != nil && !gone(err) && !errors.Is(err, unix.EOPNOTSUPP) {
			return errdef.Errorf(kindOf(err), "kill: cgroup.kill of %s: %w", d.name(), err)
		}
	}
	return g.killEach(ctx)
}

// killRest waits for the end of what cgroup.kill has killed, and now and then kills by number what is still there. cgroup.kill signals the first
// thread of each process, alone; of Linux 6.1 that is lost on one that has ended while others of its process run on (6.12 was seen to kill them).
func (g *Group) killRest(ctx context.Context, d *dir) error {
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		part, cancel := context.WithTimeout(ctx, pause)
		err := g.waitEmpty(part, d)
		cancel()
		if !errdef.Is(err, errdef.Timeout) || ctx.Err() != nil {
			return err
		}
		pids, _ := pidsOf(d.fd, true) // the wait says what is wrong
		g.signal(d, pids, false)
	}
}

// waitEmpty waits until the v2 cgroup has no process.
func (g *Group) waitEmpty(ctx context.Context, d *dir) error {
	if err := d.waitEvent(ctx, "populated", "0"); err != nil && !gone(err) && !errdef.Is(err, errdef.NotFound) {
		return errdef.Errorf(errdef.KindOf(err), "kill: %w", err)
	}
	return nil
}

// killEach kills by number, round by round, until the cgroup is empty.
func (g *Group) killEach(ctx context.Context) error {
	d := g.listing()
	if err := d.open(); err != nil {
		if errdef.Is(err, errdef.NotFound) {
			return nil
		}
		return err
	}
	for round, pause := 0, 100*time.Microsecond; ; round, pause = round+1, min(2*pause, 20*time.Millisecond) {
		pids, err := pidsOf(d.fd, true)
		if err == nil && len(pids) == 0 || d.removed() {
			return nil
		}
		if err != nil {
			return errdef.Errorf(errdef.KindOf(err), "kill: %w", err)
		}
		if round < 4 && len(pids) <= 4 {
			err = g.killFew(d, pids)
		} else {
			err = g.killRound(ctx, d)
		}
		if err != nil {
			return err
		}
		if !nap(ctx, pause) {
			return errdef.Errorf(errdef.Timeout, "kill: %d processes of %s are still there", len(pids), d.name())
		}
	}
}

// removed reports whether somebody has removed the open directory, as systemd does with a scope that is empty: then nobody is in it.
func (d *dir) removed() bool {
	_, err := procsOf(d.fd)
	return gone(err)
}

// killFew kills a few processes as they are. It is tried first, since mostly that is all there is, and what was killed stays listed for a
// moment.
func (g *Group) killFew(d *dir, pids []int) error {
	frozen, err := g.Frozen()
	if err != nil {
		return err
	}
	g.signal(d, pids, frozen)
	if frozen {
		return g.Thaw(context.Background())
	}
	return nil
}

// killRound is for many, or for some that fork: the group is stopped, listed, killed and let go, upon which all are dead. What stands still
// neither forks nor ends, so that the list is complete and the numbers are not used again.
func (g *Group) killRound(ctx context.Context, d *dir) error {
	if p := g.dirOf("pids"); p != nil && p.open() == nil {
		_ = writeFile(p.fd, "pids.max", "0") // in case freezing takes long
	}
	part, cancel := context.WithTimeout(ctx, 2*time.Second)
	stopped := g.Freeze(part) == nil
	cancel()
	pids, err := pidsOf(d.fd, true)
	if d.removed() {
		return nil
	}
	if err != nil {
		return errdef.Errorf(errdef.KindOf(err), "kill: %w", err)
	}
	g.signal(d, pids, stopped)
	if stopped {
		return g.Thaw(ctx)
	}
	return nil
}

// signal kills the processes. Unless they stand still, each is held by a pidfd (Linux 5.3) and looked at again before, so that a number
// that was given to a stranger meanwhile does no harm.
func (g *Group) signal(d *dir, pids []int, still bool) {
	for _, pid := range pids {
		if pid == os.Getpid() {
			continue
		}
		fd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			if errors.Is(err, unix.ENOSYS) && still {
				_ = unix.Kill(pid, unix.SIGKILL)
			}
			continue
		}
		if still || d.isIn(pid) {
			_ = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
		}
		unix.Close(fd)
	}
}

// isIn reports whether the process is in the directory's cgroup or below it. Its first thread may have ended, which v1 then shows in the
// root, so that another one has to say it.
func (d *dir) isIn(pid int) bool {
	proc := "/proc/" + strconv.Itoa(pid)
	if d.holds(proc + "/cgroup") {
		return true
	}
	tasks, err := os.Open(proc + "/task")
	if err != nil {
		return false
	}
	defer tasks.Close()
	names, _ := tasks.Readdirnames(64) // all of one process are in the same cgroups, and few of them on their way out
	return slices.ContainsFunc(names, func(tid string) bool { return d.holds(proc + "/task/" + tid + "/cgroup") })
}

// holds reports whether a file such as /proc/PID/cgroup names the directory's cgroup or one below it.
func (d *dir) holds(file string) bool {
	text, err := os.ReadFile(file)
	if err != nil {
		return false
	}
	key := ""
	if !d.unified() {
		key = d.controllers[0]
	}
	// What is mounted may be a part of the hierarchy, so that the path there ends in ours.
	path := strings.TrimSuffix(parseOwn(string(text))[key], "/") + "/"
	return strings.HasPrefix(path, "/"+d.path+"/") || strings.Contains(path, "/"+d.path+"/")
}
