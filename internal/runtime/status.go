package runtime

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/ocijson"
	"github.com/bulkhead-engine/bulkhead/internal/runtime/launch"
	"github.com/bulkhead-engine/bulkhead/internal/runtime/state"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

//go:generate go run ../ocijson/gen -type State

// Paused is the status that the specification has no name for.
const Paused specs.ContainerState = "paused"

// A State is what `state` and `list` print: runc's fields.
type State struct {
	OCIVersion  string               `json:"ociVersion"` // that of the configuration
	ID          string               `json:"id"`
	PID         int                  `json:"pid"` // 0 when stopped
	Status      specs.ContainerState `json:"status"`
	Bundle      string               `json:"bundle"`
	Rootfs      string               `json:"rootfs"`
	Created     time.Time            `json:"created"`
	Annotations map[string]string    `json:"annotations,omitempty"`
	OOMKilled   bool                 `json:"oomKilled,omitempty"` // some process of it was killed for want of memory
	Owner       string               `json:"owner"`               // number or name of the user; `state` leaves it empty
	UID         uint32               `json:"-"`                   // owner of the state directory
}

// State returns a container's state.
func (r *Runtime) State(id string) (*State, error) {
	c, err := r.look(id)
	if err != nil {
		return nil, err
	}
	defer c.close()
	return c.state()
}

// List returns the states of all containers, sorted by identifier. A container whose state cannot be told is a warning.
func (r *Runtime) List() ([]State, error) {
	store, err := state.Open(r.Root, false)
	if err != nil {
		return nil, err
	}
	ids, err := store.IDs()
	store.Close()
	if err != nil {
		return nil, err
	}
	var list []State
	for _, id := range ids {
		s, err := r.State(id)
		switch {
		case err == nil:
			list = append(list, *s)
		case !errdef.Is(err, errdef.NotFound): // else deleted meanwhile, or never complete
			r.warn(err)
		}
	}
	return list, nil
}

func (c *container) state() (*State, error) {
	status, err := c.status()
	if err != nil {
		return nil, err
	}
	s := &State{
		OCIVersion: c.rec.OCIVersion, ID: c.rec.ID, PID: c.rec.Init.PID, Status: status, Bundle: c.rec.Bundle, Rootfs: c.rec.Rootfs,
		Created: c.rec.Made, Annotations: c.rec.Annotations, UID: c.rec.Owner,
	}
	if status == specs.StateStopped {
		s.PID = 0
	}
	if s.OOMKilled, err = c.oomKilled(); err != nil {
		c.warn(err)
	}
	var st syscall.Stat_t
	if err := syscall.Fstat(c.dir.FD(), &st); err == nil {
		s.UID = st.Uid
	}
	return s, nil
}

// status asks the kernel what the container is doing.
func (c *container) status() (specs.ContainerState, error) {
	if c.rec.Phase == state.Creating && !c.dir.Idle() {
		return specs.StateCreating, nil
	}
	if c.rec.Phase == state.Creating || !c.rec.Init.Alive() {
		return specs.StateStopped, nil
	}
	frozen, err := c.frozen()
	switch {
	case err != nil:
		return "", err
	case frozen:
		return Paused, nil
	case launch.Waiting(c.dir.Path, c.rec.Init.PID):
		return specs.StateCreated, nil
	}
	return specs.StateRunning, nil
}

// frozen reports whether the container's cgroup is frozen. One that is gone is not: then so is the container, or soon.
func (c *container) frozen() (bool, error) {
	g, err := c.cgroup()
	if err == nil && g != nil {
		var frozen bool
		frozen, err = g.Frozen()
		if err == nil {
			return frozen, nil
		}
	}
	if err == nil || errors.Is(err, fs.ErrNotExist) || errors.Is(err, os.ErrNotExist) || c.rec.Rootless {
		return false, nil
	}
	return false, err
}

// notRunning is the error of what needs a running container; its words are those that containerd and Podman look for.
func (c *container) notRunning(what string) error {
	return errdef.Errorf(errdef.Conflict, "%s container %q: container not running", what, c.rec.ID)
}

// document is the state that hooks get: runtime.md, section State.
func (c *container) document(status specs.ContainerState, pid int) []byte {
	return ocijson.AppendState(nil, &specs.State{
		Version: specs.Version, ID: c.rec.ID, Status: status, Pid: pid, Bundle: c.rec.Bundle, Annotations: c.rec.Annotations,
	})
}
