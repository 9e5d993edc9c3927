package archtest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"sort"
	"strings"
)

// Heavy are packages that cost start-up time, memory or attack surface that no program on the hot path has to spare.
var Heavy = []string{
	"encoding/gob", "encoding/json", "encoding/xml", "go/ast", "html/template", "log/slog", "net", "net/http", "os/user", "plugin",
	"regexp", "text/template", "testing",
}

// HotPath returns the packages that the program links, sorted, without the standard library's internal ones, which differ between
// releases of Go. Dir is where `go list` runs.
func HotPath(dir, program string) ([]string, error) {
	cmd := exec.Command("go", "list", "-deps", program)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // as the programs are built
	cmd.Dir = dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	raw, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list -deps %s: %w: %s", program, err, stderr.String())
	}
	var deps []string
	for _, dep := range strings.Fields(string(raw)) {
		first, _, _ := strings.Cut(dep, "/")
		if strings.Contains(first, ".") || !strings.Contains("/"+dep+"/", "/internal/") && first != "vendor" {
			deps = append(deps, dep)
		}
	}
	sort.Strings(deps)
	return deps, nil
}

// Weight returns those of the packages that are Heavy.
func Weight(deps []string) []string {
	var out []string
	for _, dep := range deps {
		for _, heavy := range Heavy {
			if dep == heavy {
				out = append(out, dep)
			}
		}
	}
	return out
}
