package verify

import (
	"slices"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/linux/thread"
	"golang.org/x/sys/unix"
)

// inner reads what the kernel shows of a namespace only to who is in it. A thread goes in and is not used again: it ends with its goroutine.
func (r *reader) inner() error {
	flags := 0
	c := &comparison{d: r.d, f: r.f}
	for _, k := range kinds {
		switch k.file {
		case "net", "ipc", "uts":
			if c.own(k.kind) {
				flags |= map[string]int{"net": unix.CLONE_NEWNET, "ipc": unix.CLONE_NEWIPC, "uts": unix.CLONE_NEWUTS}[k.file]
			}
		}
	}
	fd, err := unix.PidfdOpen(r.d.PID, 0)
	if err != nil {
		return errdef.Errorf(errdef.Conflict, "verify container %s: its first process: %w", r.d.Name, err)
	}
	defer unix.Close(fd)
	thread.Spend(func() { r.f.Inner = r.within(fd, flags) })
	return nil
}

// within is the thread's work. It makes no call that waits.
func (r *reader) within(pidfd, flags int) (in Inner) {
	if flags != 0 {
		if err := unix.Setns(pidfd, flags); err != nil {
			in.Err = "the namespaces cannot be entered: " + err.Error()
			return in
		}
	}
	in.Sysctls = map[string]string{}
	if l := r.d.Spec.Linux; l != nil {
		for key := range l.Sysctl {
			if text, err := r.proc.Read(sysctlFile(key)); err == nil {
				in.Sysctls[key] = string(text)
			}
		}
	}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		in.Hostname, in.Domainname = unix.ByteSliceToString(u.Nodename[:]), unix.ByteSliceToString(u.Domainname[:])
	}
	if text, err := r.proc.Read("thread-self/net/dev"); err == nil {
		for line := range strings.Lines(string(text)) {
			if name, _, ok := strings.Cut(line, ":"); ok {
				in.Interfaces = append(in.Interfaces, strings.TrimSpace(name))
			}
		}
		slices.Sort(in.Interfaces)
	}
	return in
}

// sysctlFile is the file of a sysctl: as in sysctl(8), whichever of dot and slash comes first separates, and the other one stands for a dot in a name.
func sysctlFile(key string) string {
	if i := strings.IndexAny(key, "./"); i >= 0 && key[i] == '/' {
		return "sys/" + key
	}
	return "sys/" + strings.NewReplacer(".", "/", "/", ".").Replace(key)
}

// resolveHere looks at a name in a directory, which is no link.
func resolveHere(dir int, name string) (Path, int) {
	fd, err := unix.Openat(dir, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return Path{}, -1
	}
	return statPath(fd), fd
}
