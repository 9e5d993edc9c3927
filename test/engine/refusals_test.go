package engine

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestHandbookRefused: what cannot be had on this host, or at all, is refused by its name and with the reason, and leaves nothing.
func TestHandbookRefused(t *testing.T) {
	l := newLine(t)
	modules, _ := os.ReadFile("/sys/kernel/security/lsm")
	for flags, want := range map[string]string{
		"--security-opt apparmor=docker-default":            "AppArmor is not enabled on this host",
		"--security-opt label=type:container_t":             "SELinux is not enabled on this host",
		"--security-opt seccomp=DIR/absent.json":            "opening seccomp profile",
		"--security-opt nothing=1":                          "there is no such option",
		"-v DIR:/v:rshared":                                 "what a container mounts stays in it",
		"-v DIR:/v:nonsense":                                "invalid mode",
		"-v DIR:/":                                          "destination can't be '/'",
		"--mount type=bind,source=DIR/absent,target=/v":     "bind source path does not exist",
		"--mount type=bind,source=DIR,target=/v --tmpfs /v": "duplicate mount point",
		"--device /dev/absent":                              "no such device",
		"--device /etc/passwd":                              "not a device node",
		"--device-cgroup-rule nonsense":                     "wants TYPE MAJOR:MINOR ACCESS",
		"--device-read-bps /dev/null:1mb":                   "is no block device",
		"--cpus=4096":                                       "range of CPUs",
		"--memory=1g --memory-swap=512m":                    "minimum memoryswap limit",
		"--memory=512m --memory-reservation=1g":             "less than memory reservation",
		"--blkio-weight=5":                                  "10 to 1000",
		"--cpuset-cpus=4000":                                "cpuset",
		"--sysctl kernel.panic=1":                           "would change the host",
		"--network host --sysctl net.ipv4.ip_forward=1":     "no network namespace of its own",
		"--uts host --hostname box":                         "has that one's name",
		"--pid container:absent":                            "no such container",
		"--userns nonsense":                                 "there is no such mode",
		"--ipc nonsense":                                    "there is no such mode",
		"--group-add nobody-here":                           "nobody-here",
		"--user 1000:nobody-here":                           "nobody-here",
		"--ulimit nofile=128:64":                            "soft limit",
		"--ulimit nonsense=1":                               "nonsense",
		"--oom-score-adj=2000":                              "-1000 to 1000",
		"--workdir relative":                                "absolute path",
		"--annotation io.bulkhead.landlock=none":            "the engine's own",
		"--cap-add=NONSENSE":                                "unknown capability",
		"--allow nonsense":                                  "there is no such group",
		"--level nonsense":                                  "levels are",
		"--storage-opt size=1g":                             "storage-opt",
		"--stop-signal NONSENSE":                            "signal",
		"--restart sometimes":                               "restart",
		"--env-file DIR/absent":                             "absent",
		"--label-file DIR/absent":                           "absent",
		"--add-host nonsense":                               "add-host",
		"--dns nonsense":                                    "dns",
		"--shm-size=-1":                                     "shm-size",
		"--umask 9999":                                      "umask",
		"--tmpfs /v:nonsense":                               "nonsense",
		"--hostname " + strings.Repeat("long", 20):          "longer than 63 bytes",
		"--security-opt mask=relative":                      "absolute path",
		"--security-opt no-new-privileges=perhaps":          "true or false",
	} {
		if strings.Contains(want, "AppArmor") && strings.Contains(string(modules), "apparmor") || strings.Contains(want, "SELinux") && strings.Contains(string(modules), "selinux") {
			continue
		}
		args := append([]string{"run", "--rm"}, strings.Fields(strings.ReplaceAll(flags, "DIR", l.dir))...)
		if !strings.Contains(flags, "--network") {
			args = append(args, "--network", "none")
		}
		r := l.do("", append(args, "busybox", "true")...)
		if r.code != 125 || !strings.Contains(r.problems, want) || r.out != "" {
			t.Errorf("%s: want %q: %+v", flags, want, r)
		}
	}
	for _, dir := range []string{"root/containers", "root/names", "root/ranges"} {
		if entries, err := os.ReadDir(filepath.Join(l.dir, dir)); err != nil || len(entries) > 0 {
			t.Errorf("%s: %v, %v", dir, entries, err)
		}
	}
}

