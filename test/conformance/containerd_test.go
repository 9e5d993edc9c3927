package conformance

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const containerdImage = "docker.io/library/busybox:judge"

// containerd is Debian's containerd in a cell with everything of it under the cell's folder, and
// the client ctr.
type containerd struct {
	*cell
	base []string // ctr with its address
	flag []string // how ctr names the runtime
}

func newContainerd(t *testing.T) *containerd {
	t.Helper()
	daemon, client, runtime := need(t, "containerd", "containerd"), need(t, "ctr", "containerd"), runtimePath(t)
	need(t, "containerd-shim-runc-v2", "containerd")
	c := newCell(t)
	socket := filepath.Join(c.dir, "containerd.sock")
	config := `version = 2
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs", "io.containerd.internal.v1.opt"]
root = "` + c.dir + `/root"
state = "/run/containerd"
[grpc]
  address = "` + socket + `"
[ttrpc]
  address = "` + socket + `.ttrpc"
`
	file := filepath.Join(c.dir, "containerd.toml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	d := &containerd{
		cell: c, base: []string{client, "--address", socket},
		flag: []string{"--runc-binary", runtime, "--runtime", "io.containerd.runc.v2", "--snapshotter", "native"},
	}
	c.daemon(t, daemon, "--config", file)
	d.await(t, "version")
	image := filepath.Join(c.dir, "busybox.tar")
	if err := os.WriteFile(image, dockerArchive(t), 0o644); err != nil {
		t.Fatal(err)
	}
	d.must(t, d.args("image", "import", "--snapshotter", "native", image)...)
	return d
}

// daemon starts a program that lives as long as the cell; its log is shown where the test fails.
func (c *cell) daemon(t *testing.T, argv ...string) {
	t.Helper()
	var log strings.Builder
	cmd := c.command(context.WithoutCancel(t.Context()), argv...)
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// Before the cell ends, which kills what this leaves.
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // killed is no news
		if t.Failed() {
			t.Logf("log of %s:\n%s", argv[0], excerpt(log.String()))
		}
	})
}

func (d *containerd) args(more ...string) []string {
	return append(d.base[:len(d.base):len(d.base)], more...)
}

