package engine

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// must are the flags of run and create that Docker and Podman share.
const must = `add-host annotation attach blkio-weight blkio-weight-device cap-add cap-drop cgroup-parent cgroupns cidfile cpu-period cpu-quota cpu-shares cpus cpuset-cpus cpuset-mems detach
detach-keys device device-cgroup-rule device-read-bps device-read-iops device-write-bps device-write-iops disable-content-trust dns dns-option dns-search domainname entrypoint env env-file expose
group-add health-cmd health-interval health-retries health-start-period health-timeout hostname init interactive ip ipc label label-file log-driver log-opt memory memory-reservation memory-swap
memory-swappiness mount name network network-alias no-healthcheck oom-kill-disable oom-score-adj pid pids-limit platform privileged publish publish-all pull quiet read-only read-only-tmpfs restart rm
rootfs runtime security-opt shm-size sig-proxy stop-signal stop-timeout storage-opt sysctl tmpfs tty tz uidmap gidmap ulimit umask user userns uts volume volumes-from workdir`

// short are the flags that lessons write with one letter.
var short = map[string]string{"v": "volume", "e": "env", "c": "cpu-shares", "m": "memory", "u": "user", "w": "workdir", "h": "hostname", "t": "tty", "i": "interactive", "d": "detach", "a": "attach"}

// elsewhere are those that other tests see to act, by the name of the test.
var elsewhere = map[string]string{
	"restart": "TestHandbookEnds", "stop-signal": "TestHandbookEnds", "stop-timeout": "TestHandbookEnds", "init": "TestInit", "detach": "TestHandbook",
	"detach-keys": "test/cli", "sig-proxy": "test/cli", "log-driver": "TestLog", "log-opt": "TestLog", "storage-opt": "TestStorageOpt",
	"health-interval": "health-cmd", "health-retries": "health-cmd", "health-timeout": "health-cmd", "health-start-period": "health-cmd",
	"ip": "test/network", "network-alias": "test/network", "publish": "test/network", "publish-all": "test/network",
}

var flagsLessons = []lesson{
	{"--uidmap 0:300000:1000", "cat /proc/self/uid_map /proc/self/gid_map | tr -s ' '; stat -c %u:%g /bin", " 0 300000 1000\n 0 300000 1000\n0:0", field("Uid"), "300000\t300000\t300000\t300000"},
	{"--uidmap 0:300000:1000 --gidmap 0:400000:500 --gidmap 500:500000:5", "cat /proc/self/gid_map | tr -s ' '", " 0 400000 500\n 500 500000 5", field("Gid"), "400000\t400000\t400000\t400000"},
	{"--uidmap +1000:4242:1 --user 1000", "id -u; touch /tmp/x 2>/dev/null; grep ' 4242 ' /proc/self/uid_map | tr -s ' '", "1000\n 1000 4242 1", field("Uid"), "4242\t4242\t4242\t4242"},
	{"--userns keep-id:uid=12,gid=13", "id -u; id -g; cat /proc/self/uid_map | tr -s ' '", "12\n13\n 0 0 4294967295", shared("user"), "its own"},
	{"--userns keep-id", "id -u; stat -c %u /bin", "0\n0", shared("user"), "its own"},
	{"--userns auto:size=500", "cat /proc/self/uid_map | tr -s ' '; cat /proc/sys/net/ipv4/ping_group_range", " 0 1[0-9]{9} 500\n0\t499", nil, ""},
	{"--userns auto:uidmapping=5:4243:1", "grep ' 4243 ' /proc/self/uid_map | tr -s ' '", " 5 4243 1", nil, ""},
	{"--level compat --userns auto", "cat /proc/self/uid_map | tr -s ' '; stat -c %u /bin", " 0 1[0-9]{9} 65536\n0", shared("user"), "its own"},
	{"-v DIR/shared:/v:O", "echo new >/v/new; cat /v/file; rm /v/file && ls /v", "host's\n.*new\n?.*", func(s *seen) string { return existing(s, "shared/new", "shared/file") }, "no yes"},
	{"-v DIR/own:/v:U -u 7:8", "stat -c %u:%g /v /v/sub /v/sub/link; touch /v/sub/x && echo mine", "7:8\n7:8\n7:8\nmine", func(s *seen) string { return existing(s, "own/sub/x") }, "yes"},
	{"--mount type=bind,src=DIR/shared,dst=/v,idmap=uids=@0-44-1;gids=@0-45-1", "stat -c %u:%g /v/file", "44:45", mounted("/v"), ".*idmapped.*"},
	{"--mount type=bind,src=DIR/shared,dst=/v,noexec,relabel=shared", "cp /bin/busybox /v/b; /v/b true 2>&1; rm /v/b", ".*Permission denied", mounted("/v"), "rw,nosuid,nodev,noexec.*"},
	{"--mount type=volume,src=flagvolume,dst=/v", "mkdir -p /v/a/b; echo deep >/v/a/b/f", "", nil, ""},
	{"--mount type=volume,src=flagvolume,dst=/v,volume-subpath=a/b", "ls /v; cat /v/f", "f\ndeep", mounted("/v"), ".*idmapped.*"},
	{"--mount type=image,src=busybox,dst=/img", "ls /img/bin/busybox; touch /img/x 2>&1", "/img/bin/busybox\n.*Read-only file system", mounted("/img"), "ro,.*overlay.*"},
	{"--mount type=image,src=busybox,dst=/img,subpath=bin,rw", "touch /img/x && ls /img/busybox", "/img/busybox", mounted("/img"), "rw,.*overlay.*"},
	{"--mount type=tmpfs,dst=/v,noexec,tmpfs-size=2m", "df -k /v | tail -n 1", "tmpfs +2048 .*", mounted("/v"), ".*noexec.*"},
	{"--read-only --read-only-tmpfs", "touch /run/x /tmp/x /var/tmp/x && echo all; touch /x 2>&1", "all\n.*Read-only file system", mounted("/run"), ".* tmpfs .*"},
	{"--tz local", "ls /etc/localtime", "/etc/localtime", mounted("/etc/localtime"), "ro,.*"},
	{"--group-add 4711", "id -G", "0 4711|4711 0", field("Groups"), ".*1[0-9]{9}.*"},
	{"--runtime bulkhead --pull never --platform linux/amd64 --quiet --restart no --expose 80", "echo up", "up", record("Config", "ExposedPorts"), `\{"80/tcp":\{\}\}`},
}

