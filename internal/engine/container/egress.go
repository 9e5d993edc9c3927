package container

import (
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/network"
	"github.com/bulkhead-engine/bulkhead/internal/network/policy"
)

// egressKey is the annotation that carries --egress.
const egressKey = "bulkhead.egress"

// egressOf is what a container may reach: everything that its networks let it, unless something was said.
func egressOf(r *Record) (network.Policy, error) {
	words := r.Host.Annotations[egressKey]
	if words == "" {
		return network.Policy{Open: true}, nil
	}
	p, err := policy.Parse(strings.Split(words, ","))
	if err != nil {
		return p, errdef.WithHint(errdef.Errorf(errdef.Invalid, "egress: %w", err), errdef.Hint(err))
	}
	return p, nil
}
