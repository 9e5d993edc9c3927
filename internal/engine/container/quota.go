package container

import (
	"crypto/rand"
	"encoding/binary"
	"path/filepath"
	"strconv"

	"github.com/bulkhead-engine/bulkhead/internal/engine/assemble"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/linux/sys"
	"github.com/bulkhead-engine/bulkhead/internal/monitor/control"
	"golang.org/x/sys/unix"
)

// A Quota is the limit of what a container writes into its layers: a project of the file system that the engine's root is on.
type Quota struct {
	Project      uint32
	Bytes, Files uint64 // 0: no limit
}

// limitLayer makes the directory of a container's layers a project, if --storage-opt wants one. Nothing is in it yet.
func (s *Service) limitLayer(r *Record, dir string) error {
	bytes, files, err := assemble.StorageLimits(r.Host.StorageOpt)
	if err != nil || bytes == 0 && files == 0 {
		return err
	}
	fd, err := openDir(dir)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if !sys.ProjectQuotas(fd) {
		err := errdef.Errorf(errdef.Unsupported, "storage-opt: %s is on %s without project quotas, and nothing else bounds what a container writes into its layer", s.o.Root, fsName(fd))
		return errdef.WithHint(err, "put the engine's root on xfs mounted with pquota, or on ext4 with the feature project mounted with prjquota; a volume in memory has a size, too: --tmpfs /data:size=1g")
	}
	for range 16 {
		id := newProject()
		used, inodes, most, mostFiles, err := sys.ProjectUsed(fd, id)
		if err != nil {
			return errdef.Errorf(errdef.Internal, "storage-opt: quota of project %d: %w", id, err)
		}
		if used+inodes+most+mostFiles > 0 {
			continue // somebody else's
		}
		if err := sys.LimitProject(fd, id, bytes, files); err != nil {
			return errdef.Errorf(errdef.Internal, "storage-opt: limit of project %d: %w", id, err)
		}
		r.Quota = &Quota{id, bytes, files}
		if err := sys.SetProject(fd, id); err != nil {
			s.freeProject(r)
			return errdef.Errorf(errdef.Internal, "storage-opt: project %d: %w", id, err)
		}
		return nil
	}
	return errdef.Errorf(errdef.Unavailable, "storage-opt: no free project")
}

// newProject is a number in the upper half, away from those of /etc/projid.
func newProject() uint32 {
	var b [4]byte
	_, _ = rand.Read(b[:]) // which never fails
	return binary.LittleEndian.Uint32(b[:])&0x3fffffff | 0x40000000
}

// freeProject takes the limit of a container that is gone away. What cannot be is in nobody's way: its number is drawn from a thousand million.
func (s *Service) freeProject(r *Record) {
	if r.Quota == nil {
		return
	}
	fd, err := openDir(filepath.Join(s.o.Root, "containers"))
	if err == nil {
		err = sys.LimitProject(fd, r.Quota.Project, 0, 0)
		_ = unix.Close(fd)
	}
	if err != nil {
		s.warn(errdef.Errorf(errdef.Unavailable, "quota of project %d: %w", r.Quota.Project, err))
	}
}

// project is what the monitor frees of a container that removes itself.
func (r *Record) project(root string) *control.Project {
	if r.Quota == nil {
		return nil
	}
	return &control.Project{Dir: filepath.Join(root, "containers"), ID: r.Quota.Project}
}

// fsName is what a file system is called, as far as it is one that roots are on.
func fsName(fd int) string {
	magic, err := sys.FSType(fd)
	if err != nil {
		return "a file system"
	}
	for name, m := range map[string]int64{
		"ext4": unix.EXT4_SUPER_MAGIC, "xfs": unix.XFS_SUPER_MAGIC, "btrfs": unix.BTRFS_SUPER_MAGIC, "tmpfs": unix.TMPFS_MAGIC, "overlayfs": unix.OVERLAYFS_SUPER_MAGIC, "f2fs": unix.F2FS_SUPER_MAGIC,
	} {
		if magic == m {
			return name
		}
	}
	return "a file system of type 0x" + strconv.FormatInt(magic, 16)
}
