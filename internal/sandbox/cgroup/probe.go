package cgroup

import "golang.org/x/sys/unix"

// TryDeviceFilter has the kernel check and load the device program that denies everything, attaches it to nothing and lets go of it. An
// error says why the groups of a v2 hierarchy cannot be given a device filter here.
func TryDeviceFilter() error {
	program, err := loadProgram((&filter{}).program())
	if err != nil {
		return err
	}
	return unix.Close(program)
}
