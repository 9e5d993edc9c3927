package confine

import (
	"os"
	"path/filepath"
	"strconv"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/lsm"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Where things are inside.
const (
	programPath = "/bulkhead-unpack"
	Target      = "/target"
	Socket      = 3 // the descriptor of the socket to the engine
)

// Bounds of the worker. Memory is what several zstd windows of the largest size take; a layer of gzip takes some 5 MiB.
const (
	softMemory   = 256 << 20 // GOMEMLIMIT: the collector works harder from here on
	hardMemory   = 1 << 30   // RLIMIT_DATA
	maxOpenFiles = 4096
)

// capabilities over files of the target, each with its reason.
var capabilities = []string{
	"CAP_CHOWN",        // owners
	"CAP_DAC_OVERRIDE", // directories whose mode does not let their owner in
	"CAP_FOWNER",       // modes and times of files that are somebody else's by then
	"CAP_FSETID",       // set-group-ID bits of files of other groups
	"CAP_SETFCAP",      // file capabilities
	"CAP_MKNOD",        // no device in a user namespace (fs/namei.c, vfs_mknod asks the first one); package plan's Landlock rules let nobody make a whiteout without it
}

// Spec returns the configuration of the worker's container. Paths are absolute.
func Spec(o *Options, ids [2][]specs.LinuxIDMapping) *specs.Spec {
	none := []string{}
	var files unix.Rlimit
	limit := uint64(maxOpenFiles)
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &files) == nil {
		limit = min(limit, files.Max)
	}
	spec := &specs.Spec{
		Version: specs.Version, Hostname: "unpack",
		Root: &specs.Root{Path: filepath.Join(o.Box, "root"), Readonly: true},
		Process: &specs.Process{
			Cwd: "/", Args: append([]string{programPath}, o.Args...), NoNewPrivileges: true,
			Env: []string{"GOMEMLIMIT=" + strconv.Itoa(softMemory), "GOTRACEBACK=none"},
			Capabilities: &specs.LinuxCapabilities{
				Bounding: capabilities, Effective: capabilities, Permitted: capabilities, Inheritable: none, Ambient: none,
			},
			Rlimits: []specs.POSIXRlimit{
				{Type: "RLIMIT_CORE"},
				{Type: "RLIMIT_DATA", Soft: hardMemory, Hard: hardMemory},
				{Type: "RLIMIT_MEMLOCK"},
				{Type: "RLIMIT_NOFILE", Soft: limit, Hard: limit},
			},
		},
		Mounts: []specs.Mount{
			// An empty directory in the place of /dev: the plan makes no device then.
			{Destination: "/dev", Type: "bind", Source: filepath.Join(o.Box, "empty"), Options: []string{"bind", "ro", "nosuid", "nodev", "noexec"}},
			{Destination: programPath, Type: "bind", Source: o.Program, Options: []string{"bind", "ro", "nosuid", "nodev"}},
			{Destination: Target, Type: "bind", Source: o.Target, Options: []string{"bind", "rw", "nosuid", "nodev", "noexec", "private"}},
		},
		Linux: &specs.Linux{
			UIDMappings: ids[0], GIDMappings: ids[1], Seccomp: Profile(),
		},
		Annotations: map[string]string{lsm.LandlockAnnotation: "fs,scope,bind=none,connect=none,best-effort"},
	}
	for _, t := range []specs.LinuxNamespaceType{
		specs.UserNamespace, specs.PIDNamespace, specs.MountNamespace, specs.NetworkNamespace, specs.IPCNamespace, specs.UTSNamespace, specs.CgroupNamespace,
	} {
		spec.Linux.Namespaces = append(spec.Linux.Namespaces, specs.LinuxNamespace{Type: t})
	}
	return spec
}

// makeBox makes the worker's root: mount points and nothing else.
func makeBox(box string) error {
	root := filepath.Join(box, "root")
	for _, dir := range []string{box, root, filepath.Join(box, "empty"), filepath.Join(root, "dev"), filepath.Join(root, Target)} {
		if err := os.Mkdir(dir, 0o711); err != nil && !os.IsExist(err) {
			return errdef.Errorf(errdef.Internal, "make the unpacking process's root: %w", err)
		}
	}
	f, err := os.OpenFile(filepath.Join(root, programPath), os.O_WRONLY|os.O_CREATE|unix.O_NOFOLLOW, 0o500)
	if err != nil {
		return errdef.Errorf(errdef.Internal, "make the unpacking process's root: %w", err)
	}
	return f.Close()
}
