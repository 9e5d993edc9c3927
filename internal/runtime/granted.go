package runtime

import (
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/runtime/launch"
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/capability"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// warnUngranted warns of capabilities that the container shall have and the runtime itself lacks: config.md, Linux Process, demands a
// warning and no failure. The root of a user namespace has them all.
func (r *Runtime) warnUngranted(spec *specs.Spec) {
	if spec.Linux != nil {
		for _, ns := range spec.Linux.Namespaces {
			if ns.Type == specs.UserNamespace {
				return
			}
		}
	}
	have := launch.Permitted()
	if have == 0 {
		return // as in the plan: who knows nothing takes nothing away
	}
	sets, _ := capability.FromSpec(spec.Process.Capabilities)
	if taken := sets.Limit(have); taken != 0 {
		r.warn(errdef.Errorf(errdef.Denied, "process.capabilities: %s: the runtime itself lacks them, and they are not granted", strings.Join(taken.Names(), " ")))
	}
}
