package engine

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestOverSSH: all commands go over ssh, each connection a process of its own there. What stands for ssh runs here what it is told to run there.
func TestOverSSH(t *testing.T) {
	l := newLine(t)
	bin := filepath.Join(l.dir, "bin")
	if err := os.Mkdir(bin, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"ssh":      "#!/bin/sh\nwhile [ \"$1\" != -- ]; do shift; done\n[ \"$2\" = box ] || exit 255\nexec sh -c \"$3\"\n",
		"bulkhead": "#!/bin/sh\nexec " + l.program + " --root " + l.dir + "/root --runroot " + l.dir + "/run \"$@\"\n",
	} {
		if err := os.WriteFile(filepath.Join(bin, name), []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	t.Setenv("BULKHEAD_HOST", "ssh://box")
	do := func(stdin string, args ...string) result {
		cmd := exec.Command(l.program, args...)
		var out, problems bytes.Buffer
		cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &problems
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		code := ended(t, cmd)
		return result{out.String(), problems.String(), code}
	}
	for _, c := range []struct {
		stdin string
		args  string
		out   string
		code  int
	}{
		{"", "images --format {{.Repository}}", "busybox\n", 0},
		{"", "run --rm busybox echo hi", "", 125}, // each connection is an engine of its own: the output could be missed
		{"", "run -d busybox no-such", "", 127},
		{"", "run -d --name far busybox sleep 1000", "", 0},
		{"", "exec far echo in", "in\n", 0},
		{"x", "exec -i far cat", "x", 0},
		{"", "exec far false", "", 1},
		{"", "ps --format {{.Names}}", "far\n", 0},
		{"", "rm -f far", "far\n", 0},
	} {
		if r := do(c.stdin, strings.Fields(c.args)...); r.code != c.code || c.out != "" && r.out != c.out {
			t.Errorf("%s: %+v", c.args, r)
		}
	}
	t.Setenv("BULKHEAD_HOST", "ssh://elsewhere")
	if r := do("", "ps"); r.code != 1 || !strings.Contains(r.problems, "engine") {
		t.Errorf("%+v", r)
	}
	t.Setenv("BULKHEAD_HOST", "")
}
