package lsm

import (
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"golang.org/x/sys/unix"
)

func TestLabels(t *testing.T) {
	const aa, se = "AppArmor confines the program with profile ", "SELinux confines the program with label "
	key := func(l string) Write {
		return Write{"attr/keycreate", l, BeforeKeyring, "the session keyring belongs to the container's SELinux label"}
	}
	for _, test := range []struct {
		m              Modules
		profile, label string
		want           []Write
		kind           errdef.Kind
		fails          bool
	}{
		{Modules{}, "", "", nil, 0, false},
		{Modules{AppArmor: true, SELinux: true}, "", "", nil, 0, false},
		{Modules{AppArmor: true}, "p", "", []Write{{"attr/exec", "exec p", BeforeExec, aa + "p"}}, 0, false},
		{Modules{AppArmor: true, AppArmorDir: true}, "p q", "", []Write{{"attr/apparmor/exec", "exec p q", BeforeExec, aa + "p q"}}, 0, false},
		{Modules{AppArmor: true}, Unconfined, "", []Write{{"attr/exec", "exec unconfined", BeforeExec, aa + "unconfined"}}, 0, false},
		{Modules{}, Unconfined, "", nil, 0, false},
		{Modules{}, "p", "", nil, errdef.Unsupported, true},
		{Modules{SELinux: true}, "p", "", nil, errdef.Unsupported, true},
		{Modules{SELinux: true}, "", "u:r:t:s0", []Write{key("u:r:t:s0"), {"attr/exec", "u:r:t:s0", BeforeExec, se + "u:r:t:s0"}}, 0, false},
		{Modules{AppArmor: true}, "", "u:r:t:s0", nil, errdef.Unsupported, true},
		{Modules{AppArmor: true}, "p\nq", "", nil, errdef.Invalid, true},
		{Modules{SELinux: true}, "", "u\x00", nil, errdef.Invalid, true},
		{Modules{AppArmor: true}, strings.Repeat("p", 4096), "", nil, errdef.Invalid, true},
	} {
		got, err := Labels(test.m, test.profile, test.label, false)
		if test.fails != (err != nil) || test.fails && !errdef.Is(err, test.kind) || !reflect.DeepEqual(got, test.want) {
			t.Errorf("%+v %.20q %.20q: got %+v, %v", test.m, test.profile, test.label, got, err)
		}
		if test.kind == errdef.Unsupported && errdef.Hint(err) == "" {
			t.Errorf("%.20q %.20q: no hint", test.profile, test.label)
		}
	}
}

// TestStack: who has a profile already and may gain no rights takes another one in addition.
func TestStack(t *testing.T) {
	for _, confined := range []bool{false, true} {
		for _, noNewPrivs := range []bool{false, true} {
			got, err := Labels(Modules{AppArmor: true, AppArmorDir: true, Confined: confined}, "p", "", noNewPrivs)
			want := "exec p"
			if confined && noNewPrivs {
				want = "stack p"
			}
			if err != nil || len(got) != 1 || got[0].Data != want {
				t.Errorf("confined %v, no_new_privs %v: %+v, %v", confined, noNewPrivs, got, err)
			}
		}
	}
}

func TestParseAppArmor(t *testing.T) {
	for value, want := range map[string]AppArmorRequest{
		"generated":                          {Generated: true},
		"default,best-effort":                {Default: true, BestEffort: true},
		"generated,userns,mount,best-effort": {Generated: true, Mount: true, UserNS: true, BestEffort: true},
	} {
		if got, err := ParseAppArmor(value); err != nil || got != want {
			t.Errorf("%q: %+v, %v", value, got, err)
		}
	}
	for _, value := range []string{"", "generate", "generated,default", "best-effort", "default,mount", "generated,generated", "generated,", "generated=1"} {
		if got, err := ParseAppArmor(value); !errdef.Is(err, errdef.Invalid) || errdef.Hint(err) == "" || got != (AppArmorRequest{}) {
			t.Errorf("%q: %+v, %v", value, got, err)
		}
		if err := CheckAnnotation(AppArmorAnnotation, value); err == nil {
			t.Errorf("%q passes the check", value)
		}
	}
}

func TestMountLabel(t *testing.T) {
	if err := CheckMountLabel(Modules{}, ""); err != nil {
		t.Error(err)
	}
	if err := CheckMountLabel(Modules{}, "l"); !errdef.Is(err, errdef.Unsupported) {
		t.Error(err)
	}
	if err := CheckMountLabel(Modules{SELinux: true}, "l"); err != nil {
		t.Error(err)
	}
	if TakesContext("proc") || TakesContext("bind") || !TakesContext("tmpfs") || !TakesContext("overlay") {
		t.Error("file systems are mixed up")
	}
}

// What is detected must agree with the kernel's own list of modules, where securityfs shows it.
func TestHost(t *testing.T) {
	b, err := os.ReadFile("/sys/kernel/security/lsm")
	if err != nil {
		t.Skip(err)
	}
	has := func(name string) bool { return strings.Contains(","+strings.TrimSpace(string(b))+",", ","+name+",") }
	m := Host()
	if m.AppArmor != has("apparmor") || m.SELinux && !has("selinux") {
		t.Errorf("detected %+v, the kernel has %s", m, b)
	}
	if (LandlockABI() > 0) != has("landlock") {
		t.Errorf("Landlock ABI %d, the kernel has %s", LandlockABI(), b)
	}
}

func TestLandlockRights(t *testing.T) {
	for abi, want := range map[int]Rights{
		0: {}, 1: {FS: 1<<13 - 1}, 2: {FS: 1<<14 - 1}, 3: {FS: 1<<15 - 1}, 4: {FS: 1<<15 - 1, Net: 3}, 5: {FS: 1<<16 - 1, Net: 3},
		6: {FS: 1<<16 - 1, Net: 3, Scoped: 3}, 99: {FS: 1<<16 - 1, Net: 3, Scoped: 3},
	} {
		if got := LandlockRights(abi); got != want {
			t.Errorf("ABI %d: got %+v, want %+v", abi, got, want)
		}
	}
}

// The kernel itself must take the rights that the table gives for its version.
func TestLandlockKernel(t *testing.T) {
	if LandlockABI() == 0 {
		t.Skip("no Landlock")
	}
	r := LandlockRights(LandlockABI())
	attr := unix.LandlockRulesetAttr{Handled_access_fs: r.FS, Handled_access_net: r.Net, Scoped: r.Scoped}
	fd, err := createRuleset(&attr, LandlockABI())
	if err != nil {
		t.Fatal(err)
	}
	unix.Close(fd)
}
