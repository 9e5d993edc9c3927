package conformance

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// docker is Debian's dockerd in a cell, without bridge and firewall, the runtime under test as its default.
type docker struct {
	*cell
	base []string
}

func newDocker(t *testing.T) *docker {
	t.Helper()
	daemon, client, runtime := need(t, "dockerd", "docker.io"), need(t, "docker", "docker.io"), runtimePath(t)
	need(t, "containerd", "containerd")
	c := newCell(t)
	d := &docker{cell: c, base: []string{client, "--host", "unix://" + c.dir + "/docker.sock", "--config", c.dir + "/client"}}
	// a file of our own: the host's /etc/docker/daemon.json would be read otherwise
	if err := os.WriteFile(c.dir+"/daemon.json", []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	c.daemon(t, daemon, "--host", "unix://"+c.dir+"/docker.sock", "--data-root", c.dir+"/root", "--exec-root", "/run/docker",
		"--pidfile", "/run/docker.pid", "--config-file", c.dir+"/daemon.json", "--storage-driver", "vfs",
		"--bridge", "none", "--iptables=false", "--ip6tables=false", "--ip-forward=false", "--userland-proxy=false",
		"--add-runtime", "judged="+runtime, "--default-runtime", "judged")
	d.await(t)
	image := filepath.Join(c.dir, "busybox.tar")
	if err := os.WriteFile(image, dockerArchive(t), 0o644); err != nil {
		t.Fatal(err)
	}
	d.must(t, d.args("load", "-i", image)...)
	return d
}

func (d *docker) args(more ...string) []string {
	return append(d.base[:len(d.base):len(d.base)], more...)
}

func (d *docker) await(t *testing.T) {
	t.Helper()
	for range 200 {
		if d.run(t, d.args("version")...).code == 0 {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatal("dockerd does not answer")
}

func (d *docker) container(more ...string) []string {
	return d.args(append([]string{"run", "--network", "none"}, more...)...)
}

// dockerLacks are cases of podmanCases that Docker has no flag for, or answers otherwise.
var dockerLacks = map[string]bool{
	"read-only":            true, // flag --read-only-tmpfs
	"read-only with tmpfs": true,
	"user namespace":       true, // flag --uidmap
	"masked paths":         true, // other set
	"ulimit":               true, // the client's unit of core is bytes
}

func TestDockerRun(t *testing.T) {
	d := newDocker(t)
	prepareFiles(t, d.dir)
	for _, tc := range podmanCases(d.dir) {
		if dockerLacks[tc.name] || (tc.name == "privileged" && runtimeName(t) == "runc" && conditions["no-cap-sys-resource"]()) {
			continue // the last: Docker asks for every capability, runc refuses what it has not
		}
		t.Run(tc.name, func(t *testing.T) {
			r := d.run(t, append(d.container(append([]string{"--rm"}, tc.flags...)...), append([]string{"busybox:judge"}, tc.argv...)...)...)
			if got := strings.TrimSpace(r.stdout); got != tc.want || r.code != tc.code {
				t.Errorf("printed %q, code %d; want %q, %d\n%s", got, r.code, tc.want, tc.code, r.stderr)
			}
		})
	}
	if left := d.must(t, d.args("ps", "-a", "-q")...); left != "" {
		t.Errorf("containers left: %s", left)
	}
}

func TestDockerTerminal(t *testing.T) {
	d := newDocker(t)
	t.Run("run", func(t *testing.T) {
		d.startTerminal(t, append(d.container("--rm", "-it"), "busybox:judge", "/bin/sh")...).converse(t)
	})
	t.Run("exec", func(t *testing.T) {
		d.must(t, append(d.container("-d", "--name", "ex"), "busybox:judge", "sleep", "1000")...)
		d.startTerminal(t, d.args("exec", "-it", "ex", "/bin/sh")...).converse(t)
		d.must(t, d.args("rm", "-f", "ex")...)
	})
}

func TestDockerLifecycle(t *testing.T) {
	d := newDocker(t)
	d.must(t, append(d.container("-d", "--name", "web", "--memory", "64m"), "busybox:judge", "/bin/sh", "-c",
		"trap 'echo term; exit 3' TERM; echo up; while :; do usleep 50000; done")...)
	d.eventually(t, "up", "logs", "web")
	if r := d.run(t, d.args("exec", "-u", "65534", "-w", "/tmp", "-e", "X=y", "web", "/bin/sh", "-c", "id -u; pwd; echo $X; exit 9")...); r.stdout != "65534\n/tmp\ny\n" || r.code != 9 {
		t.Errorf("exec: %q, code %d: %s", r.stdout, r.code, r.stderr)
	}
	if r := d.run(t, d.args("exec", "web", "/no/such")...); r.code != 127 && r.code != 126 {
		t.Errorf("exec of a program that is not there: code %d: %s", r.code, r.stderr)
	}
	d.must(t, d.args("pause", "web")...)
	d.eventually(t, "paused", "inspect", "-f", "{{.State.Status}}", "web")
	d.must(t, d.args("unpause", "web")...)
	d.must(t, d.args("update", "--memory", "96m", "--memory-swap", "96m", "web")...)
	d.eventually(t, "100663296", "exec", "web", "/bin/sh", "-c", "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null; true")
	if out := d.must(t, d.args("top", "web")...); !strings.Contains(out, "trap") {
		t.Errorf("top does not show the shell: %s", out)
	}
	if out := d.must(t, d.args("stats", "--no-stream", "--format", "{{.MemUsage}}", "web")...); !strings.Contains(out, "96MiB") {
		t.Errorf("stats without the limit: %s", out)
	}
	d.must(t, d.args("restart", "-t", "5", "web")...)
	d.eventually(t, "up\nterm\nup", "logs", "web")
	d.must(t, d.args("stop", "-t", "5", "web")...)
	d.eventually(t, "exited 3", "inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "web")
	d.must(t, d.args("rm", "web")...)
}

// eventually wants a docker command to print a text within 20 seconds.
func (d *docker) eventually(t *testing.T, want string, args ...string) {
	t.Helper()
	(&podman{cell: d.cell, base: d.base}).eventually(t, want, args...)
}
