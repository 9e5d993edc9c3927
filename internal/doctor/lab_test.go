package doctor

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// lab skips a test that is for the machines of the lab (test/vm): they are thrown away, and it is known what they are.
func lab(t *testing.T) (lsm, init string) {
	t.Helper()
	if os.Getenv("BULKHEAD_TEST_VM") != "1" {
		t.Skip("this is no machine of the lab (make vm)")
	}
	return os.Getenv("BULKHEAD_TEST_LSM"), os.Getenv("BULKHEAD_TEST_INIT")
}

// expect fails unless the finding has the status and its text holds what is said.
func expect(t *testing.T, r map[string]Finding, id string, status Status, found string) {
	t.Helper()
	f, ok := r[id]
	if !ok || f.Status != status || !strings.Contains(f.Found, found) {
		t.Errorf("%s: %+v, want %s and %q", id, f, status, found)
	}
}

// The doctor must name each machine of the lab for what it is, as root and as the user.
func TestLab(t *testing.T) {
	lsm, init := lab(t)
	r := byID(Judge(examine(t)))
	switch lsm {
	case "apparmor":
		expect(t, r, "lsm.apparmor", OK, "in force; /usr/sbin/apparmor_parser")
		expect(t, r, "lsm.selinux", OK, "AppArmor is")
	case "selinux":
		expect(t, r, "lsm.selinux", OK, "enforcing")
		expect(t, r, "lsm.apparmor", OK, "SELinux is")
	default:
		expect(t, r, "lsm.apparmor", Weak, "built in, not in force")
		expect(t, r, "lsm.selinux", OK, "not in force")
	}
	expect(t, r, "cgroup.mode", OK, "version 2")
	expect(t, r, "cgroup.options", OK, "nsdelegate")
	expect(t, r, "host.vm", OK, "QEMU")
	expect(t, r, "host.container", OK, "no")
	expect(t, r, "namespace.user", OK, "made")
	expect(t, r, "namespace.procfs", OK, "mounted")
	if init == "systemd" {
		expect(t, r, "cgroup.systemd", r["cgroup.systemd"].Status, "runs")
		if got := r["cgroup.systemd"]; got.Status != OK && !strings.Contains(got.Found, "bulkhead-systemd is not in") {
			t.Errorf("%+v", got)
		}
	} else {
		expect(t, r, "cgroup.systemd", OK, "does not run")
	}
	if os.Geteuid() == 0 {
		expect(t, r, "cgroup.devices", OK, "loads")
		expect(t, r, "kernel.idmap", r["kernel.idmap"].Status, "on ") // tmpfs came with 6.3
		return
	}
	expect(t, r, "cgroup.delegation", OK, "cpu")
	expect(t, r, "user.ranges", OK, "65536")
	expect(t, r, "user.mapping", OK, "65536")
	expect(t, r, "user.runtime_dir", OK, "/run/user/1000")
	if init == "systemd" {
		expect(t, r, "user.linger", OK, "on")
	}
}

func byID(r *Report) map[string]Finding {
	m := map[string]Finding{}
	for _, f := range r.Findings {
		m[f.ID] = f
	}
	return m
}

// reportFile names the file for the report of TestAlone.
const reportFile = "BULKHEAD_TEST_REPORT"

// TestAlone is what the shell of reportOf runs.
func TestAlone(t *testing.T) {
	out := os.Getenv(reportFile)
	if out == "" {
		t.Skip("it is run by TestMends alone")
	}
	report := Judge(examine(t))
	checkReport(t, report)
	if err := os.WriteFile(out, report.JSON(), 0o644); err != nil {
		t.Fatal(err)
	}
}

// reportOf runs commands in a shell as root, or as a user with sudo would, and then examines from there. There is no sudo in the lab: a program
// of that name runs its arguments as they are, and the shell takes the user's id when the commands are done. It is a process of its own,
// because what the kernel can do is asked once in each.
func reportOf(t *testing.T, root bool, commands string) map[string]Finding {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "doctor")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	for name, mode := range map[string]os.FileMode{"sudo": 0o755, "report": 0o666} {
		text := "#!/bin/sh\nexec \"$@\"\n"
		if name == "report" {
			text = ""
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(filepath.Join(dir, name), mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "doctor.test") // where the user may read it
	data, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(program, data, 0o755); err != nil {
		t.Fatal(err)
	}
	script := commands + "\nexec setpriv --reuid 1000 --regid 1000 --init-groups " + program + " -test.run '^TestAlone$' -test.count=1"
	if root {
		script = commands + "\nexec " + program + " -test.run '^TestAlone$' -test.count=1"
	}
	cmd := exec.Command("sh", "-c", script)
	cmd.Dir = "/"
	cmd.Env = []string{
		"PATH=" + dir + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/home/user", "USER=user", "TMPDIR=/tmp",
		"XDG_RUNTIME_DIR=/run/user/1000", reportFile + "=" + filepath.Join(dir, "report"),
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s\n%s", err, out, script)
	}
	raw, err := os.ReadFile(filepath.Join(dir, "report"))
	if err != nil {
		t.Fatal(err)
	}
	var doc struct{ Checks []map[string]string }
	if err := json.Unmarshal(raw, &doc); err != nil {
		t.Fatalf("%v in %q", err, raw)
	}
	m := map[string]Finding{}
	for _, c := range doc.Checks {
		m[c["id"]] = Finding{ID: c["id"], Status: Status(c["status"]), Found: c["found"], Cost: c["cost"], Fix: c["fix"]}
	}
	return m
}

func shell(t *testing.T, command string) {
	t.Helper()
	if out, err := exec.Command("sh", "-c", command).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", command, err, out)
	}
}