var oldLimits = []lesson{ // of cgroup version 1
	{"--memory-swappiness=30", "cat /sys/fs/cgroup/memory/memory.swappiness", "30", group("memory", "memory.swappiness", ""), "30"},
	{"-m 64m --oom-kill-disable", "head -n 1 /sys/fs/cgroup/memory/memory.oom_control", "oom_kill_disable 1", group("memory", "memory.oom_control", ""), "oom_kill_disable 1.*"},
}

// existing says of files of the test's directory whether they are there.
func existing(s *seen, names ...string) string {
	var out []string
	for _, name := range names {
		_, err := os.Lstat(filepath.Join(s.dir, name))
		out = append(out, map[bool]string{true: "yes", false: "no"}[err == nil])
	}
	return strings.Join(out, " ")
}

// TestFlags runs lessons of the flags that the handbook does not have.
func TestFlags(t *testing.T) {
	l := newLine(t)
	for _, dir := range []string{"shared", "own/sub"} {
		if err := os.MkdirAll(filepath.Join(l.dir, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(l.dir, "shared", "file"), []byte("host's\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(l.dir, "own/sub/link")); err != nil {
		t.Fatal(err)
	}
	lessons := flagsLessons
	if !unified() {
		lessons = append(slices.Clone(lessons), oldLimits...)
	}
	for i := range lessons {
		t.Run(lessons[i].flags, func(t *testing.T) { l.learn(t, &lessons[i]) })
	}
	if unified() {
		for i := range oldLimits {
			flags := strings.Fields(oldLimits[i].flags)
			if r := l.do("", append(append([]string{"run", "--rm", "--network", "none"}, flags...), "busybox", "true")...); r.code != 125 || !strings.Contains(r.problems, "cgroup v2") {
				t.Errorf("%v: %+v", flags, r)
			}
		}
	}
	if r := l.do("", "volume", "rm", "flagvolume"); r.code != 0 {
		t.Errorf("%+v", r)
	}
}

// TestFlagsCovered: each flag that must be there is seen to act, or is refused by its name.
func TestFlagsCovered(t *testing.T) {
	seenToAct := map[string]bool{}
	for _, list := range [][]lesson{limitsLessons, privilegesLessons, namespacesLessons, filesLessons, restLessons, flagsLessons, oldLimits} {
		for i := range list {
			for _, word := range strings.Fields(list[i].flags) {
				name, _, _ := strings.Cut(word, "=")
				if long, ok := strings.CutPrefix(name, "--"); ok {
					seenToAct[long] = true
				} else if letter, ok := strings.CutPrefix(name, "-"); ok {
					seenToAct[short[letter]] = true
				}
			}
		}
	}
	for name := range otherFlags {
		seenToAct[name] = true
	}
	for _, name := range strings.Fields(must) {
		if !seenToAct[name] && elsewhere[name] == "" && refusedFlags[name] == "" {
			t.Errorf("--%s: no test sees it act", name)
		}
	}
}

// refusedFlags are refused by name, with the reason.
var refusedFlags = map[string]string{"disable-content-trust": "signatures are not verified yet"}

func TestFlagsRefused(t *testing.T) {
	l := newLine(t)
	for name, why := range refusedFlags {
		if r := l.do("", "run", "--rm", "--"+name, "busybox", "true"); r.code != 125 || !strings.Contains(r.problems, "--"+name) || !strings.Contains(r.problems, why) {
			t.Errorf("--%s: %+v", name, r)
		}
	}
	for flags, want := range map[string]string{
		"--runtime runc": "--runtime", "--pull never --platform linux/s390x": "not for the platform", "--uidmap 0:0:10 --uidmap 5:50:10": "overlaps", "--uidmap 1:1:1": "nothing is mapped to 0",
		"--uidmap 0:1:1 --userns host": "mutually exclusive", "--userns keep-id:size=1": "no option of keep-id", "--userns container:nobody": "no such container", "--volumes-from nobody": "no such container",
		"--user 70000": "70000 is not mapped", "--uidmap 0:300000:10 --user 10": "user 10 is not mapped",
		"-v /etc:/v:U": "which the host needs", "-v DIR:/v:O,U": "O and U", "-v DIR:/v:O,upperdir=/x": "thrown away", "--mount type=volume,src=vv,dst=/v,volume-subpath=../x": "within the volume",
		"--mount type=volume,src=vv,dst=/v,volume-subpath=absent": "subpath", "--mount type=image,src=absent,dst=/v": "absent", "--mount type=devpts,dst=/v": "not supported",
		"--mount type=bind,src=DIR,dst=/v,idmap=uids=0-0-1": "uids and gids", "--mount type=bind,src=DIR,dst=/v,idmap=uids=@0-70000-1;gids=@0-0-1": "has no ids 70000",
		"--storage-opt nonsense=1": "no such option", "--group-add keep-groups": "keep-groups",
	} {
		args := append([]string{"run", "--rm", "--network", "none"}, strings.Fields(strings.ReplaceAll(flags, "DIR", l.dir))...)
		if r := l.do("", append(args, "busybox", "true")...); r.code != 125 || !strings.Contains(r.problems, want) {
			t.Errorf("%s: want %q: %+v", flags, want, r)
		}
	}
	if entries, err := os.ReadDir(filepath.Join(l.dir, "root", "containers")); err != nil || len(entries) > 0 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

// otherFlags are seen to act by more than a lesson.
var otherFlags = map[string]func(*testing.T, *line){
	"interactive": func(t *testing.T, l *line) {
		want(t, l.do("typed\n", "run", "--rm", "-i", "--network", "none", "busybox", "cat"), "typed\n")
		want(t, l.do("typed\n", "run", "--rm", "--network", "none", "busybox", "cat"), "")
	},
	"entrypoint": func(t *testing.T, l *line) {
		want(t, l.do("", "run", "--rm", "--network", "none", "--entrypoint", "echo", "busybox", "a", "b"), "a b\n")
	},
	"tty": func(t *testing.T, l *line) {
		want(t, l.do("", "run", "--rm", "-t", "--network", "none", "busybox", "sh", "-c", "test -t 1 && echo terminal"), "terminal\r\n")
	},
	"blkio-weight-device": func(t *testing.T, l *line) {
		device, numbers := disk()
		if device == "" {
			t.Skip("this host has no disk")
		}
		r := l.do("", "run", "-d", "--network", "none", "--blkio-weight-device", device+":300", "busybox", "sleep", "1000")
		if r.code != 0 { // the disk's scheduler knows no weights
			if r.code != 125 || !strings.Contains(r.problems, "--blkio-weight-device") {
				t.Errorf("%+v", r)
			}
			return
		}
		s := &seen{line: l, pid: l.pid(t, strings.TrimSpace(r.out))}
		if got := group("blkio", "blkio.bfq.weight_device", "io.bfq.weight")(s); !strings.Contains(got, numbers+" 300") {
			t.Errorf("%q", got)
		}
	},
	"attach": func(t *testing.T, l *line) {
		r := l.do("", "run", "--rm", "-a", "stderr", "--network", "none", "busybox", "sh", "-c", "echo out; echo err >&2")
		if want(t, r, ""); !strings.Contains(r.problems, "err\n") || strings.Contains(r.problems, "out") {
			t.Errorf("%+v", r)
		}
	},
	"rm": func(t *testing.T, l *line) {
		want(t, l.do("", "run", "--rm", "--name", "goes", "--network", "none", "busybox", "true"), "")
		if r := l.do("", "inspect", "goes"); r.code == 0 {
			t.Errorf("%+v", r)
		}
	},
	"pull": func(t *testing.T, l *line) {
		if r := l.do("", "run", "--rm", "--pull", "never", "absent", "true"); r.code != 125 || !strings.Contains(r.problems, "no such image") {
			t.Errorf("%+v", r)
		}
	},
	"rootfs": func(t *testing.T, l *line) {
		dir := l.tree(t)
		want(t, l.do("", "run", "--rm", "--network", "none", "--rootfs", dir+":O", "sh", "-c", "stat -c %u /bin; touch /made && echo made"), "0\nmade\n")
		if _, err := os.Lstat(filepath.Join(dir, "made")); err == nil {
			t.Error("an overlay was written through")
		}
		want(t, l.do("", "run", "--rm", "--network", "none", "--rootfs", dir, "sh", "-c", "touch /made && echo made"), "made\n")
		if _, err := os.Lstat(filepath.Join(dir, "made")); err != nil {
			t.Error(err)
		}
		if r := l.do("", "run", "--rm", "--network", "none", "--rootfs", "/", "true"); r.code != 125 || !strings.Contains(r.problems, "the host itself") {
			t.Errorf("%+v", r)
		}
	},
	"volumes-from": func(t *testing.T, l *line) {
		want(t, l.do("", "run", "--name", "donor", "--network", "none", "-v", "/anon", "-v", "given:/given", "--tmpfs", "/t", "busybox", "sh", "-c", "echo a >/anon/a; echo b >/given/b"), "")
		want(t, l.do("", "run", "--rm", "--network", "none", "--volumes-from", "donor", "busybox", "sh", "-c", "cat /anon/a /given/b; ls -d /t 2>/dev/null; touch /given/c && echo wrote"), "a\nb\nwrote\n")
		r := l.do("", "run", "--rm", "--network", "none", "--volumes-from", "donor:ro", "busybox", "sh", "-c", "cat /anon/a; touch /given/d 2>/dev/null || echo kept")
		want(t, r, "a\nkept\n")
		want(t, l.do("", "rm", "-v", "donor"), "donor\n")
		want(t, l.do("", "volume", "rm", "given"), "given\n")
		want(t, l.do("", "volume", "ls", "-q"), "")
	},
	"health-cmd": func(t *testing.T, l *line) {
		r := l.do("", "run", "-d", "--network", "none", "--health-cmd", "test -e /tmp/well", "--health-interval", "100ms", "--health-retries", "2", "--health-timeout", "5s", "--health-start-period", "1ms", "busybox", "sleep", "1000")
		id := strings.TrimSpace(r.out)
		l.status(t, id, "unhealthy")
		want(t, l.do("", "exec", id, "touch", "/tmp/well"), "")
		l.status(t, id, "healthy")
	},
	"no-healthcheck": func(t *testing.T, l *line) {
		r := l.do("", "run", "-d", "--network", "none", "--no-healthcheck", "busybox", "sleep", "1000")
		want(t, l.do("", "inspect", strings.TrimSpace(r.out), "--format", "{{.Config.Healthcheck.Test}}"), "[NONE]\n")
	},
}

// TestFlagsAct runs the other ones.
func TestFlagsAct(t *testing.T) {
	l := newLine(t)
	for name, act := range otherFlags {
		t.Run(name, func(t *testing.T) { act(t, &line{t, l.program, l.dir}) })
	}
}

func want(t *testing.T, r result, out string) {
	t.Helper()
	if r.out != out {
		t.Errorf("want %q: %+v", out, r)
	}
}

// pid is that of a container's program.
func (l *line) pid(t *testing.T, id string) int {
	t.Helper()
	n, err := strconv.Atoi(strings.TrimSpace(l.do("", "inspect", id, "--format", "{{.State.Pid}}").out))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// status waits for what a health check finds.
func (l *line) status(t *testing.T, id, want string) {
	t.Helper()
	last := ""
	for end := time.Now().Add(60 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if last = strings.TrimSpace(l.do("", "inspect", id, "--format", "{{.State.Health.Status}}").out); last == want {
			return
		}
	}
	t.Errorf("health is %q, want %s", last, want)
}

// tree unpacks the image into a directory of the host.
func (l *line) tree(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(l.dir, "tree")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("tar", "-x", "-f", filepath.Join(l.dir, "busybox.tar"), "-C", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return dir
}

// TestFlagsRanges: no two containers have an id in common, unless somebody said so.
func TestFlagsRanges(t *testing.T) {
	l := newLine(t)
	run := func(flags ...string) string {
		t.Helper()
		r := l.do("", append(append([]string{"run", "-d", "--network", "none"}, flags...), "busybox", "sleep", "1000")...)
		if r.code != 0 {
			t.Fatalf("%v: %+v", flags, r)
		}
		return strings.TrimSpace(r.out)
	}
	first := func(id string) string {
		f := strings.Fields(l.do("", "exec", id, "cat", "/proc/self/uid_map").out)
		if len(f) < 3 {
			t.Fatalf("%v", f)
		}
		return f[1]
	}
	one := run("--name", "one")
	other := run("--name", "other", "--userns", "container:one")
	if first(one) != first(other) {
		t.Error("the user namespace of another container: other ids")
	}
	if r := l.do("", "rm", "-f", "one"); r.code != 0 {
		t.Fatalf("%+v", r)
	}
	if third := run("--userns", "auto:size=70000"); first(third) == first(other) {
		t.Error("ids that a container still has were given to another")
	}
	r := l.do("", "run", "-d", "--network", "none", "--uidmap", "0:"+first(other)+":65536", "busybox", "sleep", "1000")
	if !strings.Contains(r.problems, "container other are strangers") {
		t.Errorf("%+v", r)
	}
	same := run("--userns", "container:other", "--pid", "container:other", "--ipc", "container:other")
	if r := l.do("", "exec", same, "sh", "-c", "tr '\\0' ' ' </proc/1/cmdline"); r.out != "sleep 1000 " {
		t.Errorf("the processes of another container: %+v", r)
	}
	if r := l.do("", "verify", same); !regexp.MustCompile(`as declared, 0 differ`).MatchString(r.out) {
		t.Errorf("%+v", r)
	}
}

// TestFlagsSubpathLinks: a link in a volume does not lead out of it, whatever it is when the container starts.
func TestFlagsSubpathLinks(t *testing.T) {
	l := newLine(t)
	want(t, l.do("", "run", "--rm", "--network", "none", "-v", "links:/v", "busybox", "sh", "-c", "mkdir /v/in; echo in >/v/in/f; busybox ln -s / /v/root; busybox ln -s ../../../../../../etc /v/up; busybox ln -s /in /v/abs"), "")
	for sub, out := range map[string]string{"in": "f\n", "abs": "f\n"} {
		want(t, l.do("", "run", "--rm", "--network", "none", "--mount", "type=volume,src=links,dst=/w,volume-subpath="+sub, "busybox", "ls", "/w"), out)
	}
	r := l.do("", "run", "--rm", "--network", "none", "--mount", "type=volume,src=links,dst=/w,volume-subpath=root", "busybox", "ls", "/w")
	if !strings.Contains(r.out, "in\n") || strings.Contains(r.out, "proc") {
		t.Errorf("the root of the volume: %+v", r)
	}
	if r := l.do("", "run", "--rm", "--network", "none", "--mount", "type=volume,src=links,dst=/w,volume-subpath=up", "busybox", "ls", "/w"); r.code != 125 || r.out != "" {
		t.Errorf("a link up: %+v", r)
	}
	want(t, l.do("", "volume", "rm", "links"), "links\n")
}

// TestFlagsCopy: cp sees what is prepared for a container that does not run, and a source below an overlay stays as it is.
func TestFlagsCopy(t *testing.T) {
	l := newLine(t)
	source := filepath.Join(l.dir, "source")
	if err := os.Mkdir(source, 0o755); err != nil {
		t.Fatal(err)
	}
	r := l.do("", "run", "--name", "stopped", "--network", "none", "-v", source+":/v:O", "--mount", "type=image,src=busybox,dst=/img", "-v", "copied:/c", "busybox", "sh", "-c", "echo x >>/v/count; mkdir /c/a; echo y >/c/a/f")
	if r.code != 0 {
		t.Fatalf("%+v", r)
	}
	for _, path := range []string{"/v/count", "/img/bin/busybox", "/c/a/f"} {
		if r := l.do("", "cp", "stopped:"+path, filepath.Join(l.dir, "out")); r.code != 0 {
			t.Errorf("%s: %+v", path, r)
		}
	}
	want(t, l.do("", "start", "-a", "stopped"), "")
	want(t, l.do("", "run", "--rm", "--network", "none", "--volumes-from", "stopped", "busybox", "cat", "/c/a/f"), "y\n")
	if r := l.do("", "image", "rm", "busybox"); r.code == 0 {
		t.Errorf("an image that is mounted was removed: %+v", r)
	}
	if names, err := os.ReadDir(source); err != nil || len(names) > 0 {
		t.Errorf("the source has %v, %v", names, err)
	}
	want(t, l.do("", "rm", "-v", "stopped"), "stopped\n")
	want(t, l.do("", "volume", "rm", "copied"), "copied\n")
}

// TestStorageOpt: a container on a file system with project quotas cannot write more than it may; on another one the flag is refused with the reason.
func TestStorageOpt(t *testing.T) {
	l := newLine(t)
	if r := l.do("", "run", "--rm", "--network", "none", "--storage-opt", "size=8m", "busybox", "true"); r.code != 125 || !strings.Contains(r.problems, "without project quotas") {
		t.Errorf("%+v", r)
	}
	at := filepath.Join(l.dir, "quota")
	if !quotaDisk(t, l.dir, at) {
		t.Skip("this kernel has no project quotas, or this machine no mkfs.xfs and mkfs.ext4 for them, or no loop devices")
	}
	on := func(args ...string) result {
		return l.do("", append([]string{"--root", filepath.Join(at, "root"), "--runroot", filepath.Join(l.dir, "quotarun")}, args...)...)
	}
	if r := on("import", filepath.Join(l.dir, "busybox.tar"), "busybox"); r.code != 0 {
		t.Fatalf("%+v", r)
	}
	r := on("run", "--rm", "--network", "none", "--storage-opt", "size=8m", "busybox", "sh", "-c", "dd if=/dev/zero of=/big bs=1M count=30 2>&1; stat -c %s /big")
	f := strings.Fields(r.out)
	if len(f) == 0 || !strings.Contains(r.out, "o space left") && !strings.Contains(r.out, "uota exceeded") || len(f[len(f)-1]) > 7 {
		t.Errorf("size: %+v", r)
	}
	want(t, on("run", "--rm", "--network", "none", "--storage-opt", "inodes=40", "busybox", "sh", "-c", "i=0; while [ $i -lt 60 ] && touch /f$i 2>/dev/null; do i=$((i+1)); done; [ $i -lt 60 ] && echo bounded"), "bounded\n")
	want(t, on("run", "--rm", "--network", "none", "busybox", "sh", "-c", "dd if=/dev/zero of=/big bs=1M count=20 2>/dev/null && stat -c %s /big"), "20971520\n")
}

// quotaDisk mounts a small file system with project quotas; false if there is none to be had.
func quotaDisk(t *testing.T, dir, at string) bool {
	t.Helper()
	if err := os.Mkdir(at, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, module := range []string{"loop", "xfs", "quota_v2"} { // what is built in, or loaded when it is wanted, needs none of it
		_ = exec.Command("modprobe", "-q", module).Run()
	}
	for _, kind := range []struct{ mkfs, options, mount string }{{"mkfs.xfs", "-q", "pquota"}, {"mkfs.ext4", "-q -O quota,project", "prjquota"}} {
		file := filepath.Join(dir, kind.mkfs+".img")
		f, err := os.Create(file)
		if err != nil {
			t.Fatal(err)
		}
		err = f.Truncate(400 << 20)
		_ = f.Close()
		if err != nil {
			t.Fatal(err)
		}
		if exec.Command(kind.mkfs, append(strings.Fields(kind.options), file)...).Run() != nil {
			continue
		}
		if exec.Command("mount", "-o", "loop,"+kind.mount, file, at).Run() == nil {
			t.Cleanup(func() {
				if out, err := exec.Command("umount", at).CombinedOutput(); err != nil {
					t.Errorf("%v: %s", err, out)
				}
			})
			return true
		}
	}
	return false
}
