package apparmor

import (
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/sandbox/lsm"
	"golang.org/x/sys/unix"
)

// A Dialect is what a parser understands of apparmor.d(5).
type Dialect uint8

const (
	Modern Dialect = iota // AppArmor 4: files from outside have a prefix of their own; user namespaces, message queues and io_uring are mediated
	Legacy                // AppArmor 3
)

// outside is what the paths of files begin with that the container was handed open and that no mount of its own shows.
const outside = "/.outside"

// handedFrom are the directories of a host in which files are that containers are handed open.
const handedFrom = "{data,dev,home,mnt,opt,root,run,srv,tmp,usr,var}"

// prefix begins the name of every profile that is ours.
const prefix = "bulkhead-"

// Text returns the profile in the language of apparmor.d(5).
func (p *Policy) Text(name string, d Dialect) string {
	if p.request.Default {
		return defaultText(d)
	}
	b := &strings.Builder{}
	p.head(b, name, d)
	p.rights(b, d)
	p.peers(b, name)
	p.files(b, d)
	b.WriteString("}\n")
	return b.String()
}

func (p *Policy) head(b *strings.Builder, name string, d Dialect) {
	b.WriteString("profile " + name + " flags=(attach_disconnected,")
	if d == Modern {
		b.WriteString("attach_disconnected.path=" + outside + ",")
	}
	b.WriteString("mediate_deleted) {\n")
}

// rights are all but files and peers. Which sockets there are is the business of the network namespace and of seccomp.
func (p *Policy) rights(b *strings.Builder, d Dialect) {
	b.WriteString("  network,\n  unix,\n")
	if d == Modern {
		b.WriteString("  mqueue,\n  io_uring,\n")
		if p.request.UserNS {
			b.WriteString("  userns,\n")
		}
	}
	if p.request.Mount {
		b.WriteString("  mount,\n  umount,\n  remount,\n  pivot_root,\n")
	}
	for _, name := range p.caps.Names() {
		b.WriteString("  capability " + strings.ToLower(strings.TrimPrefix(name, "CAP_")) + ",\n")
	}
}

// peers: whoever is outside may signal and look at the container, within his own rights; it reaches nobody but itself. The guest in another
// container's pid namespace reaches whom it sees there.
func (p *Policy) peers(b *strings.Builder, name string) {
	peer := name
	if p.guests {
		peer = prefix + "*"
	}
	b.WriteString("  signal (receive),\n  ptrace (readby, tracedby),\n")
	b.WriteString("  signal (send) peer=" + peer + ",\n  ptrace (read, trace) peer=" + peer + ",\n")
}

// files: a right that no rule gives is denied, and the kernel logs it. There is no deny rule, which would be silent and would win over the rule of a
// mount below.
func (p *Policy) files(b *strings.Builder, d Dialect) {
	rules := func(r regions, permissions string, has func(access) bool) {
		for _, a := range r.areas(has) {
			for _, g := range a.globs() {
				b.WriteString(`  "` + g + `" ` + permissions + ",\n")
			}
		}
	}
	regions, handed := p.regions, outside+"{,/,/**}"
	if d == Modern && p.caps.Has(unix.CAP_SYS_ADMIN) {
		// With it, fsmount(2) and open_tree(2) make a procfs or sysfs that is mounted nowhere, and AppArmor does not ask anybody. Its files have names like those
		// of files from outside, from its own root on: /.outside/sys/kernel/core_pattern.
		regions, handed = regions.over(outside, access{}), outside+"/"+handedFrom+"/**"
		b.WriteString(`  "` + outside + `{,/}" mix,` + "\n") // a program in a memfd
	}
	rules(regions, "rk", func(a access) bool { return a.read })
	rules(regions, "mix", func(a access) bool { return a.exec })
	if d == Modern {
		b.WriteString(`  "` + handed + `" mrwlkix,` + "\n")
		rules(regions, "wl", func(a access) bool { return a.write })
	} else {
		rules(p.regions.kernelOnly(), "wl", func(a access) bool { return a.write })
	}
}

// kernelOnly keeps of the regions those of procfs and sysfs: without names of their own for files from outside, all else must be writable.
func (r regions) kernelOnly() regions {
	out := regions{{"/", access{read: true, write: true, exec: true}}}
	for _, one := range r {
		for _, dir := range []string{"/proc", "/sys"} {
			if one.path == dir || strings.HasPrefix(one.path, dir+"/") {
				out = append(out, one)
			}
		}
	}
	return out
}

// defaultText is a profile under the name that Docker gives its own, with the same effect: all but mounting, and no writing to the kernel's settings.
// It is the same for all containers, and they reach each other.
func defaultText(d Dialect) string {
	all := Policy{regions: regions{{"/", access{true, true, true}}}}
	for _, path := range []string{"/proc/sys", "/sys"} {
		all.regions = all.regions.over(path, access{read: true, exec: true})
	}
	// Cgroups are held by their mount; the limits of shared memory belong to the ipc namespace.
	for _, path := range []string{"/sys/fs/cgroup", "/proc/sys/kernel/shmall", "/proc/sys/kernel/shmmax", "/proc/sys/kernel/shmmni", "/proc/sys/kernel/shm_rmid_forced"} {
		all.regions = all.regions.over(path, access{true, true, true})
	}
	for _, path := range []string{"/proc/kcore", "/proc/mem", "/proc/kmem", "/proc/sysrq-trigger", "/sys/firmware", "/sys/kernel/security"} {
		all.regions = all.regions.over(path, access{})
	}
	b := &strings.Builder{}
	b.WriteString("profile " + lsm.DefaultProfile + " flags=(attach_disconnected,mediate_deleted) {\n  network,\n  unix,\n  capability,\n  umount,\n")
	if d == Modern {
		b.WriteString("  mqueue,\n  io_uring,\n  userns,\n")
	}
	b.WriteString("  signal (receive),\n  signal (send) peer=" + lsm.DefaultProfile + ",\n")
	b.WriteString("  ptrace (read, trace, readby, tracedby) peer=" + lsm.DefaultProfile + ",\n  ptrace (readby, tracedby),\n")
	all.files(b, Legacy) // reading and executing, and writing below /proc and /sys
	b.WriteString("}\n")
	return b.String()
}
