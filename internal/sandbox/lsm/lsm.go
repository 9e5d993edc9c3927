// Package lsm says how the labels of config.json for AppArmor and SELinux are put on a container's process and mounts, and what the
// kernel offers of Landlock.
//
// Labels are written to files under /proc/thread-self/attr just before execve(2). This package computes which file and which bytes, as
// data for the plan, and probes, from the parent, which modules are in force:
//
//	writes, err := lsm.Labels(lsm.Host(), process.ApparmorProfile, process.SelinuxLabel)
//
// It does not write: the plan does, through a procfs of its own making, because a redirected write leaves a process unconfined without
// anybody noticing (CVE-2019-16884, CVE-2019-19921, CVE-2025-52881).
//
// Security: a label that was asked for on a host without the module is an error of kind Unsupported, never a silent success. Only
// "unconfined" needs no module.
package lsm

import (
	"strings"
	"sync"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/linux/procfs"
	"github.com/bulkhead-engine/bulkhead/internal/linux/sys"
	"golang.org/x/sys/unix"
)

// Modules says which security modules are in force.
type Modules struct {
	AppArmor bool
	// AppArmorDir: the kernel has /proc/PID/attr/apparmor (5.8), which means AppArmor also when another module owns attr/exec.
	AppArmorDir bool
	// Confined: this process has an AppArmor profile itself.
	Confined bool
	SELinux  bool
}

// Host probes the running kernel, once.
var Host = sync.OnceValue(func() Modules {
	var m Modules
	m.AppArmor = appArmorOn()
	if proc, err := procfs.Host(); err == nil && m.AppArmor {
		if fd, err := proc.Open("self/attr/apparmor/exec", unix.O_PATH); err == nil {
			m.AppArmorDir = true
			unix.Close(fd)
		}
		file := "self/attr/current"
		if m.AppArmorDir {
			file = "self/attr/apparmor/current"
		}
		own, err := proc.Read(file)
		m.Confined = err == nil && strings.TrimRight(string(own), "\x00\n") != Unconfined
	}
	m.SELinux = seLinuxOn()
	return m
})

// appArmorOn reads the module's parameter, as aa-enabled(1) does.
func appArmorOn() bool {
	b, err := sys.ReadFileAt(unix.AT_FDCWD, "/sys/module/apparmor/parameters/enabled", 64)
	return err == nil && len(b) > 0 && b[0] == 'Y'
}

// seLinuxOn asks whether selinuxfs is mounted and a policy is loaded: before one is, every process has the label "kernel".
func seLinuxOn() bool {
	var st unix.Statfs_t
	if err := unix.Statfs("/sys/fs/selinux", &st); err != nil || st.Type != unix.SELINUX_MAGIC {
		return false
	}
	proc, err := procfs.Host()
	if err != nil {
		return false
	}
	b, err := proc.Read("self/attr/current")
	return err == nil && strings.TrimRight(string(b), "\x00\n") != "kernel"
}

// When says at which moment of the child's life a label is written.
type When uint8

// The moments.
const (
	BeforeExec    When = iota // last, before execve: the kernel applies it there
	BeforeKeyring             // before the session keyring is made, which gets it; cleared again afterwards
)

// A Write is a label to be written by the child.
type Write struct {
	File   string // below /proc/thread-self, such as "attr/exec"
	Data   string // the bytes
	When   When
	Reason string // for `explain`
}

// Unconfined is AppArmor's profile that confines nothing.
const Unconfined = "unconfined"

// Labels returns the writes for a process with the AppArmor profile and SELinux label of config.json, either may be "". noNewPrivs says that the process
// has given up to gain rights: one that has a profile already may not change to another then, but take it in addition (a stack, kernel 4.13). Errors:
// Invalid for a name that cannot be one; Unsupported, with a hint, for a label whose module is not in force.
func Labels(m Modules, profile, label string, noNewPrivs bool) ([]Write, error) {
	var writes []Write
	if profile != "" {
		if err := CheckName("process.apparmorProfile", profile); err != nil {
			return nil, err
		}
		switch {
		case m.AppArmor:
			file := "attr/exec"
			if m.AppArmorDir {
				file = "attr/apparmor/exec"
			}
			if m.Confined && noNewPrivs {
				why := "AppArmor confines the program with profile " + profile + " in addition to the runtime's own"
				writes = append(writes, Write{file, "stack " + profile, BeforeExec, why})
				break
			}
			writes = append(writes, Write{file, "exec " + profile, BeforeExec, "AppArmor confines the program with profile " + profile})
		case profile != Unconfined:
			err := errdef.Errorf(errdef.Unsupported, "apparmor profile %q: AppArmor is not enabled on this host", profile)
			return nil, errdef.WithHint(err, "boot with apparmor=1 security=apparmor, or take apparmorProfile out of the configuration")
		}
	}
	if label != "" {
		if err := CheckName("process.selinuxLabel", label); err != nil {
			return nil, err
		}
		if !m.SELinux {
			err := errdef.Errorf(errdef.Unsupported, "selinux label %q: SELinux is not enabled on this host", label)
			return nil, errdef.WithHint(err, "boot with selinux=1 and a policy, or take selinuxLabel out of the configuration")
		}
		writes = append(writes,
			Write{"attr/keycreate", label, BeforeKeyring, "the session keyring belongs to the container's SELinux label"},
			Write{"attr/exec", label, BeforeExec, "SELinux confines the program with label " + label})
	}
	return writes, nil
}

// CheckMountLabel returns an error unless linux.mountLabel can be put on mounts: kinds as in Labels.
func CheckMountLabel(m Modules, label string) error {
	if label == "" {
		return nil
	}
	if err := CheckName("linux.mountLabel", label); err != nil {
		return err
	}
	if !m.SELinux {
		err := errdef.Errorf(errdef.Unsupported, "mount label %q: SELinux is not enabled on this host", label)
		return errdef.WithHint(err, "take mountLabel out of the configuration")
	}
	return nil
}

// TakesContext reports whether a new file system of the type gets its label as the mount option context=LABEL. Bind mounts show the
// labels that the files have; procfs and sysfs label their files by policy; mqueue is labelled after mounting, by an extended attribute
// of its root.
func TakesContext(fstype string) bool {
	switch fstype {
	case "proc", "sysfs", "mqueue", "bind", "rbind", "cgroup", "cgroup2":
		return false
	}
	return true
}

// CheckName returns an error of kind Invalid unless s can be a profile or label: not empty, at most 4095 bytes (one page with the NUL,
// what the attr files take), and no byte that ends a line or the string.
func CheckName(field, s string) error {
	switch {
	case s == "":
		return errdef.Errorf(errdef.Invalid, "%s: empty", field)
	case len(s) > 4095:
		return errdef.Errorf(errdef.Invalid, "%s: longer than 4095 bytes", field)
	case strings.ContainsAny(s, "\x00\n\r"):
		return errdef.Errorf(errdef.Invalid, "%s %.64q: NUL or end of line", field, s)
	}
	return nil
}
