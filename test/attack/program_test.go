package attack

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/bulkhead-engine/bulkhead/bench/dockerbundle"
)

// patience bounds each command of a runtime. None may block: a command that takes longer is killed, and the test fails.
const patience = 20 * time.Second

// prove makes an attack on the careless runtime, where it must reach something, and on the runtime under test, where it must
// reach nothing and leave nothing. The attack returns what it reached.
func prove(t *testing.T, attack func(t *testing.T, p *program) string) {
	t.Helper()
	t.Run("careless", func(t *testing.T) {
		reached := attack(t, careless)
		if reached == "" && !t.Failed() {
			t.Error("the attack reaches nothing with the careless runtime either, so this test cannot fail")
		}
		t.Log(reached)
	})
	t.Run("runtime", func(t *testing.T) {
		t.Cleanup(func() { // after the containers of the attack are deleted
			if left := leftovers(patience); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
		if reached := attack(t, target); reached != "" {
			t.Error(reached)
		}
	})
}

// program is a runtime.
type program struct {
	name, path string
	root       string // state root
	mark       string // KEY=VALUE in the environment of all its processes
}

var counter atomic.Int64

func newID() string { return idPrefix + strconv.FormatInt(counter.Add(1), 10) }

// window is until when an attack is tried that wins by chance: a runtime that must lose gets longer, for it is over when it has lost.
func (p *program) window(d time.Duration) time.Time {
	if p == careless {
		d *= 10
	}
	return time.Now().Add(d)
}

// command prepares a command of the runtime. What it may do to mounts is kept away from the host by a mount namespace, since
// some attacks trick a careless runtime into working there.
func (p *program) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, p.path, append([]string{"--root", p.root}, args...)...)
	cmd.Env = append(os.Environ(), p.mark)
	cmd.WaitDelay = time.Second
	if p == careless {
		cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWUTS}
	}
	return cmd
}

// call runs a command to its end and returns its exit status and all that it and its container wrote. Output goes through a
// file, because a container that stays would keep a pipe open.
func (p *program) call(t *testing.T, args ...string) (string, int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return p.finish(t, p.command(ctx, args...))
}

func (p *program) finish(t *testing.T, cmd *exec.Cmd) (string, int) {
	t.Helper()
	out, err := os.CreateTemp(work, "output-")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = out.Close(); _ = os.Remove(out.Name()) }()
	cmd.Stdout, cmd.Stderr = out, out
	started := time.Now()
	err = cmd.Run()
	if cmd.ProcessState == nil {
		t.Fatalf("%v: %v", cmd.Args, err)
	}
	if time.Since(started) > patience {
		t.Errorf("%v took longer than %v", cmd.Args, patience)
	}
	_, _ = out.Seek(0, io.SeekStart)
	data, err := io.ReadAll(io.LimitReader(out, 1<<20))
	if err != nil {
		t.Fatal(err)
	}
	return string(data), cmd.ProcessState.ExitCode()
}

// run runs the bundle in the foreground and returns output and exit status. The container is gone afterwards.
func (p *program) run(t *testing.T, b *bundle) (string, int) {
	t.Helper()
	b.write(t, p)
	id := newID()
	out, code := p.call(t, "run", "--bundle", b.dir, id)
	if _, err := os.Stat(filepath.Join(p.root, id)); err == nil {
		p.remove(t, id)
	}
	return out, code
}

// start creates and starts a container that stays until the end of the test; its output goes to the file "output" of the bundle.
func (p *program) start(t *testing.T, b *bundle) (id string, pid int) {
	t.Helper()
	b.write(t, p)
	id = newID()
	out, err := os.Create(b.output())
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	pidFile := filepath.Join(b.dir, "pid")
	cmd := p.command(ctx, "create", "--bundle", b.dir, "--pid-file", pidFile, id)
	cmd.Stdout, cmd.Stderr = out, out
	t.Cleanup(func() { p.remove(t, id) })
	if err := cmd.Run(); err != nil {
		said, _ := os.ReadFile(b.output())
		t.Fatalf("%s create: %v: %s", p.name, err, said)
	}
	data, err := os.ReadFile(pidFile)
	if err != nil {
		t.Fatal(err)
	}
	if pid, err = strconv.Atoi(strings.TrimSpace(string(data))); err != nil {
		t.Fatal(err)
	}
	if said, code := p.call(t, "start", id); code != 0 {
		t.Fatalf("%s start: %s", p.name, said)
	}
	return id, pid
}

// remove deletes a container by force. With the careless runtime nobody minds if that fails.
func (p *program) remove(t *testing.T, id string) {
	t.Helper()
	out, code := p.call(t, "delete", "--force", id)
	if code != 0 && p != careless {
		t.Errorf("delete --force %s: exit status %d: %s", id, code, out)
	}
	if p == careless {
		_ = os.RemoveAll(filepath.Join(p.root, id))
	}
}

