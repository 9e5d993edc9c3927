package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bulkhead-engine/bulkhead/internal/defaults"
	"github.com/bulkhead-engine/bulkhead/internal/runtime/bundle"
)

// TestBundle writes the bundle of every level and has the runtime's own reader judge it.
func TestBundle(t *testing.T) {
	for _, level := range []defaults.Level{defaults.Untrusted, defaults.Hardened, defaults.Compat} {
		t.Run(level.String(), func(t *testing.T) {
			dir := t.TempDir()
			spec := configuration(level, limits{memory: 64, pids: 7, cpus: 0.25})
			if err := writeBundle(dir, spec, []byte("#!/program\n")); err != nil {
				t.Fatal(err)
			}
			b, err := bundle.Load(dir)
			if err != nil {
				t.Fatal(err)
			}
			info, err := os.Stat(filepath.Join(dir, "rootfs", reportName))
			if err != nil || info.Mode().Perm() != 0o755 {
				t.Fatalf("%v, %v", info, err)
			}
			if os.Geteuid() != 0 {
				return // no limits, and files stay the caller's
			}
			r := b.Spec.Linux.Resources
			if *r.Memory.Limit != 64<<20 || *r.Pids.Limit != 7 || *r.CPU.Quota != 25000 || *r.CPU.Period != 100000 {
				t.Errorf("limits: %+v %+v %+v", r.Memory, r.Pids, r.CPU)
			}
			var st unix.Stat_t
			if err := unix.Stat(filepath.Join(dir, "rootfs"), &st); err != nil {
				t.Fatal(err)
			}
			if want := uint32(defaults.FirstID); level != defaults.Compat && st.Uid != want {
				t.Errorf("the root belongs to %d, want %d", st.Uid, want)
			}
		})
	}
}

func TestCommandLine(t *testing.T) {
	var out, errs bytes.Buffer
	if code, err := run([]string{"--config", "--memory", "5"}, &out, &errs); code != 0 || err != nil {
		t.Fatal(code, err)
	}
	if !strings.Contains(out.String(), `"noNewPrivileges": true`) {
		t.Errorf("config: %s", out.String())
	}
	for _, c := range []struct {
		args []string
		code int
	}{
		{[]string{"--level", "lax"}, 2},
		{[]string{"argument"}, 2},
		{[]string{"--runtime", "/does/not/exist"}, 1},
	} {
		code, err := run(c.args, &out, &errs)
		if code != c.code || err == nil {
			t.Errorf("%v: %d, %v", c.args, code, err)
		}
	}
	if code, _ := run([]string{"--none"}, &out, &errs); code != 2 {
		t.Errorf("an unknown flag: %d", code)
	}
}
