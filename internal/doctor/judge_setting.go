package doctor

import (
	"strconv"
	"strings"
)

// A rule says from which value on a number is as it should be, and what a lower one costs.
type rule struct {
	name, title string
	least       int
	cost        string
	why         string // of a value that is good
}

// rules are the sysctls that harden: Documentation/admin-guide/sysctl of the kernel.
var rules = [...]rule{
	{"kernel.unprivileged_bpf_disabled", "BPF without root", 1, "every user, of a container too, may load programs into the kernel", "refused"},
	{"kernel.kptr_restrict", "addresses of the kernel", 1, "they are shown, which makes it easier to attack", "hidden"},
	{"kernel.dmesg_restrict", "log of the kernel", 1, "every user reads it, with addresses and what other containers did", "for root"},
	{"fs.protected_symlinks", "links in sticky directories", 1, "a privileged program can be led astray in /tmp", "not followed"},
	{"fs.protected_hardlinks", "links to others' files", 1, "a user can keep a file with a set-user-ID bit that was replaced", "refused"},
	{"fs.protected_fifos", "FIFOs in sticky directories", 1, "a program can be made to write into a FIFO of another user", "not opened"},
	{"fs.protected_regular", "files in sticky directories", 1, "a program can be made to write into a file of another user", "not opened"},
}

func (j *judge) settings() {
	for _, r := range rules {
		j.atLeast(r)
	}
	j.corePattern()
	j.said("kernel.io_uring_disabled", "io_uring", func(v string) string {
		switch v {
		case "0":
			return "for everybody; the default filter keeps containers from it"
		case "1":
			return "for the group of kernel.io_uring_group"
		}
		return "for nobody"
	})
	j.said("net.ipv4.ip_unprivileged_port_start", "ports without root", func(v string) string { return "from " + v + " on" })
	j.said("net.ipv4.ping_group_range", "ping without root", func(v string) string {
		f := strings.Fields(v)
		if len(f) == 2 && (f[0] == "1" && f[1] == "0") {
			return "for no group on the host's network; containers with their own have their own"
		}
		return "for groups " + strings.Join(f, " to ")
	})
	j.said("user.max_user_namespaces", "number of user namespaces", func(v string) string { return "at most " + v + " per user" })
	if v := j.f.Caller.Hidepid; v != "" {
		j.ok("proc.hidepid", "processes of others", "hidden in /proc (hidepid="+v+")")
	} else if !j.f.Caller.ProcMissing {
		j.ok("proc.hidepid", "processes of others", "seen in /proc; those of the host are never seen in a container")
	}
}

// atLeast judges a sysctl by a rule. One that this kernel does not have is not mentioned.
func (j *judge) atLeast(r rule) {
	v := j.f.setting(r.name)
	if v == "" {
		return
	}
	f := Finding{ID: r.name, Status: OK, Title: r.title, Found: r.why + " (" + r.name + " is " + v + ")"}
	if n, err := strconv.Atoi(v); err != nil || n < r.least {
		f.Status, f.Found, f.Cost = Weak, r.name+" is "+v, r.cost
		f.Fix = j.m.sysctl(r.name, strconv.Itoa(r.least))
	}
	j.add(f)
}

// said mentions a sysctl that is neither good nor bad.
func (j *judge) said(name, title string, text func(string) string) {
	if v := j.f.setting(name); v != "" {
		j.ok(name, title, text(v)+" ("+name+")")
	}
}

func (j *judge) corePattern() {
	const name = "kernel.core_pattern"
	v := j.f.setting(name)
	if v == "" {
		return
	}
	f := Finding{ID: name, Status: OK, Title: "core dumps", Found: "files (" + name + " is " + v + ")"}
	if program, piped := strings.CutPrefix(v, "|"); piped {
		first, _, _ := strings.Cut(strings.TrimSpace(program), " ")
		f.Status, f.Found = Weak, "piped to "+first+" of the host"
		f.Cost = "a crash in a container whose core limit is not 1, the default, runs it as root on what the container made"
		f.Fix = j.m.sysctl(name, "core.%p")
	}
	j.add(f)
}
