package conformance

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// podman is Debian's Podman in a cell, its storage under the cell's folder, with one image "busybox".
type podman struct {
	*cell
	base []string
}

func newPodman(t *testing.T) *podman {
	t.Helper()
	path, runtime := need(t, "podman", "podman"), runtimePath(t)
	need(t, "conmon", "conmon")
	c := newCell(t)
	p := &podman{cell: c, base: []string{
		path,
		"--runtime", runtime, "--root", c.dir + "/root", "--runroot", c.dir + "/runroot", "--tmpdir", c.dir + "/tmp",
		"--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", "--events-backend", "none",
	}}
	image := filepath.Join(c.dir, "busybox.tar")
	if err := os.WriteFile(image, busyboxTar(t), 0o644); err != nil {
		t.Fatal(err)
	}
	p.must(t, p.args("import", image, "busybox")...)
	return p
}

func (p *podman) args(more ...string) []string {
	return append(p.base[:len(p.base):len(p.base)], more...)
}

// container is the start of a "podman run": no network, and limits that a machine without
// CAP_SYS_RESOURCE may set (Podman's own defaults raise the hard ones).
func (p *podman) container(more ...string) []string {
	return p.args(append([]string{"run", "--network", "none", "--ulimit", "nofile=20000:20000", "--ulimit", "nproc=1000:1000"}, more...)...)
}

// podmanCase is one "podman run --rm".
type podmanCase struct {
	name  string
	flags []string
	argv  []string
	want  string // trimmed standard output
	code  int
}

func podmanCases(dir string) []podmanCase {
	sh := func(script string) []string { return []string{"/bin/sh", "-c", script} }
	status := func(field string) []string { return sh("grep '^" + field + ":' /proc/self/status | cut -f2") }
	// 333 shares are a weight of 42 on cgroup v2; of 13 with runtimes from before 2025, which mapped them in proportion.
	const sharesScript = `if [ -e /sys/fs/cgroup/cpu.weight ]; then w=$(cat /sys/fs/cgroup/cpu.weight); case $w in 42|13) echo 333;; *) echo weight $w;; esac; exit; fi
		cat /sys/fs/cgroup/cpu/cpu.shares /sys/fs/cgroup/cpu,cpuacct/cpu.shares 2>/dev/null | head -n1`
	return []podmanCase{
		{"echo", nil, []string{"echo", "hello"}, "hello", 0},
		{"exit code", nil, sh("exit 42"), "", 42},
		{"program not found", nil, []string{"/no/such"}, "", 127},
		{"program not executable", nil, []string{"/etc/passwd"}, "", 126},
		{"memory", []string{"--memory", "64m"}, sh("cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null; true"), "67108864", 0},
		{"pids limit", []string{"--pids-limit", "33"}, sh("cat /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max 2>/dev/null; true"), "33", 0},
		{"pids limit holds", []string{"--pids-limit", "5"}, sh("for i in 1 2 3 4 5 6 7 8; do sleep 2 & done 2>/dev/null; echo no limit"), "", 2},
		{"cpu shares", []string{"--cpu-shares", "333", "--cgroupns", "private"}, sh(sharesScript), "333", 0},
		{"read-only", []string{"--read-only", "--read-only-tmpfs=false"}, sh("touch /x /tmp/x 2>/dev/null && echo written; echo end"), "end", 0},
		{"read-only with tmpfs", []string{"--read-only"}, sh("touch /tmp/x && echo written; touch /x 2>/dev/null || echo refused"), "written\nrefused", 0},
		{"tmpfs", []string{"--tmpfs", "/t:size=1m,mode=1777"}, sh("grep -c ' /t tmpfs .*size=1024k' /proc/mounts"), "1", 0},
		{"cap-drop all", []string{"--cap-drop", "all"}, status("CapEff"), "0000000000000000", 0},
		{"cap-drop all bounding", []string{"--cap-drop", "all", "--cap-add", "net_raw"}, status("CapBnd"), "0000000000002000", 0},
		{"user", []string{"--user", "65534:65534"}, sh("id -u; id -g; grep -c '^CapEff:.0*$' /proc/self/status"), "65534\n65534\n1", 0},
		{"group-add", []string{"--user", "7:8", "--group-add", "1234"}, sh("id -G"), "8 1234", 0},
		{"no new privileges", []string{"--security-opt", "no-new-privileges"}, status("NoNewPrivs"), "1", 0},
		{"seccomp default", nil, status("Seccomp"), "2", 0},
		{"seccomp unconfined", []string{"--security-opt", "seccomp=unconfined"}, status("Seccomp"), "0", 0},
		{"seccomp profile", []string{"--security-opt", "seccomp=" + dir + "/seccomp.json"}, sh("mkdir /d 2>&1; echo end"), "mkdir: can't create directory '/d': No anode\nend", 0},
		{"volume", []string{"-v", dir + "/volume:/v"}, sh("cat /v/in; echo from inside > /v/out"), "from outside", 0},
		{"volume read-only", []string{"-v", dir + "/volume:/v:ro"}, sh("cat /v/in; echo x > /v/ro 2>/dev/null || echo refused"), "from outside\nrefused", 0},
		{"hostname", []string{"--hostname", "judge"}, sh("hostname"), "judge", 0},
		{"environment and folder", []string{"-e", "A=b c", "-w", "/tmp"}, sh(`echo "$A"; pwd`), "b c\n/tmp", 0},
		{"ulimit", []string{"--ulimit", "core=4096:8192"}, sh("ulimit -S -c; ulimit -H -c"), "8\n16", 0},
		{"sysctl", []string{"--sysctl", "net.ipv4.ip_forward=1"}, sh("cat /proc/sys/net/ipv4/ip_forward"), "1", 0},
		{"network none", nil, sh("ls /sys/class/net"), "lo", 0},
		{"pid 1", nil, sh("echo $$"), "1", 0},
		{"pid host", []string{"--pid", "host"}, sh("[ $$ -ne 1 ] && echo other"), "other", 0},
		{"ipc and uts host", []string{"--ipc", "host", "--uts", "host"}, sh("echo ok"), "ok", 0},
		{"masked paths", nil, sh("cat /proc/kcore /proc/keys | wc -c; ls /proc/acpi /sys/firmware | grep -c ."), "0\n2", 0},
		{"read-only paths", nil, sh("echo b > /proc/sysrq-trigger 2>/dev/null || echo refused"), "refused", 0},
		{"device", []string{"--device", "/dev/zero:/dev/nought:r"}, sh("head -c 3 /dev/nought | od -An -c | head -n1 | tr -d ' '"), `\0\0\0`, 0},
		{"devices denied", []string{"--cap-add", "mknod"}, sh("mknod /tmp/m c 1 1 && head -c 1 /tmp/m 2>&1 | grep -c 'not permitted'"), "1", 0},
		{"user namespace", []string{"--uidmap", "0:100000:1000", "--gidmap", "0:100000:1000"}, sh("tr -s ' ' < /proc/self/uid_map; id -u; touch /x && stat -c %u /x"), "0 100000 1000\n0\n0", 0},
		{"privileged", []string{"--privileged"}, sh("mount -t tmpfs none /tmp && echo mounted"), "mounted", 0},
	}
}

