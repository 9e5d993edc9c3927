package idmap

import (
	"bytes"
	"context"
	"os/exec"
	"strconv"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/linux/procfs"
	"golang.org/x/sys/unix"
)

// A Writer says how maps are written. The zero value writes them directly, as a privileged runtime does.
type Writer struct {
	// Rootless: this process lacks CAP_SETUID and CAP_SETGID over the ids. The map of its own id alone is written directly, with
	// setgroups denied; any other goes through the set-user-ID helpers newuidmap(1) and newgidmap(1), which know /etc/subuid.
	Rootless bool
}

// Write writes the maps of process pid, which has just entered a new user namespace. The mapping must be valid. Errors: Denied if the
// kernel or a helper refuses, Unavailable if a helper that is needed is not installed, NotFound if the process is gone.
func (w Writer) Write(ctx context.Context, proc *procfs.Proc, pid int, m Mapping) error {
	if !w.Rootless {
		return writeBoth(proc, pid, m)
	}
	uid, gid := uint32(unix.Geteuid()), uint32(unix.Getegid())
	if SelfOnly(m.GIDs, gid) {
		// The kernel wants it before an unprivileged process may write gid_map (since 3.19).
		if err := proc.Write(procfs.Path(pid, "setgroups"), []byte("deny")); err != nil {
			return err
		}
		if err := writeMap(proc, pid, "gid_map", m.GIDs); err != nil {
			return err
		}
	} else if err := help(ctx, "newgidmap", pid, m.GIDs); err != nil {
		return err
	}
	if SelfOnly(m.UIDs, uid) {
		return writeMap(proc, pid, "uid_map", m.UIDs)
	}
	return help(ctx, "newuidmap", pid, m.UIDs)
}

func writeBoth(proc *procfs.Proc, pid int, m Mapping) error {
	if err := writeMap(proc, pid, "gid_map", m.GIDs); err != nil {
		return err
	}
	return writeMap(proc, pid, "uid_map", m.UIDs)
}

func writeMap(proc *procfs.Proc, pid int, file string, ranges []Range) error {
	err := proc.Write(procfs.Path(pid, file), []byte(Text(ranges)))
	if errdef.Is(err, errdef.Denied) {
		return errdef.WithHint(err, "this process may not map these ids; without root, use the ranges that /etc/subuid and /etc/subgid give to the user")
	}
	return err
}

// help runs newuidmap or newgidmap. Their arguments are numbers only.
func help(ctx context.Context, program string, pid int, ranges []Range) error {
	path, err := exec.LookPath(program)
	if err != nil {
		err = errdef.Errorf(errdef.Unavailable, "%s: not installed, but needed to map more than one's own id without root", program)
		return errdef.WithHint(err, "install the package uidmap (Debian) or shadow-utils (Fedora)")
	}
	args := []string{strconv.Itoa(pid)}
	for _, r := range ranges {
		for _, n := range []uint32{r.Inside, r.Outside, r.Count} {
			args = append(args, strconv.FormatUint(uint64(n), 10))
		}
	}
	out, err := exec.CommandContext(ctx, path, args...).CombinedOutput()
	if err != nil {
		err = errdef.Errorf(errdef.Denied, "%s for process %d: %w: %.256q", program, pid, err, bytes.TrimSpace(out))
		return errdef.WithHint(err, "the ranges must lie within those of the user in /etc/subuid and /etc/subgid")
	}
	return nil
}
