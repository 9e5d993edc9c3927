package doctor

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/linux/feature"
	"github.com/bulkhead-engine/bulkhead/internal/linux/procfs"
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/cgroup"
	"golang.org/x/sys/unix"
)

func examine(t *testing.T) *Facts {
	t.Helper()
	return Examine(context.Background(), Options{StateDir: t.TempDir(), Patience: 20 * time.Second})
}

// What it finds must be what others say of the same host.
func TestExamineAgainstOthers(t *testing.T) {
	f := examine(t)
	if len(f.Silent) > 0 {
		t.Errorf("silent: %v", f.Silent)
	}
	out, err := exec.Command("uname", "-r").Output()
	if err != nil || strings.TrimSpace(string(out)) != f.Host.Release {
		t.Errorf("release %q, uname says %q, %v", f.Host.Release, out, err)
	}
	if f.Caller.UID != os.Geteuid() || f.Caller.ProcMissing || f.Caller.SysMissing {
		t.Errorf("caller %+v", f.Caller)
	}
	if layout, err := cgroup.Detect(); err != nil || string(layout.Mode) != f.Cgroups.Mode {
		t.Errorf("mode %q, package cgroup says %+v, %v", f.Cgroups.Mode, layout, err)
	}
	for id, why := range f.Kernel.Features {
		if feature.Has(id) != (why == "") {
			t.Errorf("%s: %q", id, why)
		}
	}
	var names []string
	for _, s := range f.Settings {
		b, err := os.ReadFile("/proc/sys/" + strings.ReplaceAll(s.Name, ".", "/"))
		if err == nil && strings.TrimSpace(string(b)) != s.Value {
			t.Errorf("%s: %q, the file says %q", s.Name, s.Value, b)
		}
		names = append(names, s.Name)
	}
	for _, r := range rules {
		if !slices.Contains(names, r.name) {
			t.Errorf("%s is judged and never asked for", r.name)
		}
	}
	if list, err := os.ReadFile("/sys/kernel/security/lsm"); err == nil {
		if f.Modules.AppArmor && !strings.Contains(string(list), "apparmor") || (f.Modules.Yama != "") != strings.Contains(string(list), "yama") ||
			(f.Kernel.Landlock > 0) != strings.Contains(string(list), "landlock") {
			t.Errorf("modules %+v, Landlock %d; the kernel says %s", f.Modules, f.Kernel.Landlock, list)
		}
	}
	checkReport(t, Judge(f))
}

// unshare(1) tries the same namespaces.
func TestNamespacesAgainstUnshare(t *testing.T) {
	program, err := exec.LookPath("unshare")
	if err != nil {
		t.Skip("there is no unshare (Debian: util-linux)")
	}
	f := examine(t)
	options := map[string]string{"mount": "-m", "pid": "-p", "network": "-n", "ipc": "-i", "uts": "-u", "cgroup": "-C", "user": "-U", "time": "-T"}
	for _, ns := range f.Kernel.Namespaces {
		args := []string{options[ns.Name], "--fork", "true"}
		if !f.Caller.Privileged && ns.Name != "user" {
			args = append([]string{"-Ur"}, args...)
		}
		err := exec.Command(program, args...).Run()
		if (err == nil) != (ns.Err == "") {
			t.Errorf("%s: %q; unshare %v: %v", ns.Name, ns.Err, args, err)
		}
	}
	if err := exec.Command(program, "-Ur", "-m", "true").Run(); (err == nil) != f.Kernel.UserNS.works() {
		t.Errorf("user namespace with rights: %+v; unshare -Urm: %v", f.Kernel.UserNS, err)
	}
	err = exec.Command(program, "-Urmpf", "mount", "-t", "proc", "proc", "/proc").Run()
	if (err == nil) != f.Kernel.Procfs.works() {
		t.Errorf("fresh procfs: %+v; mount in unshare: %v", f.Kernel.Procfs, err)
	}
}