// prepareFiles writes what podmanCases and dockerCases mount.
func prepareFiles(t *testing.T, dir string) {
	t.Helper()
	if err := os.Mkdir(dir+"/volume", 0o777); err != nil {
		t.Fatal(err)
	}
	// errno 55 is ENOANO, which nothing else returns
	profile := `{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO","errnoRet":55}]}`
	for name, content := range map[string]string{"volume/in": "from outside\n", "seccomp.json": profile} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestPodmanRun(t *testing.T) {
	p := newPodman(t)
	prepareFiles(t, p.dir)
	for _, tc := range podmanCases(p.dir) {
		t.Run(tc.name, func(t *testing.T) {
			r := p.run(t, append(p.container(append([]string{"--rm"}, tc.flags...)...), append([]string{"busybox"}, tc.argv...)...)...)
			if got := strings.TrimSpace(r.stdout); got != tc.want || r.code != tc.code {
				t.Errorf("printed %q, code %d; want %q, %d\n%s", got, r.code, tc.want, tc.code, r.stderr)
			}
			if out, err := os.ReadFile(p.dir + "/volume/out"); tc.name == "volume" && string(out) != "from inside\n" {
				t.Errorf("written in a volume: %q, %v", out, err)
			}
		})
	}
	if left := p.must(t, p.args("ps", "-a", "-q")...); left != "" {
		t.Errorf("containers left: %s", left)
	}
	checkClean(t, p.cell)
}

// checkClean wants nothing of the containers left in the cell, within five seconds: a cleanup
// process may still be at work. Cgroups that the engine made for itself may stay; a container's
// ends with its 64 digits, or has the name that the test gave it.
func checkClean(t *testing.T, c *cell) {
	t.Helper()
	var left []string
	for range 50 {
		left = c.leftovers(t)
		for i, l := range left {
			if l == "(left cgroups)" {
				left = slices.Delete(left, i, i+1)
				break
			}
		}
		for _, g := range c.made() {
			if name := filepath.Base(g); !slices.Contains([]string{"libpod_parent", "conmon", "docker", "moby", "default"}, name) {
				left = append(left, g)
			}
		}
		if len(left) == 0 {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Errorf("left after all containers are gone: %v", left)
}

func TestPodmanStdin(t *testing.T) {
	p := newPodman(t)
	cmd := p.command(t.Context(), append(p.container("--rm", "-i"), "busybox", "sh", "-c", "read a; echo got $a; cat")...)
	cmd.Stdin = strings.NewReader("one\ntwo\n")
	if r := finish(cmd); r.stdout != "got one\ntwo\n" || r.code != 0 {
		t.Errorf("printed %q, code %d: %s", r.stdout, r.code, r.stderr)
	}
	checkClean(t, p.cell)
}

func TestPodmanTerminal(t *testing.T) {
	p := newPodman(t)
	t.Run("run", func(t *testing.T) {
		p.startTerminal(t, append(p.container("--rm", "-it"), "busybox", "/bin/sh")...).converse(t)
	})
	t.Run("exec", func(t *testing.T) {
		p.must(t, append(p.container("-d", "--name", "e"), "busybox", "sleep", "1000")...)
		p.startTerminal(t, p.args("exec", "-it", "e", "/bin/sh")...).converse(t)
		p.must(t, p.args("rm", "-f", "-t", "0", "e")...)
	})
	checkClean(t, p.cell)
}

func TestPodmanLifecycle(t *testing.T) {
	p := newPodman(t)
	p.must(t, append(p.container("-d", "--name", "web", "--memory", "64m"), "busybox", "/bin/sh", "-c",
		"trap 'echo usr1' USR1; trap 'echo term; exit 3' TERM; echo up; while :; do usleep 50000; done")...)
	p.eventually(t, "up", "logs", "web")
	if got := p.must(t, p.args("exec", "web", "/bin/sh", "-c", "echo $0 in $(cat /proc/1/comm)")...); got != "/bin/sh in sh" {
		t.Errorf("exec printed %q", got)
	}
	if r := p.run(t, p.args("exec", "-u", "65534", "-w", "/tmp", "-e", "X=y", "web", "/bin/sh", "-c", "id -u; pwd; echo $X; exit 9")...); r.stdout != "65534\n/tmp\ny\n" || r.code != 9 {
		t.Errorf("exec with user, folder, environment: %q, code %d: %s", r.stdout, r.code, r.stderr)
	}
	if r := p.run(t, p.args("exec", "web", "/no/such")...); r.code != 127 {
		t.Errorf("exec of a program that is not there: code %d: %s", r.code, r.stderr)
	}
	if got := p.must(t, p.args("exec", "-d", "web", "/bin/sh", "-c", "echo detached > /tmp/d")...); len(got) != 64 {
		t.Errorf("detached exec printed %q", got)
	}
	p.eventually(t, "detached", "exec", "web", "cat", "/tmp/d")
	p.must(t, p.args("kill", "-s", "USR1", "web")...)
	p.eventually(t, "up\nusr1", "logs", "web")
	p.must(t, p.args("pause", "web")...)
	p.eventually(t, "paused", "inspect", "-f", "{{.State.Status}}", "web")
	if r := p.run(t, p.args("exec", "web", "true")...); r.code == 0 {
		t.Errorf("exec in a paused container succeeded")
	}
	p.must(t, p.args("unpause", "web")...)
	p.must(t, p.args("container", "update", "--memory", "96m", "web")...)
	limit := "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null"
	p.eventually(t, "100663296", "exec", "web", "/bin/sh", "-c", limit+"; true")
	p.must(t, p.args("restart", "-t", "5", "web")...)
	p.eventually(t, "up\nusr1\nterm\nup", "logs", "web")
	p.must(t, p.args("stop", "-t", "5", "web")...)
	p.eventually(t, "exited 3", "inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "web")
	p.must(t, p.args("start", "web")...)
	p.must(t, p.args("rm", "-f", "-t", "0", "web")...)
	checkClean(t, p.cell)
}

// eventually wants a podman command to print a text within 20 seconds.
func (p *podman) eventually(t *testing.T, want string, args ...string) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		r := p.run(t, p.args(args...)...)
		if strings.TrimSpace(r.stdout) == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("podman %v prints %q, want %q: %s", args, r.stdout, want, r.stderr)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func TestPodmanStop(t *testing.T) {
	p := newPodman(t)
	p.must(t, append(p.container("-d", "--name", "deaf"), "busybox", "sleep", "1000")...)
	p.must(t, p.args("stop", "-t", "1", "deaf")...)
	p.eventually(t, "137", "inspect", "-f", "{{.State.ExitCode}}", "deaf")
	p.must(t, p.args("rm", "deaf")...)
	checkClean(t, p.cell)
}

func TestPodmanOOM(t *testing.T) {
	p := newPodman(t)
	r := p.run(t, append(p.container("--name", "hungry", "--memory", "16m", "--memory-swap", "16m"), "busybox", "/bin/sh", "-c", "tail /dev/zero")...)
	if r.code != 137 {
		t.Errorf("code %d, want 137: %s", r.code, r.stderr)
	}
	p.must(t, p.args("rm", "hungry")...)
	checkClean(t, p.cell)
}

func TestPodmanPod(t *testing.T) {
	p := newPodman(t)
	p.must(t, p.args("pod", "create", "--infra=false", "--name", "pod")...)
	for _, name := range []string{"a", "b"} {
		p.must(t, append(p.container("-d", "--pod", "pod", "--name", name), "busybox", "sleep", "1000")...)
	}
	if got := p.must(t, p.args("exec", "b", "echo", "in a pod")...); got != "in a pod" {
		t.Errorf("exec printed %q", got)
	}
	p.must(t, p.args("pod", "rm", "-f", "-t", "0", "pod")...)
	checkClean(t, p.cell)
}
