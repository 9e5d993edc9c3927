package state

import (
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/sandbox/cgroup"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

//go:generate go run ../../ocijson/gen -type Record

// Phase says how far a create has come.
type Phase string

// The phases. What happens to a container after its creation is the kernel's knowledge, and not written down.
const (
	Creating Phase = "creating" // what the record names may or may not exist
	Complete Phase = "complete"
)

// A Record is what is remembered of a container. Fields are added, never given another meaning: a running container may be older than
// the program that reads its record.
type Record struct {
	ID    string    `json:"id"`
	Phase Phase     `json:"phase"`
	Made  time.Time `json:"created"` // when the create was begun, UTC

	// What `state` prints of the configuration.
	OCIVersion  string            `json:"ociVersion"`
	Bundle      string            `json:"bundle"` // absolute
	Rootfs      string            `json:"rootfs"` // absolute
	Annotations map[string]string `json:"annotations,omitempty"`

	Init       Process        `json:"init"`                 // none before the child's first barrier
	Owner      uint32         `json:"owner"`                // effective user id of the runtime
	Cgroup     *cgroup.Record `json:"cgroup,omitempty"`     // nil: the container has none of its own
	CgroupMade bool           `json:"cgroupMade,omitempty"` // it is ours, and so is every process in it; before, it may be empty directories
	RDT        *RDT           `json:"intelRdt,omitempty"`

	// AppArmor is the profile that the runtime itself has loaded or chosen for all processes, "" if the configuration names one or there is none. One that
	// was made for the container goes with it.
	AppArmor string `json:"appArmor,omitempty"`

	Hooks    *specs.Hooks `json:"hooks,omitempty"`
	OwnPIDs  bool         `json:"ownPids,omitempty"`  // it has a pid namespace of its own: its end is that of all its processes
	Rootless bool         `json:"rootless,omitempty"` // cgroups may be out of reach
	// NewDevices says that an update has changed the device rules, so that those of the configuration are a change again.
	NewDevices bool `json:"newDevices,omitempty"`
}

// An RDT names a container's resctrl groups (Documentation/filesystems/resctrl.rst).
type RDT struct {
	Path    string `json:"path"`              // absolute, of the control group
	Made    bool   `json:"made,omitempty"`    // it is ours to remove
	Monitor string `json:"monitor,omitempty"` // of the monitoring group, ours to remove; "": none
}