// A covered /proc must be seen as such: this very test again, in namespaces where /proc/cmdline is masked as engines do.
func TestCoveredProc(t *testing.T) {
	const inside = "BULKHEAD_TEST_COVERED"
	if os.Getenv(inside) != "" {
		f := examine(t)
		if !f.Kernel.Procfs.fails() || !slices.Contains(f.Kernel.ProcCovered, "/proc/cmdline") {
			t.Errorf("procfs %+v, covered %v", f.Kernel.Procfs, f.Kernel.ProcCovered)
		}
		if got := Judge(f).Find("namespace.procfs"); got == nil || got.Status != Missing || !strings.Contains(got.Found, "/proc/cmdline") {
			t.Errorf("%+v", got)
		}
		if f.Host.Container == "" {
			t.Error("not seen to be in a container")
		}
		return
	}
	if err := exec.Command("unshare", "-Urmpf", "true").Run(); err != nil {
		t.Skipf("no user namespaces to be had with unshare: %v", err)
	}
	cmd := exec.Command("unshare", "-Urmpf", "sh", "-c",
		"mount -t proc proc /proc && mount --bind /dev/null /proc/cmdline && exec \"$0\" -test.run '^TestCoveredProc$' -test.count=1", os.Args[0])
	cmd.Env = append(os.Environ(), inside+"=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

// Examining must leave nothing of itself: no descriptor, child, mount, cgroup or file.
func TestLeavesNothing(t *testing.T) {
	state := t.TempDir()
	look := func() string {
		var b strings.Builder
		for _, dir := range []string{"/proc/self/fd", state} {
			list, err := os.ReadDir(dir)
			if err != nil {
				t.Fatal(err)
			}
			for _, entry := range list {
				link, _ := os.Readlink(filepath.Join(dir, entry.Name()))
				b.WriteString(entry.Name() + " " + link + "\n")
			}
		}
		children, _ := filepath.Glob("/proc/self/task/*/children")
		for _, file := range children {
			data, _ := os.ReadFile(file)
			b.Write(data)
		}
		mounts, _ := os.ReadFile("/proc/self/mountinfo")
		b.Write(mounts)
		return b.String()
	}
	o := Options{StateDir: state}
	Examine(context.Background(), o) // opens what stays open: the handle of procfs
	before := look()
	Examine(context.Background(), o)
	if after := look(); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
}

// A thing that hangs costs the patience and no more.
func TestPatience(t *testing.T) {
	e := &examiner{ctx: context.Background(), o: Options{Patience: 20 * time.Millisecond}}
	block := make(chan struct{})
	defer close(block)
	start := time.Now()
	if _, answered := within(e, func() int { <-block; return 1 }); answered {
		t.Error("an answer out of nothing")
	}
	if n, answered := within(e, func() int { return 1 }); !answered || n != 1 {
		t.Error("no answer")
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("took %v", took)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	f := &Facts{}
	wait(&examiner{ctx: ctx}, f, "it", later(func() int { <-block; return 1 }), new(int))
	if !slices.Equal(f.Silent, []string{"it"}) {
		t.Errorf("silent %v", f.Silent)
	}
}

func TestBus(t *testing.T) {
	dir := t.TempDir()
	serve := func(name, answer string) string {
		path := filepath.Join(dir, name)
		l, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				buf := make([]byte, 256)
				n, _ := c.Read(buf)
				want := "\x00AUTH EXTERNAL " + hex(strconv.Itoa(os.Geteuid())) + "\r\n"
				if string(buf[:n]) != want {
					c.Write([]byte("ERROR\r\n"))
				} else if answer != "" {
					c.Write([]byte(answer))
				}
				if answer != "" {
					c.Close()
				}
			}
		}()
		return path
	}
	if err := askBus(serve("good", "OK 1234\r\n"), 10*time.Second); err != nil {
		t.Error(err)
	}
	if err := askBus(serve("bad", "REJECTED EXTERNAL\r\n"), 10*time.Second); err == nil {
		t.Error("a bus that rejects")
	}
	if err := askBus(serve("dumb", ""), 50*time.Millisecond); err == nil || err.Error() != "no answer" {
		t.Errorf("a bus that says nothing: %v", err)
	}
	if err := askBus(filepath.Join(dir, "none"), time.Second); err != unix.ENOENT {
		t.Errorf("no bus: %v", err)
	}
}

func TestParsers(t *testing.T) {
	c := &Caller{UID: 1000, Name: "ann"}
	text := "bob:100000:65536\nann:165536:100\n1000:231072:65536\nbroken\nann:x:1\nann:5000000000:1\n"
	if r, sum := ownRange(text, c); r.Outside != 231072 || r.Count != 65536 || sum != 65636 {
		t.Errorf("range %v, sum %d", r, sum)
	}
	if n := freeID(text); n != 231072+65536 {
		t.Errorf("free from %d", n)
	}
	for text, want := range map[string]string{"subid: files\n": "", "passwd: files\nsubid:  sss # no files\n": "sss", "": ""} {
		if got := subidSource(text); got != want {
			t.Errorf("%q: %q", text, got)
		}
	}
	for address, want := range map[string]string{
		"unix:path=/run/bus": "/run/bus", "unix:path=/a%20b%2c,guid=1;tcp:host=x": "/a b,", "unix:abstract=x": "", "tcp:host=x": "", "": "", "unix:path=/a%2": "/a%2",
	} {
		if got := socketOf(address); got != want {
			t.Errorf("%q: %q, want %q", address, got, want)
		}
	}
	setuid := []byte{1, 0, 0, 2, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	if !hasFileCap(setuid, unix.CAP_SETUID) || hasFileCap(setuid, unix.CAP_SETGID) || hasFileCap(setuid[:8], unix.CAP_SETUID) {
		t.Error("file capabilities")
	}
	setuid[0] = 0 // permitted, not effective
	if hasFileCap(setuid, unix.CAP_SETUID) {
		t.Error("a capability that is not effective")
	}
	for text, want := range map[string]string{"rw,hidepid=invisible": "invisible", "rw,hidepid=0": "", "rw": "", "hidepid=2,gid=4": "2"} {
		if got := hidepid(text); got != want {
			t.Errorf("%q: %q", text, got)
		}
	}
	if got := chosen("none [integrity] confidentiality"); got != "integrity" || chosen("x") != "" || chosen("]x[") != "" {
		t.Error(got)
	}
	release := "NAME=x\nPRETTY_NAME=\"Some Linux 1\"\nID=foo\nID_LIKE='ubuntu debian'\n"
	if osRelease(release, "PRETTY_NAME") != "Some Linux 1" || familyOf(osRelease(release, "ID")+" "+osRelease(release, "ID_LIKE")) != Debian {
		t.Error("os-release")
	}
	if nameOf("root:x:0:0::/:/bin/sh\nann:x:1000:1000::/:\n", 1000) != "ann" || nameOf("", 0) != "" {
		t.Error("passwd")
	}
	for name, want := range map[string]bool{"ann": true, "a-b.c_1": true, "": false, "-x": false, "a b": false, "a;b": false, "a'b": false, "1a": false} {
		if isName(name) != want {
			t.Errorf("name %q", name)
		}
	}
}

func TestMounts(t *testing.T) {
	table := []procfs.Mount{{Point: "/", Type: "ext4"}, {Point: "/proc"}, {Point: "/proc/kcore"}, {Point: "/proc/sys/fs/binfmt_misc"}, {Point: "/var", Type: "xfs"}, {Point: "/var", Type: "nfs4"}}
	if m := mountOf(table, "/var/lib/x"); m == nil || m.Type != "nfs4" {
		t.Errorf("%+v", m)
	}
	if m := mountOf(table, "/variable"); m == nil || m.Type != "ext4" {
		t.Errorf("%+v", m)
	}
	if got := covered(table, "/proc"); !slices.Equal(got, []string{"/proc/kcore"}) {
		t.Errorf("covered %v", got)
	}
}

func TestVulnerable(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"mds": "Vulnerable: Clear CPU buffers attempted, no microcode; SMT Host state unknown\n", "l1tf": "Not affected\n",
		"retbleed": "Mitigation: Enhanced IBRS\n", "spec_rstack_overflow": "Vulnerable\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	names, known := vulnerable(dir)
	if !known || !slices.Equal(names, []string{"mds", "spec_rstack_overflow"}) {
		t.Errorf("%v, %v", names, known)
	}
	if _, known := vulnerable(filepath.Join(dir, "none")); known {
		t.Error("a directory that is not there")
	}
}

// What cannot work must be seen not to.
func TestTriesCanFail(t *testing.T) {
	e := &examiner{ctx: context.Background(), o: Options{Patience: 20 * time.Second}}
	if try := e.inUserNS(mount("nosuchfs", "x")); !try.fails() {
		t.Errorf("a file system that does not exist: %+v", try)
	}
	if err := e.rehearse(0, func(int) error { return unix.EIO }, nil, nil); err == nil {
		t.Error("an error of born was lost")
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := (&examiner{ctx: ctx, o: e.o}).rehearse(0, nil, nil, nil); err == nil {
		t.Log("the child was quicker than its end")
	}
}
