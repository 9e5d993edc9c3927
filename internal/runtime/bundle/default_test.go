package bundle

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/bulkhead-engine/bulkhead/internal/ocijson"
)

// TestDefault wants the default specs to be valid and free of warnings.
func TestDefault(t *testing.T) {
	for _, rootless := range []bool{false, true} {
		spec := Default(rootless)
		if err := Validate(spec); err != nil {
			t.Errorf("rootless %v: %v", rootless, err)
		}
		if w := Warnings(spec); len(w) > 0 {
			t.Errorf("rootless %v: %q", rootless, w)
		}
		Default(rootless).Process.Capabilities.Bounding[0] = "X"
		if Default(rootless).Process.Capabilities.Bounding[0] == "X" || spec.Process.Capabilities.Effective[0] == "X" {
			t.Error("two specs share a slice")
		}
	}
}

// TestDefaultLikeRunc compares with what the runc of this machine prints. The differences that are known: its version of the
// specification, our host name, and the ambient set, which runc dropped in 1.2.
func TestDefaultLikeRunc(t *testing.T) {
	runc, err := exec.LookPath("runc")
	if err != nil {
		t.Skip("no runc on this machine")
	}
	for _, rootless := range []bool{false, true} {
		dir := t.TempDir()
		args := []string{"spec", "--bundle", dir}
		if rootless {
			args = append(args, "--rootless")
		}
		if out, err := exec.Command(runc, args...).CombinedOutput(); err != nil {
			t.Fatalf("runc spec: %v: %s", err, out)
		}
		data, err := os.ReadFile(filepath.Join(dir, ConfigName))
		if err != nil {
			t.Fatal(err)
		}
		theirs := new(specs.Spec)
		if err := ocijson.UnmarshalSpec(data, theirs); err != nil {
			t.Fatal(err)
		}
		if err := Validate(theirs); err != nil {
			t.Errorf("runc's spec: %v", err)
		}
		ours := Default(rootless)
		theirs.Version, theirs.Hostname, theirs.Process.Capabilities.Ambient = ours.Version, ours.Hostname, nil
		equal(t, "spec", ours, theirs)
	}
}

func equal(t *testing.T, what string, ours, theirs any) {
	t.Helper()
	a, err := json.MarshalIndent(ours, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.MarshalIndent(theirs, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	var x, y any
	if json.Unmarshal(a, &x) != nil || json.Unmarshal(b, &y) != nil || !reflect.DeepEqual(x, y) {
		t.Errorf("%s:\nours   %s\ntheirs %s", what, a, b)
	}
}