// bundle is one that a test changes to its needs.
type bundle struct {
	dir, rootfs string
	spec        *specs.Spec
}

// newBundle makes Docker's bundle with a copy of the image (files are hard links).
func newBundle(t *testing.T, args ...string) *bundle {
	t.Helper()
	dir, err := os.MkdirTemp(work, "bundle-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) }) // what stays is found by TestMain
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	b := &bundle{dir: dir, rootfs: filepath.Join(dir, "rootfs"), spec: dockerbundle.Spec(args...)}
	image := filepath.Join(work, "image")
	err = filepath.WalkDir(image, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		to := filepath.Join(b.rootfs, strings.TrimPrefix(path, image))
		if d.IsDir() {
			info, err := d.Info()
			if err != nil {
				return err
			}
			return os.Mkdir(to, info.Mode())
		}
		return os.Link(path, to)
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *bundle) output() string { return filepath.Join(b.dir, "output") }

// write puts the configuration and the mark of the runtime that will read it into place.
func (b *bundle) write(t *testing.T, p *program) {
	t.Helper()
	spec := *b.spec
	process := *spec.Process
	process.Env = append([]string{p.mark}, process.Env...)
	spec.Process = &process
	if err := dockerbundle.Write(b.dir, &spec); err != nil {
		t.Fatal(err)
	}
}

// unconfine gives the container all that the level "everything but a namespace" means: all capabilities of this machine, no
// seccomp, no masked or read-only path.
func (b *bundle) unconfine() {
	b.capabilities(everyCapability()...)
	b.spec.Linux.Seccomp = nil
	b.spec.Linux.MaskedPaths, b.spec.Linux.ReadonlyPaths = nil, nil
}

func (b *bundle) capabilities(names ...string) {
	b.spec.Process.Capabilities = &specs.LinuxCapabilities{Bounding: names, Effective: names, Permitted: names}
}

// everyCapability lists what this process itself may hand on.
func everyCapability() []string {
	data, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return nil
	}
	_, rest, _ := strings.Cut(string(data), "CapBnd:")
	field, _, _ := strings.Cut(rest, "\n")
	bits, err := strconv.ParseUint(strings.TrimSpace(field), 16, 64)
	if err != nil {
		return nil
	}
	var list []string
	for i, name := range capabilityNames {
		if bits&(1<<i) != 0 {
			list = append(list, "CAP_"+name)
		}
	}
	return list
}

// capabilityNames are those that Debian's runc 1.1.5 knows too, by number.
var capabilityNames = strings.Fields(`CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE
	NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT
	SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP
	MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE`)

// hits returns the lines that the attacker counts as a success.
func hits(output string) string {
	var list []string
	for line := range strings.Lines(output) {
		if strings.HasPrefix(line, "HIT ") {
			list = append(list, strings.TrimSpace(line))
		}
	}
	return strings.Join(list, "; ")
}

// hostDir makes a directory of the host that nothing may touch; the function returns what changed in it.
func hostDir(t *testing.T) (dir string, changed func() string) {
	t.Helper()
	dir, err := os.MkdirTemp(work, "host-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	writeFile(t, filepath.Join(dir, "precious"), "precious", 0o640)
	before := snapshot(dir)
	return dir, func() string {
		if after := snapshot(dir); after != before {
			return fmt.Sprintf("the host's directory changed:\n%s was\n%s", after, before)
		}
		return ""
	}
}

// snapshot describes a tree: name, mode, owner and the first bytes of every file.
func snapshot(dir string) string {
	var s strings.Builder
	_ = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			fmt.Fprintln(&s, path, err)
			return nil
		}
		info, err := d.Info()
		if err != nil {
			fmt.Fprintln(&s, path, err)
			return nil
		}
		st, _ := info.Sys().(*syscall.Stat_t)
		content := ""
		if info.Mode().IsRegular() {
			data, _ := os.ReadFile(path)
			content = string(data[:min(len(data), 64)])
		}
		fmt.Fprintln(&s, path, info.Mode(), st.Uid, st.Gid, content)
		return nil
	})
	return s.String()
}

func writeFile(t *testing.T, path, content string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil { // the umask is not asked, and setuid bits survive
		t.Fatal(err)
	}
}

// symlink replaces whatever is at path.
func symlink(t *testing.T, to, path string) {
	t.Helper()
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(to, path); err != nil {
		t.Fatal(err)
	}
}

// copyFile makes a real copy, for files whose inode an attack changes.
func copyFile(t *testing.T, from, to string, mode os.FileMode) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, to, string(data), mode)
}
