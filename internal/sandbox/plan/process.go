package plan

import (
	"path"
	"strconv"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/sandbox/capability"
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/op"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// process is everything from inside the new root to execve, for a new container and for exec alike. All that needs rights, or a
// descriptor of the host's, comes before a process that joins is born into the container's pid namespace, where others can see it.
func (b *builder) process(p *specs.Process) error {
	if err := b.scheduling(p); err != nil {
		return err
	}
	b.labels(false)
	for fd := range 3 {
		if p.Terminal {
			b.add(op.Dup3(op.At("slave"), fd, false).Because("the terminal as descriptor " + itoa(fd)))
		} else if b.stdio {
			b.add(op.Dup3(b.want(FileWant{Name: "stdio." + itoa(fd), Kind: Stdio}), fd, false).Because("what the caller gives as descriptor " + itoa(fd)))
		}
	}
	cwd := b.workdir(p)
	b.landlock()
	b.flag()
	kept := b.closeDescriptors(cwd) // before the rights go: from then on a process beside it, in a pid namespace that it joined, may trace it
	if err := b.credentials(p); err != nil {
		return err
	}
	if cwd != "" {
		b.add(
			op.Check("retry", 0, ^uint64(0), 1, 0).Else(op.AnyErrno, "inside").Because("was the working directory out of root's reach"),
			op.Fchdir(kept["cwd"]).Because("process.cwd, as the user of the process").Hinted("the user of the process may not enter its working directory"),
		)
		b.here("inside")
	}
	mask := uint32(0o022)
	if p.User.Umask != nil {
		mask = *p.User.Umask
	}
	b.add(op.Umask(mask).Because("process.user.umask"))
	candidates := b.lookup(p)
	if b.in.Run || b.in.Filter.Notify {
		b.lateLimit(p.Rlimits, unix.RLIMIT_NOFILE) // else when the descriptors are where they must be for the wait
	}
	if b.forkLate {
		b.fork("the process itself, in the container's pid namespace, with nothing of the host's any more")
		if p.Scheduler != nil {
			b.barrier(BarrierSched, "process.scheduler, by the runtime: SCHED_DEADLINE may not fork, and this process has lost the right")
		}
	}
	b.session(p)
	return b.finish(p, candidates, kept)
}

// session gives the process a session, and its terminal, which is on descriptor 0 by now.
func (b *builder) session(p *specs.Process) {
	b.add(op.Setsid().Else(unix.EPERM, "").Because("a session of its own: the caller's terminal is not its controlling one"))
	if p.Terminal {
		b.add(op.Ioctl(op.Num(0), unix.TIOCSCTTY, "TIOCSCTTY", op.Num(0)).Because("the terminal controls the session"))
	}
}

// closeDescriptors closes everything that is not the program's: what is open here shows files below masks, and the host's procfs. Whoever may
// look at a container that waits for its start, or at a process on its way into one, finds nothing (CVE-2016-9962, CVE-2024-21626). What is
// needed later, cwd too unless it is "", moves above HighFD first; the result says where.
func (b *builder) closeDescriptors(cwd op.Slot) map[string]op.Arg {
	kept := map[string]op.Arg{}
	move := func(name string, fd op.Arg) {
		s := op.Slot("kept." + name)
		b.add(op.Raw("fcntl", unix.SYS_FCNTL, fd, op.Flag(unix.F_DUPFD_CLOEXEC, "F_DUPFD_CLOEXEC"), op.Num(b.highFD())).To(s).
			Because("needed later: above the descriptors that are closed now"))
		kept[name] = op.At(s)
	}
	keep := func(f FileWant) { move(f.Name, b.want(f)) }
	if cwd != "" {
		move("cwd", op.At(cwd))
	}
	if !b.in.Run {
		keep(FileWant{Name: "start", Kind: StartFIFO})
		keep(FileWant{Name: "reply", Kind: ReplyFIFO})
	}
	if b.in.Landlock != nil {
		move("landlock", op.At(ruleset))
	}
	if h := b.spec.Hooks; h != nil {
		for i := range h.StartContainer {
			keep(FileWant{Name: "hook." + itoa(i), Kind: HookState})
		}
	}
	b.add(op.Raw("close_range", unix.SYS_CLOSE_RANGE, op.Num(3+b.in.PreserveFDs), op.Num(b.highFD()-1), op.Num(0)).
		Because("no descriptor of the host reaches the program (CVE-2024-21626, CVE-2016-9962)"))
	return kept
}

// highFD is the first number of the descriptors that stay open until execve.
func (b *builder) highFD() int { return HighFD(b.in.PreserveFDs) }

// HighFD is the lowest number for the child's end of the socket to the runtime, and for what else stays open longest: above all that
// the list opens itself.
func HighFD(preserve int) int { return 3 + preserve + 125 }

// labels writes the security module's labels of one moment.
func (b *builder) labels(keyring bool) {
	for _, l := range b.in.Facts.Labels {
		if l.Keyring != keyring {
			continue
		}
		f := b.slot("f")
		b.add(
			op.Openat(b.proc, "thread-self/"+l.File, unix.O_WRONLY|unix.O_CLOEXEC, 0).To(f).Because(l.Why),
			op.Write(op.At(f), l.Value).Because(l.Why).Hinted("the profile or label must be loaded on the host"),
			op.Close(op.At(f)),
		)
	}
}

// workdir enters process.cwd through a descriptor that was resolved inside the root. If root may not enter it, as in a user namespace or
// on a network file system, the user of the process tries again: the returned slot is the directory then, "" when there is nothing to try.
// A directory that is missing is made for the container's own process, but not for one that joins it.
func (b *builder) workdir(p *specs.Process) op.Slot {
	var t op.Slot
	if b.joining && clean(p.Cwd) != "" {
		t = b.slot("t")
		b.add(op.InRoot(root, clean(p.Cwd), 0).To(t).Because("process.cwd").Hinted("the working directory must be in the container"))
	} else {
		t = b.target(p.Cwd, true, "process.cwd")
	}
	if clean(p.Cwd) == "" {
		b.add(op.Fchdir(op.At(t)).Because("process.cwd"))
		return ""
	}
	b.mem(op.Mem{Name: "one", Size: 8, Init: words(1)})
	b.add(
		op.Fchdir(op.At(t)).Else(unix.EACCES, "nocwd").Then("cwddone").Because("process.cwd"),
		op.Copy("one", "retry", 0).Named("nocwd").Because("root may not enter process.cwd: the user tries again"),
	)
	b.here("cwddone")
	return t
}

// late says of a limit whether it would hinder the plan, which opens files and makes processes, and returns the hard one of the runtime.
func (b *builder) late(n int) (hard uint64, ok bool) {
	switch n {
	case unix.RLIMIT_NOFILE:
		return b.in.Facts.NofileHard, true
	case unix.RLIMIT_NPROC:
		return b.in.Facts.NprocHard, true
	}
	return 0, false
}

// limits sets resource limits, and of late ones only raises the hard limit if it must be: the low ones come at the end.
func (b *builder) limits(list []specs.POSIXRlimit) {
	for _, l := range list {
		n, ok := rlimits[l.Type]
		if !ok {
			continue // refused by bundle.Validate
		}
		const hint = "raising a hard limit needs CAP_SYS_RESOURCE on the host"
		if have, late := b.late(n); late {
			if l.Hard > have {
				b.add(op.Prlimit(n, l.Type, l.Hard, l.Hard).Because("process.rlimits, raised while that is allowed").Hinted(hint))
			}
			continue
		}
		b.add(op.Prlimit(n, l.Type, l.Soft, l.Hard).Because("process.rlimits").Hinted(hint))
	}
}

func (b *builder) lateLimit(list []specs.POSIXRlimit, which int) {
	given := false
	for _, l := range list {
		if n, ok := rlimits[l.Type]; ok && n == which {
			b.add(op.Prlimit(n, l.Type, l.Soft, l.Hard).Because("process.rlimits"))
			given = true
		}
	}
	if f := b.in.Facts; !given && which == unix.RLIMIT_NOFILE && f.NofileSoft != 0 {
		b.add(op.Prlimit(which, "RLIMIT_NOFILE", f.NofileSoft, f.NofileHard).Because("the caller's limit, raised so far"))
	}
}

// Numbers of include/uapi/asm-generic/resource.h.
var rlimits = map[string]int{
	"RLIMIT_CPU": 0, "RLIMIT_FSIZE": 1, "RLIMIT_DATA": 2, "RLIMIT_STACK": 3, "RLIMIT_CORE": 4, "RLIMIT_RSS": 5, "RLIMIT_NPROC": 6,
	"RLIMIT_NOFILE": 7, "RLIMIT_MEMLOCK": 8, "RLIMIT_AS": 9, "RLIMIT_LOCKS": 10, "RLIMIT_SIGPENDING": 11, "RLIMIT_MSGQUEUE": 12,
	"RLIMIT_NICE": 13, "RLIMIT_RTPRIO": 14, "RLIMIT_RTTIME": 15,
}

// credentials drops the bounding set, changes the ids and sets the capabilities. The effective and permitted sets may keep SYS_ADMIN for
// one call more: see finish.
func (b *builder) credentials(p *specs.Process) error {
	caps, _ := capability.FromSpec(p.Capabilities)
	if !b.userns && b.in.Facts.Permitted != 0 {
		caps.Limit(b.in.Facts.Permitted)
	}
	if err := caps.Check(); err != nil {
		return err
	}
	for n := range b.in.Facts.LastCap + 1 {
		if !caps.Bounding.Has(n) {
			b.add(op.Prctl(unix.PR_CAPBSET_DROP, "PR_CAPBSET_DROP", op.Flag(uint32(n), capability.Name(n))).
				Because("process.capabilities.bounding: not even a set-user-ID program gets it back"))
		}
	}
	b.add(op.Prctl(unix.PR_SET_KEEPCAPS, "PR_SET_KEEPCAPS", op.Num(1)).Because("the change of user keeps capabilities until they are set below"))
	b.add(op.Setresgid(p.User.GID).Because("process.user.gid").Hinted("linux.gidMappings must map this id"))
	groups := op.Setgroups(p.User.AdditionalGids).Because("exactly the supplementary groups of process.user.additionalGids").
		Hinted("the user namespace denies setgroups: without mapped groups there are no additional ones")
	if len(p.User.AdditionalGids) == 0 && b.userns {
		groups = groups.Else(unix.EPERM, "")
	}
	b.add(groups)
	b.add(op.Setresuid(p.User.UID).Because("process.user.uid").Hinted("linux.uidMappings must map this id"))
	effective, permitted := caps.Effective, caps.Permitted
	if (len(b.in.Filter.Program) > 0 || b.in.Landlock != nil) && !p.NoNewPrivileges {
		// Without no_new_privs only CAP_SYS_ADMIN may load a filter (seccomp(2)) or a ruleset (landlock(7)). It goes with execve, which computes the sets anew from
		// the bounding, inheritable and ambient ones; so no call has to follow the filter.
		admin := capability.Of(unix.CAP_SYS_ADMIN)
		effective, permitted = effective|admin, permitted|admin
	}
	b.add(op.Capset(uint64(effective), uint64(permitted), uint64(caps.Inheritable), caps.String()).Because("process.capabilities").
		Hinted("the runtime itself lacks a capability that the container shall have"))
	b.add(op.Prctl(unix.PR_CAP_AMBIENT, "PR_CAP_AMBIENT", op.Flag(unix.PR_CAP_AMBIENT_CLEAR_ALL, "CLEAR_ALL")).Because("no ambient capability but those asked for"))
	ambient, _ := caps.SplitAmbient()
	for n := range b.in.Facts.LastCap + 1 {
		if ambient.Has(n) {
			b.add(op.Prctl(unix.PR_CAP_AMBIENT, "PR_CAP_AMBIENT", op.Flag(unix.PR_CAP_AMBIENT_RAISE, "RAISE"), op.Flag(uint32(n), capability.Name(n))).
				Because("process.capabilities.ambient"))
		}
	}
	if p.NoNewPrivileges {
		b.add(op.Prctl(unix.PR_SET_NO_NEW_PRIVS, "PR_SET_NO_NEW_PRIVS", op.Num(1)).Because("process.noNewPrivileges: a set-user-ID file gives nothing"))
	}
	return nil
}

// lookup finds the program as execvp(3) does, before the wait for start, so that create reports a missing one. The result of each try
// stays in a cell for the execve that comes after the filter.
func (b *builder) lookup(p *specs.Process) []string {
	name := p.Args[0]
	if strings.Contains(name, "/") {
		b.add(op.Faccessat2(op.AtCwd, name, unix.X_OK).Because("process.args[0] is a program that the user may execute").
			Hinted("the program must be in the image, and executable for the user of the process"))
		b.directory(name, "", "file")
		b.add(op.Check("zero", 0, ^uint64(0), 1, unix.EISDIR).Because("exec: " + strconv.Quote(name) + ": is a directory"))
		b.here("file")
		return []string{name}
	}
	var list []string
	for _, dir := range strings.Split(pathVar(p.Env), ":") {
		if dir == "" {
			dir = "."
		}
		list = append(list, path.Join(dir, name))
		if dir == "." {
			list[len(list)-1] = "./" + name
		}
	}
	for i, c := range list {
		cell := "no" + itoa(i)
		next := "look" + itoa(i+1)
		b.mem(op.Mem{Name: cell, Size: 8, Init: words(1)})
		try := op.Faccessat2(op.AtCwd, c, unix.X_OK).To(op.Slot(cell)).Else(op.AnyErrno, next).Because("is process.args[0] here")
		if i > 0 {
			try = try.Named("look" + itoa(i))
		}
		b.add(try)
		b.directory(c, next, "found")
	}
	b.add(op.Check("zero", 0, ^uint64(0), 1, unix.ENOENT).Named("look" + itoa(len(list))).
		Because("exec: " + strconv.Quote(name) + ": executable file not found in $PATH"))
	b.here("found")
	return list
}

// directory goes on at one label if a path is that of a directory, which counts as executable for access(2), and at another if not.
func (b *builder) directory(path, yes, no string) {
	stat := b.scratch("statx", op.StatxSize)
	b.add(
		op.StatxPath(op.AtCwd, path, stat).Because("file or directory"),
		op.Check(stat, statxWord(op.StatxMode), unix.S_IFMT<<statxShift(op.StatxMode), unix.S_IFDIR<<statxShift(op.StatxMode), 0).
			Else(op.AnyErrno, no).Then(yes).Because("file or directory"),
	)
}

// pathVar returns PATH of the process's environment, and where there is none, what runc and the shells take.
func pathVar(env []string) string {
	value := "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	for _, e := range env {
		if v, ok := strings.CutPrefix(e, "PATH="); ok {
			value = v
		}
	}
	return value
}
