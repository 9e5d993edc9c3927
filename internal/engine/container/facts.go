package container

import (
	"context"
	"os"
	"path/filepath"
	"strconv"

	"github.com/bulkhead-engine/bulkhead/internal/engine/assemble"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/linux/resolve"
	"github.com/bulkhead-engine/bulkhead/internal/linux/sys"
	"github.com/bulkhead-engine/bulkhead/internal/monitor/control"
	"github.com/moby/moby/api/types/mount"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

const (
	maxAccounts = 4 << 20 // bytes of /etc/passwd and /etc/group of an image
	maxDevices  = 4096    // below one directory
)

// assemble makes a container's configuration. root is a descriptor of the image's files, nil before there is one.
func (s *Service) assemble(_ context.Context, r *Record, rootfs string, root *os.File) (*assemble.Result, error) {
	q, err := s.request(r, rootfs, root)
	if err != nil {
		return nil, err
	}
	return assemble.Spec(q)
}

// request is what assembling a container's configuration needs to know.
func (s *Service) request(r *Record, rootfs string, root *os.File) (*assemble.Request, error) {
	q := &assemble.Request{ID: r.ID, Config: r.Config, Host: r.Host, Points: s.placed(r.ID, s.points(r)), Rootfs: r.Rootfs}
	q.Facts = assemble.Facts{
		Host: host(r), Kernel: release(), Rootfs: rootfs, Cgroup: cgroupOf(r.ID), Device: devices, Namespace: s.namespace,
		Source: func(path string) bool { _, err := os.Lstat(path); return err == nil },
		Files:  s.files(r), Init: initPath, Sharing: s.sharing(r),
	}
	if !s.rt.Rootless {
		q.Facts.Nodes = filepath.Join(s.runDir(r.ID), control.DevicesDir)
	}
	if parent := r.Host.CgroupParent; parent != "" {
		q.Facts.Cgroup = filepath.Join("/", parent, r.ID)
	}
	q.Facts.Labels = r.labelFacts()
	if root == nil { // names of users and groups are looked up when the files are there
		q.Config.User, q.Host.GroupAdd = "", nil
	} else {
		var err error
		if q.Facts.Passwd, err = readIn(root, "/etc/passwd"); err != nil {
			return nil, err
		}
		if q.Facts.Group, err = readIn(root, "/etc/group"); err != nil {
			return nil, err
		}
	}
	return q, nil
}

// readIn reads a file of the image, inside its root; nil if there is none.
func readIn(root *os.File, path string) ([]byte, error) {
	at, err := resolve.InRoot(int(root.Fd()), path, unix.O_PATH)
	if err != nil {
		return nil, nil //nolint:nilerr // an image without is none with users
	}
	defer unix.Close(at)
	var st unix.Stat_t
	if unix.Fstat(at, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFREG { // not opened: an image may have a device here, and to open some does something, as a watchdog
		return nil, errdef.Errorf(errdef.Invalid, "image: %s is no file", path)
	}
	fd, err := unix.Open("/proc/self/fd/"+strconv.Itoa(at), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, errdef.Errorf(errdef.Invalid, "image: %s: %w", path, err)
	}
	defer unix.Close(fd)
	b, err := sys.ReadAll(fd, maxAccounts)
	if err != nil {
		return nil, errdef.Errorf(errdef.Invalid, "image: %s: %w", path, err)
	}
	return b, nil
}

// files are what the engine mounts of its own.
func (s *Service) files(r *Record) []assemble.Point {
	var out []assemble.Point
	for _, name := range []string{"hostname", "hosts", "resolv.conf"} {
		out = append(out, assemble.Point{
			Type: mount.TypeBind, Source: filepath.Join(s.dir(r.ID), name), Destination: "/etc/" + name, Idmap: true, Flag: "/etc/" + name,
		})
	}
	if wantsInit(r) {
		out = append(out, s.initPoint())
	}
	return out
}

// namespace finds one of another container's.
func (s *Service) namespace(name string, kind specs.LinuxNamespaceType) (string, error) {
	c, err := s.Get(name)
	if err != nil {
		return "", err
	}
	if c.State.PID == 0 {
		return "", errdef.Errorf(errdef.Conflict, "container %s does not run: it has no namespaces to join", c.Name)
	}
	file := map[specs.LinuxNamespaceType]string{
		specs.PIDNamespace: "pid", specs.NetworkNamespace: "net", specs.IPCNamespace: "ipc", specs.UTSNamespace: "uts", specs.CgroupNamespace: "cgroup", specs.UserNamespace: "user",
	}[kind]
	return "/proc/" + strconv.Itoa(c.State.PID) + "/ns/" + file, nil
}

// devices describes a device node of the host, or those below a directory.
func devices(path string) ([]specs.LinuxDevice, error) {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil, errdef.Errorf(errdef.NotFound, "no such device: %w", err)
	}
	st, err := os.Stat(real)
	if err != nil {
		return nil, errdef.Errorf(errdef.NotFound, "no such device: %w", err)
	}
	if !st.IsDir() {
		d, ok := device(real)
		if !ok {
			return nil, errdef.Errorf(errdef.Invalid, "not a device node")
		}
		d.Path = path
		return []specs.LinuxDevice{d}, nil
	}
	var out []specs.LinuxDevice
	err = filepath.WalkDir(real, func(p string, e os.DirEntry, err error) error {
		if err != nil || len(out) > maxDevices {
			return nil //nolint:nilerr // what cannot be looked at is not there for the container either
		}
		if e.IsDir() && (p == "/dev/pts" || p == "/dev/shm" || p == "/dev/fd" || p == "/dev/mqueue") {
			return filepath.SkipDir
		}
		if d, ok := device(p); ok && p != "/dev/console" {
			out = append(out, d)
		}
		return nil
	})
	return out, err
}

func device(path string) (specs.LinuxDevice, bool) {
	var st unix.Stat_t
	if unix.Lstat(path, &st) != nil {
		return specs.LinuxDevice{}, false
	}
	kind := map[uint32]string{unix.S_IFCHR: "c", unix.S_IFBLK: "b"}[st.Mode&unix.S_IFMT]
	mode := os.FileMode(st.Mode & 0o777)
	uid, gid := st.Uid, st.Gid
	d := specs.LinuxDevice{Path: path, Type: kind, Major: int64(unix.Major(st.Rdev)), Minor: int64(unix.Minor(st.Rdev)), FileMode: &mode}
	if uid < 65536 && gid < 65536 {
		d.UID, d.GID = &uid, &gid
	}
	return d, kind != ""
}

// cgroupOf is the group of a container that was asked to be in no other.
func cgroupOf(id string) string { return "/bulkhead/" + id }
