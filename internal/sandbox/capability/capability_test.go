package capability

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Numbers that x/sys took from the kernel's header, first, last and some where a slip would shift the rest.
func TestNumbers(t *testing.T) {
	for name, want := range map[string]int{
		"CAP_CHOWN": unix.CAP_CHOWN, "CAP_SETPCAP": unix.CAP_SETPCAP, "CAP_NET_RAW": unix.CAP_NET_RAW, "CAP_SYS_MODULE": unix.CAP_SYS_MODULE,
		"CAP_SYS_ADMIN": unix.CAP_SYS_ADMIN, "CAP_MKNOD": unix.CAP_MKNOD, "CAP_SETFCAP": unix.CAP_SETFCAP, "CAP_SYSLOG": unix.CAP_SYSLOG,
		"CAP_AUDIT_READ": unix.CAP_AUDIT_READ, "CAP_PERFMON": unix.CAP_PERFMON, "CAP_BPF": unix.CAP_BPF,
		"CAP_CHECKPOINT_RESTORE": unix.CAP_CHECKPOINT_RESTORE, "CAP_MAC_ADMIN": unix.CAP_MAC_ADMIN, "CAP_IPC_OWNER": unix.CAP_IPC_OWNER,
	} {
		if n, ok := Number(name); !ok || n != want || Name(n) != name {
			t.Errorf("%s: got %d %v, want %d", name, n, ok, want)
		}
	}
	if len(names) != unix.CAP_LAST_CAP+1 {
		t.Errorf("%d names", len(names))
	}
	sorted := slices.Sorted(slices.Values(names[:]))
	if len(slices.Compact(sorted)) != len(names) {
		t.Error("a name stands twice")
	}
}

func TestParse(t *testing.T) {
	s, unknown := parse([]string{"CAP_CHOWN", "CAP_BPF", "cap_kill", "KILL", "CAP_NOPE", ""}, unix.CAP_AUDIT_READ)
	if s != Of(unix.CAP_CHOWN) {
		t.Errorf("got %v", s)
	}
	if want := []string{"CAP_BPF", "cap_kill", "KILL", "CAP_NOPE", ""}; !slices.Equal(unknown, want) {
		t.Errorf("unknown: got %q, want %q", unknown, want)
	}
}

func TestText(t *testing.T) {
	for _, test := range []struct {
		set  Set
		want string
	}{
		{0, "none"},
		{Known, "all"},
		{Of(unix.CAP_KILL, unix.CAP_CHOWN), "CAP_CHOWN CAP_KILL"},
		{Known &^ Of(unix.CAP_SYS_BOOT), "all but CAP_SYS_BOOT"},
		{1 << 50, "CAP_50"},
	} {
		if got := test.set.String(); got != test.want {
			t.Errorf("got %q, want %q", got, test.want)
		}
	}
	if got := Of(unix.CAP_DAC_OVERRIDE).Hex(); got != "0000000000000002" {
		t.Errorf("hex %s", got)
	}
}

func TestFromSpec(t *testing.T) {
	kill, chown := Of(unix.CAP_KILL), Of(unix.CAP_CHOWN)
	s, unknown := FromSpec(&specs.LinuxCapabilities{
		Bounding: []string{"CAP_KILL", "CAP_CHOWN", "CAP_X"}, Permitted: []string{"CAP_KILL", "CAP_X"}, Effective: []string{"CAP_KILL"},
		Ambient: []string{"CAP_KILL"},
	})
	want := Sets{Bounding: kill | chown, Permitted: kill, Effective: kill, Ambient: kill}
	if s != want || !slices.Equal(unknown, []string{"CAP_X"}) {
		t.Errorf("got %+v, %q", s, unknown)
	}
	if got := s.String(); got != "bounding: CAP_CHOWN CAP_KILL; effective, permitted, ambient: CAP_KILL; inheritable: none" {
		t.Error(got)
	}
	if s, unknown := FromSpec(nil); s != (Sets{}) || unknown != nil {
		t.Errorf("nil: %+v, %q", s, unknown)
	}
	if raise, dropped := s.SplitAmbient(); raise != 0 || dropped != kill {
		t.Errorf("ambient without inheritable: %v, %v", raise, dropped)
	}
}

func TestRules(t *testing.T) {
	kill, chown := Of(unix.CAP_KILL), Of(unix.CAP_CHOWN)
	for _, test := range []struct {
		s  Sets
		ok bool
	}{
		{Sets{}, true},
		{Sets{Bounding: kill, Effective: kill, Permitted: kill}, true},
		{Sets{Bounding: kill, Effective: kill}, false},
		{Sets{Permitted: kill}, true}, // permitted may exceed bounding: bounding limits what execve adds
		{Sets{Inheritable: kill}, false},
	} {
		if err := test.s.Check(); (err == nil) != test.ok || err != nil && !errdef.Is(err, errdef.Invalid) {
			t.Errorf("%+v: %v", test.s, err)
		}
	}
	s := Sets{Bounding: kill | chown, Permitted: kill, Effective: kill, Inheritable: kill, Ambient: kill}
	if got := s.AfterExec(false); got.Permitted != kill || got.Effective != kill {
		t.Errorf("user after exec: %+v", got)
	}
	if got := s.AfterExec(true); got.Permitted != kill|chown {
		t.Errorf("root after exec: %+v", got)
	}
	s.Ambient = 0
	if got := s.AfterExec(false); got.Effective != 0 {
		t.Errorf("user without ambient after exec: %+v", got)
	}
	if taken := s.Limit(chown); taken != kill || s != (Sets{Bounding: chown}) {
		t.Errorf("limit: took %v, left %+v", taken, s)
	}
}

// The kernel's own idea of "all" is the bounding set of a process that was never confined, such as ours when it is complete.
func TestAll(t *testing.T) {
	b, err := os.ReadFile("/proc/sys/kernel/cap_last_cap")
	if err != nil {
		t.Skip(err)
	}
	last, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		t.Fatal(err)
	}
	if !All().Has(last) || All().Has(last+1) {
		t.Errorf("all is %s, the last is %d", All().Hex(), last)
	}
}
