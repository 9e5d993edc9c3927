package defaults

import (
	"flag"
	"os"
	"testing"
)

var update = flag.Bool("update", false, "write docs/defaults.md anew")

func TestPage(t *testing.T) {
	const path = "../../docs/defaults.md"
	got := Page()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Error("docs/defaults.md is not what the tables say: go test ./internal/defaults -update")
	}
}
