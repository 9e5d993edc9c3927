package assemble

import (
	"path/filepath"
	"strings"
)

// match reports whether a pattern of unmask= is a path, or has it below: /proc/* and /proc/sys both mean /proc/sys.
func match(pattern, path string) bool {
	pattern = strings.TrimSuffix(pattern, "/")
	if ok, err := filepath.Match(pattern, path); err == nil && ok {
		return true
	}
	return pattern == path
}
