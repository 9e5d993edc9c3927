package bundle

import (
	"fmt"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// Check refuses a configuration that Load would refuse, but for what depends on the bundle's directory.
func Check(spec *specs.Spec) error {
	if c := check(spec); c.err != nil {
		return fmt.Errorf("%s: %w", ConfigName, c.err)
	}
	return nil
}
