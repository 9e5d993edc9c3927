package attack

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// TestDescriptors: whatever the caller has open without O_CLOEXEC, and whatever the runtime opens itself, must not be there in
// the container's first process nor in one that exec brings.
func TestDescriptors(t *testing.T) {
	prove(t, func(t *testing.T, p *program) string {
		b := newBundle(t, "/attacker", "fds")
		b.write(t, p)
		out, code := p.withExtraFiles(t, "run", "--bundle", b.dir, newID())
		if code != 0 {
			t.Fatalf("run: %s", out)
		}
		found := hits(out)
		b.spec.Process.Args = []string{"/bin/sleep", "1000"}
		id, _ := p.start(t, b)
		out, code = p.withExtraFiles(t, "exec", id, "/attacker", "fds")
		if code != 0 {
			t.Fatalf("exec: %s", out)
		}
		return found + hits(out)
	})
}

func (p *program) withExtraFiles(t *testing.T, args ...string) (string, int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := p.command(ctx, args...)
	for _, name := range []string{"/", "/etc/shadow", work, "/dev/null"} {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		cmd.ExtraFiles = append(cmd.ExtraFiles, f)
	}
	return p.finish(t, cmd)
}

// TestWorkingDirectory is CVE-2024-21626: the working directory names a descriptor of the runtime, by itself or through a link of
// the image, and the container climbs from there to a file of the host.
func TestWorkingDirectory(t *testing.T) {
	prove(t, func(t *testing.T, p *program) string {
		marker := filepath.Join(work, "marker")
		writeFile(t, marker, "content of the host", 0o644)
		b := newBundle(t, "/attacker", "cwd", marker)
		b.unconfine()
		stay := newBundle(t, "/bin/sleep", "1000")
		id, _ := p.start(t, stay)
		for fd := 3; fd < 14; fd++ {
			link := fmt.Sprintf("/proc/self/fd/%d", fd)
			for _, r := range []string{b.rootfs, stay.rootfs} {
				symlink(t, link, filepath.Join(r, "work"))
			}
			for _, cwd := range []string{link, "/work", link + "/../..", "/proc/1/root"} {
				b.spec.Process.Cwd = cwd
				b.write(t, p)
				out, _ := p.withExtraFiles(t, "run", "--bundle", b.dir, newID())
				if reached := hits(out); reached != "" {
					return fmt.Sprintf("run with cwd %s: %s", cwd, reached)
				}
				out, _ = p.withExtraFiles(t, "exec", "--cwd", cwd, id, "/attacker", "cwd", marker)
				if reached := hits(out); reached != "" {
					return fmt.Sprintf("exec with cwd %s: %s", cwd, reached)
				}
			}
		}
		return ""
	})
}

// TestJoiningProcess is CVE-2016-9962: while exec brings processes without any privilege, a container with CAP_SYS_PTRACE looks at each
// one before it runs the image's program: at its descriptors, directories, memory, and through ptrace.
func TestJoiningProcess(t *testing.T) {
	prove(t, func(t *testing.T, p *program) string {
		marker := filepath.Join(work, "marker")
		writeFile(t, marker, "content of the host", 0o644)
		b := newBundle(t, "/attacker", "racer", "ptrace", "0000000000000000", marker)
		b.capabilities("CAP_SYS_PTRACE", "CAP_KILL", "CAP_DAC_OVERRIDE")
		b.spec.Linux.Seccomp = nil
		id, _ := p.start(t, b)
		process := filepath.Join(b.dir, "process.json")
		none := &specs.LinuxCapabilities{} // without it the program would have the container's
		data, err := json.Marshal(&specs.Process{Args: []string{"/bin/true"}, Cwd: "/", Env: []string{p.mark}, NoNewPrivileges: true, Capabilities: none})
		if err != nil {
			t.Fatal(err)
		}
		writeFile(t, process, string(data), 0o600)
		execs, until := 0, p.window(8*time.Second)
		for execs < 2000 && time.Now().Before(until) {
			_, _ = p.quiet("exec", "--process", process, id)
			execs++
			if said, _ := os.ReadFile(b.output()); hits(string(said)) != "" {
				break
			}
		}
		said, _ := os.ReadFile(b.output())
		if !strings.Contains(string(said), "racing") {
			t.Fatalf("the racer did not run: %s", said)
		}
		t.Logf("%d execs", execs)
		return hits(string(said))
	})
}