// TestHandbookEnds: --stop-signal, --stop-timeout, --restart.
func TestHandbookEnds(t *testing.T) {
	l := newLine(t)
	const loop = "; echo up; while :; do sleep 0.05; done"
	for _, test := range []struct {
		flags, script, code string
		least, most         time.Duration
	}{
		{"--stop-signal USR1", "trap 'exit 5' USR1", "5\n", 0, 5 * time.Second},
		{"--stop-signal SIGINT", "trap 'exit 6' INT", "6\n", 0, 5 * time.Second},
		{"--stop-timeout 1", "trap '' TERM", "137\n", time.Second, 6 * time.Second},
		{"--restart always", "trap 'exit 7' TERM", "7\n", 0, 5 * time.Second},
		{"--stop-signal RTMIN+3", "trap 'exit 9' 37", "9\n", 0, 5 * time.Second},
		{"--restart unless-stopped --stop-signal QUIT", "trap 'exit 8' QUIT", "8\n", 0, 5 * time.Second},
	} {
		r := l.do("", append(append([]string{"run", "-d", "--network", "none"}, strings.Fields(test.flags)...), "busybox", "sh", "-c", test.script+loop)...)
		id := strings.TrimSpace(r.out)
		if r.code != 0 {
			t.Fatalf("%+v", r)
		}
		for range 200 { // the trap is set
			if l.do("", "logs", id).out == "up\n" {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		begin := time.Now()
		if r := l.do("", "stop", id); r.code != 0 {
			t.Errorf("%s: %+v", test.flags, r)
		}
		if took := time.Since(begin); took < test.least || took > test.most {
			t.Errorf("%s: stop took %v", test.flags, took)
		}
		if r := l.do("", "wait", id); r.out != test.code {
			t.Errorf("%s: %+v", test.flags, r)
		}
		if r := l.do("", "rm", id); r.code != 0 {
			t.Errorf("%s: %+v", test.flags, r)
		}
	}
}

// TestHandbookShared: containers that share the network, or the name, of another one.
func TestHandbookShared(t *testing.T) {
	l := newLine(t)
	server := `while :; do echo answer | nc -l -p 8080 >/dev/null 2>&1; done`
	if r := l.do("", "run", "-d", "--network", "none", "--name", "app", "--hostname", "app-host", "busybox", "sh", "-c", server); r.code != 0 {
		t.Fatalf("%+v", r)
	}
	var r result
	for range 100 {
		if r = l.do("", "run", "--rm", "--network", "container:app", "busybox", "sh", "-c", "nc -w 1 127.0.0.1 8080 </dev/null"); r.out == "answer\n" {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if r.out != "answer\n" {
		t.Errorf("network: %+v", r)
	}
	if r := l.do("", "run", "--rm", "--network", "none", "--uts", "container:app", "busybox", "hostname"); r.out != "app-host\n" {
		t.Errorf("uts: %+v", r)
	}
	for _, flag := range []string{"--pid", "--ipc"} {
		if r := l.do("", "run", "--rm", "--network", "none", flag, "container:app", "busybox", "true"); r.code != 125 || !strings.Contains(r.problems, "userns=host") {
			t.Errorf("%s: %+v", flag, r)
		}
	}
	if r := l.do("", "run", "-d", "--network", "none", "--name", "open", "--userns", "host", "--ipc", "shareable", "busybox", "sleep", "1000"); r.code != 0 {
		t.Fatalf("%+v", r)
	}
	if r := l.do("", "run", "--rm", "--network", "none", "--userns", "host", "--pid", "container:open", "busybox", "sh", "-c", "tr '\\0' ' ' </proc/1/cmdline"); r.out != "sleep 1000 " {
		t.Errorf("pid: %+v", r)
	}
	ipc := l.do("", "exec", "open", "stat", "-Lc", "%i", "/proc/self/ns/ipc").out
	if r := l.do("", "run", "--rm", "--network", "none", "--userns", "host", "--ipc", "container:open", "busybox", "stat", "-Lc", "%i", "/proc/self/ns/ipc"); r.out != ipc || ipc == "" {
		t.Errorf("ipc: %+v, want %q", r, ipc)
	}
}
