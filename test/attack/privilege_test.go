package attack

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// TestCapabilitySets is CVE-2022-24769 and CVE-2022-29162: inheritable and ambient sets stay empty unless they are asked for, in
// the first process and in exec; the other sets are exactly the declared ones.
func TestCapabilitySets(t *testing.T) {
	prove(t, func(t *testing.T, p *program) string {
		b := newBundle(t, "/attacker", "identity")
		b.capabilities("CAP_CHOWN", "CAP_NET_BIND_SERVICE") // bits 0 and 10
		out, code := p.run(t, b)
		if code != 0 {
			t.Fatalf("run: %s", out)
		}
		if reached := unexpectedSets(out); reached != "" {
			return "first process: " + reached
		}
		b.spec.Process.Args = []string{"/bin/sleep", "1000"}
		id, _ := p.start(t, b)
		if out, code = p.call(t, "exec", id, "/attacker", "identity"); code != 0 {
			t.Fatalf("exec: %s", out)
		}
		if reached := unexpectedSets(out); reached != "" {
			return "exec: " + reached
		}
		return ""
	})
}

func unexpectedSets(out string) string {
	want := map[string]string{"CapInh": "0", "CapPrm": "401", "CapEff": "401", "CapBnd": "401", "CapAmb": "0"}
	for name, value := range want {
		if line := fmt.Sprintf("%s: %016s", name, value); !strings.Contains(out, line) {
			return fmt.Sprintf("%s is not %s:\n%s", name, value, out)
		}
	}
	return ""
}

// TestGainThroughFiles: a setuid file and one with file capabilities give a user nothing under no_new_privs.
func TestGainThroughFiles(t *testing.T) {
	prove(t, func(t *testing.T, p *program) string {
		for _, name := range []string{"setuid", "filecaps"} {
			b := newBundle(t, "/"+name, "identity")
			file := filepath.Join(b.rootfs, name)
			mode := os.FileMode(0o755)
			if name == "setuid" {
				mode |= os.ModeSetuid
			}
			copyFile(t, filepath.Join(work, "image/attacker"), file, mode)
			if name == "filecaps" {
				// struct vfs_cap_data, revision 2, effective: permitted CAP_CHOWN (linux/capability.h)
				value := []byte{1, 0, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
				if err := unix.Setxattr(file, "security.capability", value, 0); err != nil {
					t.Fatal(err)
				}
			}
			b.spec.Process.User = specs.User{UID: 1000, GID: 1000}
			b.spec.Process.Capabilities = &specs.LinuxCapabilities{Bounding: []string{"CAP_CHOWN"}}
			out, code := p.run(t, b)
			if code != 0 {
				t.Fatalf("run: %s", out)
			}
			if !strings.Contains(out, "uid 1000 euid 1000") || !strings.Contains(out, "CapEff: 0000000000000000") {
				return name + ": " + out
			}
		}
		return ""
	})
}

// TestGroups is CVE-2022-2989 and CVE-2022-36109: the caller's groups do not come along, the declared ones do, and so a file
// that denies a group denies it to the container.
func TestGroups(t *testing.T) {
	prove(t, func(t *testing.T, p *program) string {
		b := newBundle(t, "/bin/sleep", "1000")
		secret := filepath.Join(b.rootfs, "secret")
		writeFile(t, secret, "for all but group 4242", 0o704)
		if err := os.Chown(secret, 0, 4242); err != nil {
			t.Fatal(err)
		}
		user := specs.User{UID: 1000, GID: 1000, AdditionalGids: []uint32{4242}}
		b.spec.Process.User = user
		b.spec.Process.Capabilities = nil
		id, _ := p.start(t, b)
		process := filepath.Join(b.dir, "process.json")
		for _, args := range [][]string{{"/attacker", "identity"}, {"/attacker", "read", "/secret"}} {
			b.spec.Process.Args = args
			b.write(t, p)
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			data, err := json.Marshal(b.spec.Process)
			if err != nil {
				t.Fatal(err)
			}
			writeFile(t, process, string(data), 0o600)
			for _, command := range [][]string{{"run", "--bundle", b.dir, newID()}, {"exec", "--process", process, id}} {
				cmd := p.command(ctx, command...)
				if cmd.SysProcAttr == nil {
					cmd.SysProcAttr = new(syscall.SysProcAttr)
				}
				cmd.SysProcAttr.Credential = &syscall.Credential{Groups: []uint32{7777}}
				out, code := p.finish(t, cmd)
				if code != 0 {
					t.Fatalf("%s: %s", command[0], out)
				}
				if strings.Contains(out, "for all but") {
					return command[0] + ": read a file that denies the container's group"
				}
				if args[1] == "identity" && !strings.Contains(out, "groups [4242]") && !strings.Contains(out, "groups [1000 4242]") {
					return command[0] + ": " + out
				}
			}
		}
		return ""
	})
}

// TestLimits: declared limits hold, and the container can lift neither its open files nor its place in the queue of the OOM killer.
func TestLimits(t *testing.T) {
	prove(t, func(t *testing.T, p *program) string {
		score := 500
		b := newBundle(t, "/attacker", "limits", "64", "500")
		b.spec.Process.OOMScoreAdj = &score
		b.spec.Process.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Soft: 64, Hard: 64}}
		out, code := p.run(t, b)
		if code != 0 {
			t.Fatalf("run: %s", out)
		}
		return hits(out)
	})
}

