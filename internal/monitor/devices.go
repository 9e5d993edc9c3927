package monitor

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/monitor/control"
	"golang.org/x/sys/unix"
)

// makeDevices makes the nodes of the devices that the container was given, in a file system of this process's mount namespace: the run directory may lie on one that is nodev.
func (m *monitor) makeDevices() error {
	if len(m.o.Devices) == 0 {
		return nil
	}
	dir := filepath.Join(m.o.Run, control.DevicesDir)
	if err := os.Mkdir(dir, 0o711); err != nil && !errors.Is(err, os.ErrExist) {
		return errdef.Errorf(errdef.Unavailable, "monitor: devices: %w", err)
	}
	options := "mode=711,size=64k"
	if m.o.DeviceLabel != "" { // in quotes, for its comma
		options += `,context="` + m.o.DeviceLabel + `"`
	}
	if err := unix.Mount("devices", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NOEXEC, options); err != nil {
		return errdef.Errorf(errdef.Internal, "monitor: devices: mount a tmpfs at %s: %w", dir, err)
	}
	for i, d := range m.o.Devices {
		path := filepath.Join(dir, strconv.Itoa(i))
		err := unix.Mknod(path, d.Mode, int(unix.Mkdev(d.Major, d.Minor)))
		if err == nil {
			err = unix.Lchown(path, int(d.UID), int(d.GID))
		}
		if err == nil { // not masked
			err = unix.Chmod(path, d.Mode&0o777)
		}
		if err != nil {
			return errdef.Errorf(errdef.Internal, "monitor: device %d:%d: %w", d.Major, d.Minor, err)
		}
	}
	return nil
}
