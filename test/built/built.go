// Package built puts programs of this module where a test or a benchmark wants them.
//
//	err := built.Program(filepath.Join(image, "inside"), "./test/spec/inside")
//
// They are compiled, or, where BULKHEAD_TEST_BIN names a directory that has them, copied from there: a machine of the VM lab has no compiler.
package built

import (
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
)

const module = "github.com/bulkhead-engine/bulkhead"

// Program makes output the program of a package, named from the module's root as ./cmd/bulkhead-runtime: static, without paths and symbol tables, as
// the release is.
func Program(output, pkg string) error {
	if dir := os.Getenv("BULKHEAD_TEST_BIN"); dir != "" {
		data, err := os.ReadFile(filepath.Join(dir, path.Base(pkg)))
		if err != nil {
			return err
		}
		return os.WriteFile(output, data, 0o755)
	}
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", output, module+strings.TrimPrefix(pkg, "."))
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build %s: %w: %s", pkg, err, out)
	}
	return nil
}

// Commands puts commands of this module (the names of directories below cmd) side by side into a directory, which others may enter.
func Commands(dir string, names ...string) error {
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	for _, name := range names {
		if err := Program(filepath.Join(dir, name), "./cmd/"+name); err != nil {
			return err
		}
	}
	return nil
}
