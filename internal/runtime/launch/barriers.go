package launch

import (
	"context"
	"slices"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/linux/idmap"
	"github.com/bulkhead-engine/bulkhead/internal/linux/netlink"
	"github.com/bulkhead-engine/bulkhead/internal/linux/procfs"
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/plan"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// writeMaps gives a process that has just made its user namespace the container's ids, and its new time namespace the offsets, which
// the process itself has no right to write after the change of ids.
func writeMaps(pid int, spec *specs.Spec) error {
	proc, err := procfs.Host()
	if err != nil {
		return err
	}
	m := idmap.FromSpec(spec.Linux.UIDMappings, spec.Linux.GIDMappings)
	w := idmap.Writer{Rootless: unix.Geteuid() != 0 || insideUserNS(proc)}
	if err := w.Write(context.Background(), proc, pid, m); err != nil {
		return errdef.WithHint(errdef.Errorf(errdef.KindOf(err), "linux.uidMappings, linux.gidMappings: %w", err), errdef.Hint(err))
	}
	text := plan.TimeOffsets(spec)
	if text == "" {
		return nil
	}
	if err := proc.Write(procfs.Path(pid, "timens_offsets"), []byte(text)); err != nil {
		return errdef.Errorf(errdef.KindOf(err), "linux.timeOffsets: %w", err)
	}
	return nil
}

// insideUserNS reports whether this process lacks the right to map any id: it is root of a user namespace itself whose own ids it may map
// only as far as they are mapped. That needs no helper, so it counts as privileged when it has CAP_SETUID and CAP_SETGID there.
func insideUserNS(*procfs.Proc) bool {
	const setgid, setuid = 6, 7
	p := Permitted()
	return !p.Has(setgid) || !p.Has(setuid)
}

// moveNetDevices moves linux.netDevices into the network namespace of the container's process.
func moveNetDevices(spec *specs.Spec, pid int) error {
	if spec.Linux == nil || len(spec.Linux.NetDevices) == 0 {
		return nil
	}
	proc, err := procfs.Host()
	if err != nil {
		return err
	}
	ns, err := proc.OpenLink(pid, "ns/net", unix.O_RDONLY|unix.O_CLOEXEC)
	if err != nil {
		return err
	}
	defer unix.Close(ns)
	names := make([]string, 0, len(spec.Linux.NetDevices))
	for name := range spec.Linux.NetDevices {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if _, err := netlink.MoveDevice(name, ns, spec.Linux.NetDevices[name].Name); err != nil {
			return errdef.WithHint(errdef.Errorf(errdef.KindOf(err), "linux.netDevices[%q]: %w", name, err), errdef.Hint(err))
		}
	}
	return nil
}
