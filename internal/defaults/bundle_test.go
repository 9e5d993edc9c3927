package defaults

import (
	"testing"

	"github.com/bulkhead-engine/bulkhead/internal/runtime/bundle"
)

// TestValid has the runtime's own judge look at every level, as root's and as another user's.
func TestValid(t *testing.T) {
	for _, l := range levels {
		for _, rootless := range []bool{false, true} {
			spec := Spec(l, Host{NoFile: 4096, CPUs: 2, UIDs: Range(1), GIDs: Range(1), Rootless: rootless})
			if err := bundle.Validate(spec); err != nil {
				t.Errorf("%v, rootless %v: %v", l, rootless, err)
			}
		}
	}
}