// await waits until ctr gets an answer.
func (d *containerd) await(t *testing.T, args ...string) {
	t.Helper()
	for range 100 {
		if d.run(t, d.args(args...)...).code == 0 {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatal("containerd does not answer")
}

// container is "ctr run" with the runtime under test.
func (d *containerd) container(flags []string, id string, argv ...string) []string {
	all := append([]string{"run"}, d.flag...)
	all = append(append(all, flags...), containerdImage, id)
	return d.args(append(all, argv...)...)
}

func TestContainerdRun(t *testing.T) {
	d := newContainerd(t)
	prepareFiles(t, d.dir)
	sh := func(script string) []string { return []string{"/bin/sh", "-c", script} }
	for _, tc := range []podmanCase{
		{"echo", nil, []string{"echo", "hello"}, "hello", 0},
		{"exit code", nil, sh("exit 42"), "", 42},
		{"environment", []string{"--env", "A=b c"}, sh(`echo "$A"`), "b c", 0},
		{"folder", []string{"--cwd", "/tmp"}, sh("pwd"), "/tmp", 0},
		{"read-only", []string{"--read-only"}, sh("touch /x 2>/dev/null || echo refused"), "refused", 0},
		{"seccomp", []string{"--seccomp"}, sh("grep '^Seccomp:' /proc/self/status | cut -f2"), "2", 0},
		{"no seccomp", nil, sh("grep '^Seccomp:' /proc/self/status | cut -f2"), "0", 0},
		{"volume", []string{"--mount", "type=bind,src=" + d.dir + "/volume,dst=/v,options=rbind:ro"}, sh("cat /v/in; touch /v/x 2>/dev/null || echo refused"), "from outside\nrefused", 0},
		{"host network", []string{"--net-host"}, sh("ls /sys/class/net"), "lo", 0},
		{"privileged", []string{"--privileged"}, sh("mount -t tmpfs none /tmp && echo mounted"), "mounted", 0},
		{"capability", []string{"--cap-drop", "CAP_CHOWN"}, sh("touch /tmp/x; chown 1 /tmp/x 2>/dev/null || echo refused"), "refused", 0},
		{"device", []string{"--device", "/dev/kmsg"}, sh("ls /dev/kmsg"), "/dev/kmsg", 0},
		{"own cgroup", []string{"--cgroup", "judged"}, sh("grep -c '/judged$\\|:/$' /proc/self/cgroup | grep -c ."), "1", 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			id := strings.ReplaceAll(tc.name, " ", "-")
			r := d.run(t, d.container(append([]string{"--rm"}, tc.flags...), id, tc.argv...)...)
			if got := strings.TrimSpace(r.stdout); got != tc.want || r.code != tc.code {
				t.Errorf("printed %q, code %d; want %q, %d\n%s", got, r.code, tc.want, tc.code, r.stderr)
			}
		})
	}
	if left := d.must(t, d.args("container", "ls", "-q")...); left != "" {
		t.Errorf("containers left: %s", left)
	}
}

func TestContainerdTerminal(t *testing.T) {
	d := newContainerd(t)
	t.Run("run", func(t *testing.T) {
		d.startTerminal(t, d.container([]string{"--rm", "-t"}, "tty", "/bin/sh")...).converse(t)
	})
	t.Run("exec", func(t *testing.T) {
		d.must(t, d.container([]string{"-d"}, "host", "sleep", "1000")...)
		d.startTerminal(t, d.args("task", "exec", "-t", "--exec-id", "e", "host", "/bin/sh")...).converse(t)
		d.must(t, d.args("task", "rm", "-f", "host")...)
	})
}

func TestContainerdTask(t *testing.T) {
	d := newContainerd(t)
	d.must(t, d.container([]string{"-d", "--memory-limit", "67108864"}, "web", "/bin/sh", "-c", "trap 'exit 3' TERM; while :; do usleep 50000; done")...)
	d.status(t, "RUNNING")
	if r := d.run(t, d.args("task", "exec", "--exec-id", "e1", "--cwd", "/tmp", "web", "/bin/sh", "-c", "pwd; cat /proc/1/comm; exit 9")...); r.stdout != "/tmp\nsh\n" || r.code != 9 {
		t.Errorf("exec: %q, code %d: %s", r.stdout, r.code, r.stderr)
	}
	if r := d.run(t, d.args("task", "exec", "--exec-id", "e2", "web", "/no/such")...); r.code == 0 || !strings.Contains(r.stderr, "no such file") {
		t.Errorf("exec of a program that is not there: code %d: %s", r.code, r.stderr)
	}
	d.must(t, d.args("task", "pause", "web")...)
	d.status(t, "PAUSED")
	if r := d.run(t, d.args("task", "exec", "--exec-id", "e3", "web", "true")...); r.code == 0 {
		t.Errorf("exec in a paused container succeeded")
	}
	d.must(t, d.args("task", "resume", "web")...)
	d.status(t, "RUNNING")
	if out := d.must(t, d.args("task", "metrics", "web")...); !strings.Contains(out, "67108864") {
		t.Errorf("metrics without the memory limit: %s", out)
	}
	if out := d.must(t, d.args("task", "ps", "web")...); len(strings.Split(out, "\n")) < 2 {
		t.Errorf("ps without a process: %s", out)
	}
	d.must(t, d.args("task", "kill", "-s", "TERM", "web")...)
	d.status(t, "STOPPED")
	if r := d.run(t, d.args("task", "rm", "web")...); r.code != 0 || !strings.Contains(r.stderr, "exit code 3") {
		t.Errorf("exit code of the task is not 3: %s", r.stderr)
	}
	d.must(t, d.args("container", "rm", "web")...)
}

// TestContainerdKill kills without asking, and starts what cannot start.
func TestContainerdKill(t *testing.T) {
	d := newContainerd(t)
	d.must(t, d.container([]string{"-d"}, "web", "sleep", "1000")...)
	d.must(t, d.args("task", "kill", "-s", "KILL", "-a", "web")...)
	d.status(t, "STOPPED")
	d.must(t, d.args("task", "rm", "-f", "web")...)
	if r := d.run(t, d.container([]string{"--rm"}, "nothing", "/no/such")...); r.code == 0 || !strings.Contains(r.stderr, "no such file") {
		t.Errorf("a program that is not there: code %d: %s", r.code, r.stderr)
	}
}

// status wants ctr to say that of the task "web" within ten seconds.
func (d *containerd) status(t *testing.T, want string) {
	t.Helper()
	var out string
	for range 100 {
		out = d.must(t, d.args("task", "ls")...)
		if strings.Contains(out, want) {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatalf("status is not %s:\n%s", want, out)
}
