package monitor

import (
	"os"
	"path/filepath"
	"strconv"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/linux/sys"
	"github.com/bulkhead-engine/bulkhead/internal/monitor/control"
	"golang.org/x/sys/unix"
)

func (m *monitor) mountAt(i int) string {
	return filepath.Join(m.o.Run, control.MountsDir, strconv.Itoa(i))
}

// mountOthers mounts what the engine has made ready for the container and cannot name by a path, where the runtime binds it from.
func (m *monitor) mountOthers() error {
	if m.o.Mounts == 0 {
		return nil
	}
	if err := os.Mkdir(filepath.Join(m.o.Run, control.MountsDir), 0o711); err != nil {
		return errdef.Errorf(errdef.Unavailable, "monitor: mounts: %w", err)
	}
	for i := range m.o.Mounts {
		fd, at := control.ClientsFD+m.o.Clients+i, m.mountAt(i)
		var st unix.Stat_t
		err := unix.Fstat(fd, &st)
		if err == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR {
			err = os.Mkdir(at, 0o711)
		} else if err == nil {
			err = os.WriteFile(at, nil, 0o600)
		}
		if err != nil {
			return errdef.Errorf(errdef.Unavailable, "monitor: mount %d: %w", i, err)
		}
		if err := unix.MoveMount(fd, "", unix.AT_FDCWD, at, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
			return errdef.Errorf(errdef.Internal, "monitor: mount at %s: %w", at, err)
		}
		if err := unix.Close(fd); err != nil {
			return errdef.Errorf(errdef.Internal, "monitor: mount at %s: %w", at, err)
		}
	}
	return nil
}

// freeProject takes the limit of the container's layer away, whose files are gone.
func (m *monitor) freeProject() error {
	p := m.o.Project
	if p == nil {
		return nil
	}
	fd, err := unix.Open(p.Dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err == nil {
		err = sys.LimitProject(fd, p.ID, 0, 0)
		_ = unix.Close(fd)
	}
	if err != nil {
		return errdef.Errorf(errdef.Unavailable, "monitor: quota of project %d: %w", p.ID, err)
	}
	return nil
}

// unmountOthers takes them away, so that what is in them is not removed with the directory.
func (m *monitor) unmountOthers() error {
	for i := range m.o.Mounts {
		if err := unix.Unmount(m.mountAt(i), unix.UMOUNT_NOFOLLOW|unix.MNT_DETACH); err != nil {
			return errdef.Errorf(errdef.Internal, "monitor: unmount %s: %w", m.mountAt(i), err)
		}
	}
	return nil
}
