package monitor

import (
	"slices"
	"testing"

	"github.com/bulkhead-engine/bulkhead/internal/monitor/control"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// TestExecCapabilities: who a program runs as decides what it may, not who the container runs as. Nobody gets more than the container was given.
func TestExecCapabilities(t *testing.T) {
	given := []string{"CAP_CHOWN", "CAP_SETUID"}
	of := func(uid uint32) *specs.Process {
		c := &specs.LinuxCapabilities{Bounding: given, Inheritable: []string{}, Ambient: []string{}, Effective: given, Permitted: given}
		if uid != 0 {
			c.Effective, c.Permitted = []string{}, []string{}
		}
		return &specs.Process{User: specs.User{UID: uid}, Capabilities: c}
	}
	for _, c := range []struct {
		name      string
		container uint32
		user      *control.User
		want      []string
	}{
		{"root in root's container", 0, &control.User{}, given},
		{"root in a user's container", 33, &control.User{}, given},
		{"user in root's container", 0, &control.User{UID: 33}, []string{}},
		{"user in a user's container", 33, &control.User{UID: 34}, []string{}},
		{"nobody named in root's container", 0, nil, given},
		{"nobody named in a user's container", 33, nil, []string{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := &program{e: &control.Exec{Args: []string{"true"}, User: c.user}}
			got, err := p.process(of(c.container), 0)
			if err != nil {
				t.Fatal(err)
			}
			k := got.Capabilities
			if !slices.Equal(k.Effective, c.want) || !slices.Equal(k.Permitted, c.want) || !slices.Equal(k.Bounding, given) || len(k.Inheritable)+len(k.Ambient) > 0 {
				t.Errorf("capabilities %+v, want %v in effect", k, c.want)
			}
		})
	}
}
