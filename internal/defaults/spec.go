package defaults

import (
	"math"
	"os"
	"runtime"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// A container's ids on the host, when root starts it. systemd's table of ids (systemd.io, "Users, Groups, UIDs and GIDs on systemd
// Systems") gives 1879048192 to 2147483647 to nobody, so that no user, no user's subordinate range and no other manager of
// containers is met there. There is room for 4,096 ranges.
const (
	FirstID = 1879048192
	IDs     = 65536
)

// Limits of a container that names none.
const (
	MaxPids     = 2048
	softNoFile  = 1024
	hardNoFile  = 524288
	devptsGroup = "gid=5" // the group tty, which a map of one id does not have
)

// A Host is what the defaults must know of the machine and the caller.
type Host struct {
	NoFile   uint64 // the hard limit of descriptors, which a caller without CAP_SYS_RESOURCE cannot raise
	CPUs     int    // processors that the host has
	UIDs     []specs.LinuxIDMapping
	GIDs     []specs.LinuxIDMapping
	Rootless bool // the caller is not root: no cgroup is his to limit
}

// ThisHost asks the kernel. Root gets the first range of ids; anybody else his own id as root inside and no other.
func ThisHost() Host {
	h := Host{NoFile: softNoFile, CPUs: runtime.NumCPU(), Rootless: os.Geteuid() != 0}
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) == nil {
		h.NoFile = limit.Max
	}
	h.UIDs, h.GIDs = Range(0), Range(0)
	if h.Rootless {
		h.UIDs = []specs.LinuxIDMapping{{HostID: uint32(os.Geteuid()), Size: 1}}
		h.GIDs = []specs.LinuxIDMapping{{HostID: uint32(os.Getegid()), Size: 1}}
	}
	return h
}

// Range returns the nth range of ids, 0 to 4095. Ranges of different numbers do not meet.
func Range(n uint32) []specs.LinuxIDMapping {
	const ranges = (math.MaxInt32 + 1 - FirstID) / IDs
	return []specs.LinuxIDMapping{{ContainerID: 0, HostID: FirstID + n%ranges*IDs, Size: IDs}}
}

// Spec returns the configuration of a container of the level on the host, in the caller's hands: nothing in it is shared with another
// call's. What to run, the root file system's path and limits of memory and processor time are the caller's to fill in.
//
// The root file system must be readable by the mapped ids; what belongs to ids outside of the map is shown as nobody's.
func Spec(level Level, host Host) *specs.Spec {
	level = level.strict()
	process := &specs.Process{
		Cwd: "/", Args: []string{"/bin/sh"},
		Env:             []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
		NoNewPrivileges: level < Compat,
		Rlimits:         hostRlimits(host),
	}
	set := grantValues(capabilities, level)
	process.Capabilities = &specs.LinuxCapabilities{
		Bounding: set, Effective: append([]string{}, set...), Permitted: append([]string{}, set...),
		Inheritable: []string{}, Ambient: []string{},
	}
	linux := &specs.Linux{
		MaskedPaths: hostMasks(level, host), ReadonlyPaths: wallValues(frozen, level), Seccomp: Seccomp(level), Sysctl: map[string]string{},
	}
	for _, w := range standing(namespaces, level) {
		linux.Namespaces = append(linux.Namespaces, specs.LinuxNamespace{Type: specs.LinuxNamespaceType(w.value)})
		if w.value == string(specs.UserNamespace) {
			linux.UIDMappings = append([]specs.LinuxIDMapping{}, host.UIDs...)
			linux.GIDMappings = append([]specs.LinuxIDMapping{}, host.GIDs...)
		}
	}
	for _, s := range sysctls {
		if level >= s.from && !(host.Rootless && s.value == pingRange) {
			linux.Sysctl[s.value] = s.setting
		}
	}
	annotations := map[string]string{}
	for _, m := range modules {
		if m.at(level) {
			annotations[m.annotation] = m.setting
		}
	}
	if !host.Rootless {
		pids := int64(MaxPids)
		linux.Resources = &specs.LinuxResources{
			Pids:    &specs.LinuxPids{Limit: &pids},
			Devices: []specs.LinuxDeviceCgroup{{Allow: false, Access: "rwm"}},
		}
	}
	return &specs.Spec{
		Version: specs.Version, Hostname: "bulkhead", Process: process, Linux: linux,
		Root: &specs.Root{Path: "rootfs", Readonly: level == Untrusted}, Mounts: hostMounts(level, host),
		Annotations: annotations,
	}
}

func hostRlimits(host Host) []specs.POSIXRlimit {
	hard := min(hardNoFile, host.NoFile)
	return []specs.POSIXRlimit{
		{Type: "RLIMIT_NOFILE", Soft: min(softNoFile, hard), Hard: hard},
		{Type: "RLIMIT_CORE", Soft: 1, Hard: 1},
	}
}

func hostMasks(level Level, host Host) []string {
	var out []string
	for _, path := range wallValues(masks, level) {
		if path != thermal {
			out = append(out, path)
			continue
		}
		for n := range host.CPUs {
			out = append(out, strings.Replace(path, "*", strconv.Itoa(n), 1))
		}
	}
	return out
}

func hostMounts(level Level, host Host) []specs.Mount {
	var out []specs.Mount
	for _, m := range levelMounts(level) {
		if host.Rootless && m.kind == "cgroup" {
			continue // there are no limits of its own to be seen, and version 1 cannot be mounted in a user namespace
		}
		var options []string
		for _, option := range strings.Split(m.options, ",") {
			if option == devptsGroup && !mapped(host.GIDs, 5) {
				continue
			}
			options = append(options, option)
		}
		out = append(out, specs.Mount{Destination: m.value, Type: m.kind, Source: m.source, Options: options})
	}
	return out
}

// levelMounts returns the mounts of the level in order.
func levelMounts(level Level) []mount {
	var out []mount
	for _, m := range mounts {
		if level >= m.from {
			out = append(out, m)
		}
	}
	if level == Untrusted {
		out = append(out, scratch...)
	}
	return out
}

// mapped reports whether the map has the container's id.
func mapped(ranges []specs.LinuxIDMapping, id uint32) bool {
	for _, r := range ranges {
		if id >= r.ContainerID && id-r.ContainerID < r.Size {
			return true
		}
	}
	return false
}
