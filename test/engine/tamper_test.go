package engine

import (
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// prelude are words for the scripts: where the container's cgroup is, and the container's own busybox in its mount namespace, with the rights of the host's root.
const prelude = `set -e
cg() { for d in /sys/fs/cgroup/$1/bulkhead/$ID /sys/fs/cgroup/bulkhead/$ID; do if [ -e $d/cgroup.procs ]; then echo $d; return; fi; done; }
put() { d=$(cg $1); if [ -e $d/$2 ]; then echo "$4" >$d/$2; else echo "$4" >$d/$3; fi; }
inside() { nsenter -t $PID -m /bin/busybox "$@"; }
`

// A tampering is something that root on the host does behind the engine's back.
type tampering struct {
	name   string
	flags  string // of the container
	script string
	finds  []string // each stands in some difference
	needs  string   // a file, or a capability, without which the host cannot do it
}

var tamperings = []tampering{
	{name: "a mount added", script: "inside mount -t tmpfs more /home", finds: []string{"/home tmpfs more"}},
	{name: "the host's devices mounted", script: "inside mount -t devtmpfs dev /home", finds: []string{"/home devtmpfs"}},
	{name: "a mask unmounted", script: "inside umount /proc/keys", finds: []string{"/proc/keys masked it can be seen"}},
	{name: "a mask covered", script: "inside mount --bind /etc/passwd /proc/keys", finds: []string{"/proc/keys masked"}},
	{name: "a read-only path made writable", script: "inside mount -o remount,bind,rw none /proc/sys", finds: []string{"/proc/sys read-only rw"}},
	{name: "a read-only path unmounted", script: "inside umount /proc/sys", finds: []string{"/proc/sys read-only rw"}},
	{name: "cgroups made writable", script: "inside mount -o remount,bind,rw none /sys/fs/cgroup", finds: []string{"/sys/fs/cgroup options"}},
	{name: "a volume unmounted", flags: "-v DIR/shared:/data", script: "inside umount /data", finds: []string{"/data bind mount of DIR/shared nothing is mounted there"}},
	{name: "a volume covered", flags: "-v DIR/shared:/data", script: "inside mount --bind /root /data", finds: []string{"/data bind mount of DIR/shared overlay", "/data nothing more"}},
	{name: "a volume made writable", flags: "-v DIR/shared:/data:ro", script: "inside mount -o remount,bind,rw none /data", finds: []string{"/data options ro,nosuid,nodev rw"}},
	{name: "set-user-ID files of a volume", flags: "-v DIR/shared:/data", script: "inside mount -o remount,bind,rw,suid,dev none /data", finds: []string{"nosuid,nodev is gone"}},
	{name: "a volume shared", flags: "-v DIR/shared:/data", script: "inside mount --make-shared /data", finds: []string{"/data propagation not shared shared"}},
	{name: "/etc/hosts replaced", script: "inside mount --bind /etc/passwd /etc/hosts", finds: []string{"/etc/hosts bind mount of"}},
	{name: "the root made writable", flags: "--read-only", script: "inside mount -o remount,bind,rw none /", finds: []string{"/ is read-only ro rw"}},
	{name: "a tmpfs made larger", flags: "--tmpfs /t:size=1m", script: "inside mount -o remount,size=900m none /t", finds: []string{"/t size 1m 921600k"}},
	{name: "memory", flags: "-m 64m", script: "[ ! -e $(cg memory)/memory.memsw.limit_in_bytes ] || put memory memory.memsw.limit_in_bytes - 536870912; put memory memory.limit_in_bytes memory.max 268435456", finds: []string{"memory.limit 67108864 268435456"}},
	{name: "processes", script: "put pids pids.max pids.max max", finds: []string{"pids.limit 2048 max"}},
	{name: "processor time", flags: "--cpus 0.5", script: "put cpu cpu.cfs_quota_us cpu.max -1 || put cpu - cpu.max max", finds: []string{"cpu.quota 50000"}},
	{name: "processor shares", flags: "--cpu-shares 64", script: "put cpu cpu.shares cpu.weight 4096", finds: []string{"cpu.shares 64 4096"}, needs: "/sys/fs/cgroup/cpu/cpu.shares"},
	{name: "processors", flags: "--cpuset-cpus 0", script: "put cpuset cpuset.cpus cpuset.cpus 0-1", finds: []string{"cpu.cpus 0 0-1"}, needs: "/sys/devices/system/cpu/cpu1"},
	{name: "swappiness", flags: "-m 64m --memory-swappiness 0", script: "put memory memory.swappiness - 60", finds: []string{"memory.swappiness 0 60"}, needs: "/sys/fs/cgroup/memory/memory.swappiness"},
	{name: "a disk's rate", flags: "--device-read-bps /dev/vda:1mb", script: "put blkio blkio.throttle.read_bps_device io.max '254:0 0'", finds: []string{"blockIO.throttleReadBpsDevice"}, needs: "/sys/fs/cgroup/blkio/blkio.throttle.read_bps_device"},
	{name: "a device allowed", script: "put devices devices.allow - 'b 8:0 rwm'", finds: []string{"b 8:0 rwm"}, needs: "/sys/fs/cgroup/devices"},
	{name: "a process moved out", script: "for c in pids memory devices; do [ ! -d /sys/fs/cgroup/$c ] || echo $PID >/sys/fs/cgroup/$c/cgroup.procs; done", finds: []string{"cgroup of pids", "cgroup of memory"}, needs: "/sys/fs/cgroup/pids"},
	{name: "a process moved out of v2", script: "echo $PID >/sys/fs/cgroup/cgroup.procs", finds: []string{"cgroup of cgroup v2 /bulkhead/"}, needs: "/sys/fs/cgroup/cgroup.procs"},
	{name: "a foreign process without its profile", script: "nsenter -t $PID -a /bin/busybox sleep 1000 </dev/null >/dev/null 2>&1 & echo $!", finds: []string{"AppArmor profile"}, needs: "/sys/kernel/security/apparmor"},
	{name: "a foreign process moved in", script: "sleep 1000 </dev/null >/dev/null 2>&1 & echo $! >$(cg pids)/cgroup.procs; echo $!", finds: []string{"the host's, namespace", "no_new_privs on off", "seccomp filter in force none"}},
	{name: "a foreign process moved into a privileged one", flags: "--privileged", script: "sleep 1000 </dev/null >/dev/null 2>&1 & echo $! >$(cg pids)/cgroup.procs; echo $!", finds: []string{"mount namespace", "the host's, namespace"}},
	{name: "a process in the pid namespace", script: "nsenter -t $PID -p sleep 1000 </dev/null >/dev/null 2>&1 & echo $!", finds: []string{"mount namespace", "cgroup of"}},
	{name: "a process in the network", script: "nsenter -t $PID -n sleep 1000 </dev/null >/dev/null 2>&1 & echo $!", finds: []string{"pid namespace"}},
	{name: "a process in all namespaces", script: "nsenter -t $PID -a --setuid 0 /bin/busybox sleep 1000 </dev/null >/dev/null 2>&1 & echo $!", finds: []string{"bounding capabilities", "seccomp filter", "no_new_privs"}},
	{name: "the host's root passed in", script: "nsenter -t $PID -a /bin/busybox sleep 1000 9</ </dev/null >/dev/null 2>&1 & echo $!", finds: []string{"fd/9: the directory /"}},
	{name: "the host's disk passed in", script: "nsenter -t $PID -a /bin/busybox sleep 1000 9</dev/vda </dev/null >/dev/null 2>&1 & echo $!", finds: []string{"fd/9: the disk /dev/vda"}, needs: "open /dev/vda"},
	{name: "out of memory", flags: "--oom-score-adj 500", script: "echo 100 >/proc/$PID/oom_score_adj", finds: []string{"oom_score_adj 500 100"}},
	{name: "files", flags: "--ulimit nofile=64:64", script: "prlimit --pid $PID --nofile=1000:1000", finds: []string{"nofile at most 64"}, needs: "CAP_SYS_RESOURCE"},
	{name: "a sysctl", flags: "--sysctl net.ipv4.ip_forward=1", script: "nsenter -t $PID -n sh -c 'echo 0 >/proc/sys/net/ipv4/ip_forward'", finds: []string{"net.ipv4.ip_forward 1 0"}},
	{name: "the host name", script: "nsenter -t $PID -u hostname another", finds: []string{"host name", "another"}},
	{name: "an interface", flags: "--network none", script: "nsenter -t $PID -n ip link add more type bridge || nsenter -t $PID -n ip tuntap add dev more mode tap", finds: []string{"also more"}, needs: "ip"},
	{name: "a device node", flags: "--userns host", script: "inside mknod /dev/disk b 8 0", finds: []string{"/dev/disk no such node block device 8:0"}},
	{name: "another device under a name", flags: "--userns host", script: "inside rm /dev/full; inside mknod /dev/full c 1 1", finds: []string{"/dev/full character device 1:7 character device 1:1"}},
	{name: "a device unmounted", script: "inside umount /dev/random", finds: []string{"/dev/random character device 1:8 no device"}},
}

// possible reports whether this host can do it.
func (g *tampering) possible() bool {
	switch {
	case g.needs == "":
		return true
	case strings.HasPrefix(g.needs, "/"):
		_, err := os.Stat(g.needs)
		return err == nil
	case strings.HasPrefix(g.needs, "open "):
		f, err := os.Open(strings.TrimPrefix(g.needs, "open "))
		if err == nil {
			err = f.Close()
		}
		return err == nil
	case g.needs == "CAP_SYS_RESOURCE":
		status, _ := os.ReadFile("/proc/self/status")
		_, rest, _ := strings.Cut(string(status), "CapEff:")
		set, _ := strconv.ParseUint(strings.Fields(rest)[0], 16, 64)
		return set>>unix.CAP_SYS_RESOURCE&1 != 0
	}
	_, err := exec.LookPath(g.needs)
	return err == nil
}

// TestTamper: each tampering is found, and said in words that name it; before it there was none.
func TestTamper(t *testing.T) {
	l := newLine(t)
	possible := 0
	for _, g := range tamperings {
		if g.possible() {
			possible++
		}
		t.Run(strings.ReplaceAll(g.name, "/", ""), func(t *testing.T) {
			if !g.possible() {
				t.Logf("this host has no %s", g.needs)
				return
			}
			here := *l
			here.t = t
			here.tamper(&g)
		})
	}
	if possible < 20 && os.Getenv("BULKHEAD_TEST_STRICT") == "1" {
		t.Errorf("only %d can be tried", possible)
	}
}

// tamper tries one on a container of its own.
func (l *line) tamper(g *tampering) {
	t := l.t
	args := append(strings.Fields(strings.ReplaceAll(g.flags, "DIR", l.dir)), "busybox", "sleep", "1000")
	pid := l.started("cc", args...)
	defer func() {
		if r := l.do("", "rm", "-f", "cc"); r.code != 0 {
			t.Errorf("%+v", r)
		}
	}()
	id := strings.TrimSpace(l.do("", "ps", "-q", "--no-trunc", "--filter", "name=cc").out)
	if differs, _ := l.verified("cc"); len(differs) > 0 {
		t.Errorf("before: %+v", differs)
	}
	cmd := exec.Command("sh", "-c", prelude+g.script)
	cmd.Env = append(os.Environ(), "PID="+pid, "ID="+id)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v: %s", err, out)
	}
	if strings.Contains(g.script, "echo $!") {
		time.Sleep(50 * time.Millisecond) // it enters
	}
	differs, _ := l.verified("cc")
	for _, text := range g.finds {
		if !said(differs, strings.ReplaceAll(text, "DIR", l.dir)) {
			t.Errorf("nothing says %q: %+v", text, differs)
		}
	}
	if n, err := strconv.Atoi(strings.TrimSpace(string(out))); err == nil && n > 1 { // brought in from outside
		_ = syscall.Kill(n, syscall.SIGKILL)
	}
}