// TestKeyring: the caller's session keyring, and the keys in it, stay outside.
func TestKeyring(t *testing.T) {
	prove(t, func(t *testing.T, p *program) string {
		b := newBundle(t, "/attacker", "keyring", "attack-secret")
		b.unconfine()
		b.write(t, p)
		type result struct {
			out  string
			code int
			err  error
		}
		results := make(chan result)
		go func() {
			runtime.LockOSThread() // never unlocked: the thread with the keyring ends with this goroutine
			if _, err := unix.KeyctlJoinSessionKeyring("attack"); err != nil {
				results <- result{err: err}
				return
			}
			if _, err := unix.AddKey("user", "attack-secret", []byte("secret"), unix.KEY_SPEC_SESSION_KEYRING); err != nil {
				results <- result{err: err}
				return
			}
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			out, code := p.finish(t, p.command(ctx, "run", "--bundle", b.dir, newID()))
			results <- result{out: out, code: code}
		}()
		r := <-results
		if r.err != nil || r.code != 0 {
			t.Fatalf("exit status %d, %v: %s", r.code, r.err, r.out)
		}
		return hits(r.out)
	})
}

// TestAbstractSocket is CVE-2020-15257: abstract sockets belong to the network namespace.
func TestAbstractSocket(t *testing.T) {
	name := idPrefix + "socket"
	l, err := net.Listen("unix", "@"+name)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	prove(t, func(t *testing.T, p *program) string {
		b := newBundle(t, "/attacker", "abstract", name)
		b.unconfine()
		out, _ := p.run(t, b)
		return hits(out)
	})
}

// TestSharedMemory: System V objects belong to the ipc namespace.
func TestSharedMemory(t *testing.T) {
	key := 0x42000000 + os.Getpid()
	id, err := unix.SysvShmGet(key, 4096, unix.IPC_CREAT|0o666)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if _, err := unix.SysvShmCtl(id, unix.IPC_RMID, nil); err != nil {
			t.Error(err)
		}
	}()
	prove(t, func(t *testing.T, p *program) string {
		b := newBundle(t, "/attacker", "shm", fmt.Sprint(key))
		b.unconfine()
		out, _ := p.run(t, b)
		return hits(out)
	})
}

// TestHookEnvironment: what the image puts into its environment is not what the runtime's hooks run with on the host.
func TestHookEnvironment(t *testing.T) {
	prove(t, func(t *testing.T, p *program) string {
		b := newBundle(t, "/bin/true")
		b.spec.Process.Env = append(b.spec.Process.Env, "LD_PRELOAD=/evil.so", "EVIL=1")
		seen := filepath.Join(b.dir, "seen")
		hook := []specs.Hook{{Path: "/bin/busybox", Args: []string{"sh", "-c", "env >> " + seen}, Env: []string{"MINE=1"}}}
		b.spec.Hooks = &specs.Hooks{Prestart: hook, CreateRuntime: hook, Poststart: hook, Poststop: hook} //nolint:staticcheck // prestart too
		if out, code := p.run(t, b); code != 0 {
			t.Fatalf("run: %s", out)
		}
		data, err := os.ReadFile(seen)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(data), "MINE=1") {
			t.Errorf("the hook did not get its own environment: %s", data)
		}
		if strings.Contains(string(data), "EVIL") || strings.Contains(string(data), "LD_PRELOAD") {
			return fmt.Sprintf("the hook ran with the container's environment:\n%s", data)
		}
		return ""
	})
}
