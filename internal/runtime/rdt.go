package runtime

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/linux/procfs"
	"github.com/bulkhead-engine/bulkhead/internal/runtime/state"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// resctrl is a mounted resctrl file system: the classes of cache and memory bandwidth of Intel RDT and AMD's PQE
// (Documentation/filesystems/resctrl.rst).
type resctrl string

// findResctrl returns where it is mounted. That it is not, or not supported, is of kind Unsupported.
func findResctrl() (resctrl, error) {
	proc, err := procfs.Host()
	if err != nil {
		return "", err
	}
	mounts, err := proc.Mountinfo(0)
	if err != nil {
		return "", err
	}
	for i := range mounts {
		if mounts[i].Type == "resctrl" && mounts[i].Root == "/" {
			return resctrl(mounts[i].Point), nil
		}
	}
	err = errdef.Errorf(errdef.Unsupported, "linux.intelRdt: no resctrl file system is mounted")
	return "", errdef.WithHint(err, "mount -t resctrl resctrl /sys/fs/resctrl, or take linux.intelRdt out of the configuration")
}

// plan names the groups that a container is to have, and makes nothing.
func (fsys resctrl) plan(id string, want *specs.LinuxIntelRdt) (*state.RDT, error) {
	rdt := &state.RDT{}
	switch {
	case want.ClosID == "/":
		rdt.Path = string(fsys)
	case strings.Contains(want.ClosID, "/") || want.ClosID == "." || want.ClosID == "..":
		return nil, errdef.Errorf(errdef.Invalid, "linux.intelRdt.closID %q: is no name of a directory", want.ClosID)
	case want.ClosID == "":
		rdt.Path, rdt.Made = filepath.Join(string(fsys), id), true
	default:
		rdt.Path = filepath.Join(string(fsys), want.ClosID)
		_, err := os.Lstat(rdt.Path)
		switch {
		case err == nil && !wantsSchemata(want):
		case err == nil:
			if err := fsys.same(rdt.Path, want); err != nil {
				return nil, err
			}
		case !wantsSchemata(want):
			return nil, errdef.Errorf(errdef.Invalid, "linux.intelRdt.closID %q: does not exist, and there is no schema to make it with", want.ClosID)
		default:
			rdt.Made = true
		}
	}
	if want.EnableMonitoring {
		rdt.Monitor = filepath.Join(rdt.Path, "mon_groups", id)
	}
	return rdt, nil
}

func wantsSchemata(want *specs.LinuxIntelRdt) bool {
	return want.L3CacheSchema != "" || want.MemBwSchema != "" || len(want.Schemata) > 0
}

// same refuses to change a class that others use: config-linux.md demands an error when the schemata differ.
func (fsys resctrl) same(path string, want *specs.LinuxIntelRdt) error {
	data, err := os.ReadFile(filepath.Join(path, "schemata"))
	if err != nil {
		return errdef.Errorf(errdef.Internal, "linux.intelRdt: %w", err)
	}
	have := map[string]bool{}
	for line := range strings.Lines(string(data)) {
		have[strings.TrimSpace(line)] = true
	}
	for _, line := range schemata(want) {
		if !have[strings.TrimSpace(line)] {
			return errdef.Errorf(errdef.Conflict, "linux.intelRdt.closID %q: exists with other schemata than %q", want.ClosID, line)
		}
	}
	return nil
}

// schemata returns the lines in the order in which they are to be written.
func schemata(want *specs.LinuxIntelRdt) []string {
	var lines []string
	if want.L3CacheSchema != "" {
		lines = append(lines, want.L3CacheSchema)
	}
	if want.MemBwSchema != "" {
		lines = append(lines, want.MemBwSchema)
	}
	return append(lines, want.Schemata...)
}

// makeRDT makes the groups that the record names. A group that it could not make is taken out of the record: it may be somebody else's.
func makeRDT(rdt *state.RDT, want *specs.LinuxIntelRdt) error {
	if rdt.Made {
		if err := os.Mkdir(rdt.Path, 0o755); err != nil {
			rdt.Made = false
			return errdef.Errorf(errdef.Internal, "make resctrl group: %w", err)
		}
	}
	if rdt.Made || want.ClosID == "/" {
		if err := writeSchemata(rdt.Path, schemata(want)); err != nil {
			return err
		}
	}
	if rdt.Monitor != "" {
		if err := os.Mkdir(rdt.Monitor, 0o755); err != nil {
			rdt.Monitor = ""
			return errdef.Errorf(errdef.Internal, "make resctrl monitoring group: %w", err)
		}
	}
	return nil
}

func writeSchemata(path string, lines []string) error {
	if len(lines) == 0 {
		return nil
	}
	text := strings.Join(lines, "\n") + "\n"
	if err := os.WriteFile(filepath.Join(path, "schemata"), []byte(text), 0o600); err != nil {
		return errdef.Errorf(errdef.Invalid, "set resctrl schemata %q: %w", text, err)
	}
	return nil
}

// joinRDT moves the container's first process, and with it all that it will start, into the groups.
func joinRDT(rdt *state.RDT, pid int) error {
	dirs := []string{rdt.Path}
	if rdt.Monitor != "" {
		dirs = append(dirs, rdt.Monitor)
	}
	for _, dir := range dirs {
		if err := os.WriteFile(filepath.Join(dir, "tasks"), []byte(strconv.Itoa(pid)), 0o600); err != nil {
			return errdef.Errorf(errdef.Internal, "join resctrl group: %w", err)
		}
	}
	return nil
}

// removeRDT removes what the container had for itself.
func removeRDT(rdt *state.RDT) error {
	if rdt == nil {
		return nil
	}
	var dirs []string
	if rdt.Monitor != "" {
		dirs = append(dirs, rdt.Monitor)
	}
	if rdt.Made {
		dirs = append(dirs, rdt.Path)
	}
	for _, dir := range dirs {
		if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return errdef.Errorf(errdef.Internal, "remove resctrl group: %w", err)
		}
	}
	return nil
}
