package runtime

import (
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/cgroup"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// A Started is what a container was started with, for whoever compares that with what the kernel says.
type Started struct {
	PID       int
	StartTime uint64 // of the process, clock ticks after boot
	Status    specs.ContainerState
	Spec      *specs.Spec // the configuration as it was at the create
	Bundle    string
	Cgroup    *cgroup.Record // nil: none of its own
	AppArmor  string         // profile that the runtime has loaded, "": none
	Rootless  bool
	// NewDevices says that an update has put other rules for devices in the place of the configuration's.
	NewDevices bool
}

// Started returns what a container was started with.
func (r *Runtime) Started(id string) (*Started, error) {
	c, err := r.look(id)
	if err != nil {
		return nil, err
	}
	defer c.close()
	s := &Started{
		PID: c.rec.Init.PID, StartTime: c.rec.Init.StartTime, Bundle: c.rec.Bundle, Cgroup: c.rec.Cgroup, AppArmor: c.rec.AppArmor, Rootless: c.rec.Rootless,
		NewDevices: c.rec.NewDevices,
	}
	if s.Status, err = c.status(); err != nil {
		return nil, err
	}
	s.Spec, err = c.dir.Config()
	return s, err
}