// Commands that are printed must mend what they are printed for: something is broken, the command is run as it stands there, and it is good.
func TestMends(t *testing.T) {
	lsm, init := lab(t)
	if os.Geteuid() != 0 {
		t.Skip("only root can break what is to be mended")
	}
	if lsm == "selinux" {
		t.Skip("the policy keeps the lab's domain from some of what is broken here; the commands are the same")
	}
	for _, test := range []struct {
		name, breaks, id string
		broken           Status
		asRoot           bool
	}{
		{"a sysctl", "echo 0 >/proc/sys/kernel/kptr_restrict", "kernel.kptr_restrict", Weak, true},
		{"a sysctl, by a user", "echo 0 >/proc/sys/fs/protected_symlinks", "fs.protected_symlinks", Weak, false},
		{"Yama", "echo 0 >/proc/sys/kernel/yama/ptrace_scope", "lsm.yama", Weak, false},
		{"core dumps", "echo '|/bin/false %p' >/proc/sys/kernel/core_pattern", "kernel.core_pattern", Weak, true},
		{"no user namespaces", "echo 0 >/proc/sys/user/max_user_namespaces", "namespace.user", Missing, false},
		{"no memory that is executable", "echo 2 >/proc/sys/vm/memfd_noexec", "kernel.memfd_exec", Missing, true},
		{"mount options", "mount --options-mode ignore -o remount,rw cgroup2 /sys/fs/cgroup", "cgroup.options", Weak, true},
		{"ranges", "sed -i /^user:/d /etc/subuid /etc/subgid", "user.ranges", Missing, false},
		{"a range of groups", "sed -i /^user:/d /etc/subgid", "user.ranges", Missing, false},
		{"newuidmap", "chmod u-s /usr/bin/newuidmap", "user.newuidmap", Missing, false},
		{"newgidmap", "chmod u-s /usr/bin/newgidmap && chown 1000 /usr/bin/newgidmap", "user.newgidmap", Missing, false},
		{"lingering", "rm -f /var/lib/systemd/linger/user", "user.linger", Weak, false},
		{"delegation", "rm -rf /etc/systemd/system/user@.service.d && systemctl daemon-reload && systemctl restart user@1000.service", "cgroup.delegation", Weak, false},
		{"delegation without systemd", "", "cgroup.delegation", Weak, false},
		{"securityfs", "umount /sys/kernel/security", "lsm.apparmor", Weak, true},
		{"few files", "", "limit.nofile", Weak, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			switch {
			case (init == "systemd") != (test.name == "lingering" || test.name == "delegation"):
				t.Skip("it is for the boots with, or without systemd")
			case lsm != "apparmor" && test.id == "lsm.apparmor":
				t.Skip("AppArmor does not run here")
			}
			if test.breaks != "" {
				shell(t, test.breaks)
			}
			before := ""
			if test.id == "limit.nofile" {
				before = "ulimit -n 1024"
			}
			look := func(commands string) map[string]Finding {
				return reportOf(t, test.asRoot, before+"\n"+commands)
			}
			broken := look("")[test.id]
			if broken.Status != test.broken || broken.Fix == "" {
				t.Fatalf("broken: %+v", broken)
			}
			t.Log(broken.Fix)
			if mended := look(broken.Fix)[test.id]; mended.Status != OK {
				t.Errorf("after %s: %+v", broken.Fix, mended)
			}
		})
	}
}

// The profile that gives the runtime user namespaces on Ubuntu must be one that AppArmor takes.
func TestProfileLoads(t *testing.T) {
	if lsm, _ := lab(t); lsm != "apparmor" || os.Geteuid() != 0 {
		t.Skip("it is for root where AppArmor runs")
	}
	f := ubuntu()
	f.Caller.UID = 0
	fix := Judge(f).Find("namespace.user").Fix
	shell(t, fix)
	defer shell(t, "apparmor_parser -R /etc/apparmor.d/bulkhead-runtime")
	loaded, err := os.ReadFile("/sys/kernel/security/apparmor/profiles")
	if err != nil || !strings.Contains(string(loaded), "bulkhead-runtime (unconfined)") {
		t.Errorf("after %s: %s, %v", fix, loaded, err)
	}
}

// The packages that are printed are Debian's names: the lab has them from its archive.
func TestPackages(t *testing.T) {
	lab(t)
	for _, p := range []packages{uidmapPackage, apparmorPackage, policyPackage, userBusPackage, busPackage} {
		if out, err := exec.Command("dpkg-query", "-W", "-f", "${Status}", p.debian).Output(); err != nil || string(out) != "install ok installed" {
			t.Errorf("package %s: %q, %v", p.debian, out, err)
		}
	}
	var st unix.Stat_t
	if err := unix.Stat("/usr/sbin/apparmor_parser", &st); err != nil {
		t.Errorf("apparmor_parser: %v", err)
	}
}
