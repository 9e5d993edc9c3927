package lsm

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// loadProfile loads an AppArmor profile for the time of a test, and returns its name.
func loadProfile(t *testing.T, rules string) string {
	t.Helper()
	enabled, _ := os.ReadFile("/sys/module/apparmor/parameters/enabled")
	forBoot(t, "apparmor", strings.HasPrefix(string(enabled), "Y"))
	name := prefix + filepath.Base(t.TempDir()) + strings.ReplaceAll(t.Name(), "/", "-")
	text := "profile " + name + " flags=(attach_disconnected,mediate_deleted) {\n" + rules + "\n}\n"
	parser := func(flag string) {
		cmd := exec.Command("apparmor_parser", flag, "-K", "-Q")
		if flag != "-p" {
			cmd = exec.Command("apparmor_parser", flag, "-K")
		}
		cmd.Stdin = strings.NewReader(text)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("apparmor_parser %s: %v: %s", flag, err, out)
		}
	}
	parser("-r")
	t.Cleanup(func() { parser("-R") })
	return name
}

// TestAppArmorNamed: a profile that config.json names denies what every capability would allow, to the first process and to one that joins it.
func TestAppArmorNamed(t *testing.T) {
	name := loadProfile(t, "capability, network, file, signal, ptrace, unix, mount, deny /data/** w, deny /proc/sys/** w,")
	for _, on := range []bool{false, true} {
		b := newBox(t)
		want := "unconfined"
		if on {
			b.spec.Process.ApparmorProfile, want = name, name+" (enforce)"
		}
		b.start("sleep", "1000")
		for _, command := range []string{"touch /data/file", "echo x >/proc/sys/kernel/domainname"} {
			if r := b.exec("sh", "-c", command); on != (r.code != 0) {
				t.Errorf("%s, profile %v: %d: %s", command, on, r.code, r.out)
			}
		}
		if r := b.exec("cat", "/proc/1/attr/current"); strings.TrimRight(r.out, "\x00\n") != want {
			t.Errorf("init is %q, want %q", r.out, want)
		}
		if r := b.exec("cat", "/proc/self/attr/current"); strings.TrimRight(r.out, "\x00\n") != want {
			t.Errorf("exec is %q, want %q", r.out, want)
		}
		b.command("delete", "--force", b.id)
		if r := b.sh("touch /data/file"); on != (r.code != 0) {
			t.Errorf("init, profile %v: %d: %s", on, r.code, r.out)
		}
	}
}

// TestAppArmorMissing: a profile that is not loaded is one sentence, and nothing is started.
func TestAppArmorMissing(t *testing.T) {
	loadProfile(t, "file,")
	b := newBox(t)
	b.spec.Process.ApparmorProfile = "no-such-profile"
	if r := b.sh("echo started"); r.code == 0 || strings.Contains(r.out, "started") || !strings.Contains(r.out, "no-such-profile") || !strings.Contains(r.out, "hint") {
		t.Errorf("%d: %s", r.code, r.out)
	}
}