// said reports whether a difference has the text.
func said(list []judged, text string) bool {
	for _, c := range list {
		if strings.Contains(strings.Join([]string{c.What, c.Declared, c.Found, c.Hint}, " "), text) || strings.Contains(c.What+" "+c.Found, text) {
			return true
		}
	}
	return false
}

// TestTracer: who traces a process of the container from outside is found.
func TestTracer(t *testing.T) {
	l := newLine(t)
	pid, err := strconv.Atoi(l.started("cc", "busybox", "sleep", "1000"))
	if err != nil {
		t.Fatal(err)
	}
	runtime.LockOSThread() // the thread is the tracer
	defer runtime.UnlockOSThread()
	if err := unix.PtraceSeize(pid); err != nil {
		t.Fatal(err)
	}
	differs, _ := l.verified("cc")
	if !said(differs, "traced by nobody process") {
		t.Errorf("%+v", differs)
	}
	if err := unix.PtraceInterrupt(pid); err != nil {
		t.Fatal(err)
	}
	var ws unix.WaitStatus
	if _, err := unix.Wait4(pid, &ws, 0, nil); err != nil {
		t.Fatal(err)
	}
	if err := unix.PtraceDetach(pid); err != nil {
		t.Fatal(err)
	}
	if differs, _ := l.verified("cc"); len(differs) > 0 {
		t.Errorf("when it has gone: %+v", differs)
	}
}
