package ocijson

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestDeps keeps the reason for this package true: a program that links it does not link reflection-driven JSON.
func TestDeps(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	deps := strings.Fields(string(out))
	if len(deps) < 10 {
		t.Fatalf("only %d dependencies: %q", len(deps), deps)
	}
	allowed := map[string]bool{
		"github.com/bulkhead-engine/bulkhead/internal/errdef":      true,
		"github.com/bulkhead-engine/bulkhead/internal/ocijson":     true,
		"github.com/opencontainers/runtime-spec/specs-go":          true,
		"github.com/opencontainers/runtime-spec/specs-go/features": true,
	}
	for _, dep := range deps {
		switch {
		case strings.HasPrefix(dep, "encoding"), dep == "regexp", dep == "net", dep == "log/slog", dep == "os/user", dep == "text/template":
			t.Errorf("depends on %s", dep)
		case strings.Contains(dep, ".") && !allowed[dep]:
			t.Errorf("depends on %s", dep)
		}
	}
}

// specModule returns where runtime-spec's module lies.
func specModule(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/opencontainers/runtime-spec").Output()
	if err != nil {
		t.Logf("go list: %v", err)
		return ""
	}
	return filepath.Clean(strings.TrimSpace(string(out)))
}
