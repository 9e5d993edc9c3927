package seccomp

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
)

func cacheDir(t *testing.T) string {
	t.Helper()
	return filepath.Join(t.TempDir(), "seccomp")
}

func entries(t *testing.T, dir string) []string {
	t.Helper()
	list, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	hidden, err := filepath.Glob(filepath.Join(dir, ".*"))
	if err != nil {
		t.Fatal(err)
	}
	return append(list, hidden...)
}

func mustCached(t *testing.T, dir string, p *specs.LinuxSeccomp) *Filter {
	t.Helper()
	f, err := Cached(dir, p)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func same(a, b *Filter) bool {
	return a.Flags == b.Flags && a.Notify == b.Notify && slices.Equal(a.Program, b.Program)
}

func TestCachedReturnsWhatCompileDoes(t *testing.T) {
	dir := cacheDir(t)
	p := readProfile(t, "docker.json")
	p.Flags = []specs.LinuxSeccompFlag{specs.LinuxSeccompFlagLog}
	want, err := Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if f := mustCached(t, dir, p); !same(f, want) {
			t.Fatal("Cached differs from Compile")
		}
	}
	list := entries(t, dir)
	if len(list) != 1 {
		t.Fatalf("entries: %v", list)
	}
	st, err := os.Stat(list[0])
	if err != nil || st.Mode() != 0o600 {
		t.Fatalf("mode %v, %v", st.Mode(), err)
	}
	key := profileKey(p)
	b, err := os.ReadFile(list[0])
	if err != nil || parseEntry(b, key) == nil {
		t.Fatalf("the entry is not used: %v", err)
	}
}

// TestCacheIsNotTrusted damages an entry in every way and expects a fresh program.
func TestCacheIsNotTrusted(t *testing.T) {
	dir := cacheDir(t)
	p := readProfile(t, "docker.json")
	want := mustCached(t, dir, p)
	name := entries(t, dir)[0]
	good, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	open := (&Filter{Program: []Insn{{Code: codeRet, K: retAllow}}})
	other := *p
	other.DefaultAction = specs.ActAllow
	outside := filepath.Join(t.TempDir(), "outside")
	if err := os.WriteFile(outside, open.entry(profileKey(p)), 0o600); err != nil {
		t.Fatal(err)
	}
	put := func(b []byte) func() error { return func() error { return os.WriteFile(name, b, 0o600) } }
	flipped := bytes.Clone(good)
	flipped[len(flipped)/2] ^= 1
	for what, damage := range map[string]func() error{
		"truncated":       put(good[:len(good)/2]),
		"empty":           put(nil),
		"longer":          put(append(bytes.Clone(good), 0, 0, 0, 0, 0, 0, 0, 0)),
		"a bit":           put(flipped),
		"another profile": put(open.entry(profileKey(&other))),
		"a bad program":   put((&Filter{Program: []Insn{{Code: codeLoad, K: 3}}}).entry(profileKey(p))),
		"a link":          func() error { return os.Symlink(outside, name) },
		"a directory":     func() error { return os.Mkdir(name, 0o700) },
		"writable":        func() error { return os.WriteFile(name, open.entry(profileKey(p)), 0o600) },
	} {
		t.Run(what, func(t *testing.T) {
			if err := os.RemoveAll(name); err != nil {
				t.Fatal(err)
			}
			if err := damage(); err != nil {
				t.Fatal(err)
			}
			if what == "writable" {
				if err := os.Chmod(name, 0o622); err != nil {
					t.Fatal(err)
				}
			}
			if f := mustCached(t, dir, p); !same(f, want) {
				t.Fatal("a damaged entry was used")
			}
			if b, err := os.ReadFile(outside); err != nil || !bytes.Equal(b, open.entry(profileKey(p))) {
				t.Fatal("the file behind the link was touched")
			}
		})
	}
}

func TestCacheNeedsOwnDirectory(t *testing.T) {
	p := readProfile(t, "docker.json")
	want, err := Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	for what, prepare := range map[string]func(dir string) error{
		"writable by others": func(dir string) error { return os.Chmod(dir, 0o777) },
		"another's":          func(dir string) error { return os.Chown(dir, 12345, -1) },
		"a link": func(dir string) error {
			if err := os.Rename(dir, dir+".real"); err != nil {
				return err
			}
			return os.Symlink(dir+".real", dir)
		},
	} {
		t.Run(what, func(t *testing.T) {
			if what == "another's" && os.Geteuid() != 0 {
				t.Skip("needs root")
			}
			dir := cacheDir(t)
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := prepare(dir); err != nil {
				t.Fatal(err)
			}
			if f := mustCached(t, dir, p); !same(f, want) {
				t.Fatal("Cached differs from Compile")
			}
			if list := entries(t, dir); len(list) != 0 {
				t.Fatalf("written: %v", list)
			}
		})
	}
}

func TestCacheDoesNotGrowWithoutEnd(t *testing.T) {
	dir := cacheDir(t)
	for i := range uint64(maxEntries + 20) {
		p := &specs.LinuxSeccomp{DefaultAction: specs.ActErrno, Syscalls: []specs.LinuxSyscall{
			{Names: []string{"read"}, Action: specs.ActAllow, Args: []specs.LinuxSeccompArg{{Index: 0, Value: i, Op: specs.OpEqualTo}}},
		}}
		mustCached(t, dir, p)
	}
	if n := len(entries(t, dir)); n > maxEntries {
		t.Fatalf("%d entries", n)
	}
}

// TestKeyTellsProfilesApart changes one thing at a time.
func TestKeyTellsProfilesApart(t *testing.T) {
	n := uint(1)
	base := func() *specs.LinuxSeccomp {
		return &specs.LinuxSeccomp{
			DefaultAction: specs.ActErrno, Architectures: []specs.Arch{specs.ArchX86}, Flags: []specs.LinuxSeccompFlag{specs.LinuxSeccompFlagLog},
			Syscalls: []specs.LinuxSyscall{{Names: []string{"ab", "c"}, Action: specs.ActAllow, Args: []specs.LinuxSeccompArg{{Index: 1, Value: 2, ValueTwo: 3, Op: specs.OpEqualTo}}}},
		}
	}
	seen := map[string]int{}
	for i, change := range []func(*specs.LinuxSeccomp){
		func(*specs.LinuxSeccomp) {},
		func(p *specs.LinuxSeccomp) { p.DefaultAction = specs.ActKill },
		func(p *specs.LinuxSeccomp) { p.DefaultErrnoRet = &n },
		func(p *specs.LinuxSeccomp) { p.Architectures = nil },
		func(p *specs.LinuxSeccomp) { p.Flags = nil },
		func(p *specs.LinuxSeccomp) { p.Syscalls = nil },
		func(p *specs.LinuxSeccomp) { p.Syscalls[0].Names = []string{"a", "bc"} },
		func(p *specs.LinuxSeccomp) { p.Syscalls[0].Names = []string{"abc"} },
		func(p *specs.LinuxSeccomp) { p.Syscalls[0].Action = specs.ActLog },
		func(p *specs.LinuxSeccomp) { p.Syscalls[0].ErrnoRet = &n },
		func(p *specs.LinuxSeccomp) { p.Syscalls[0].Args = nil },
		func(p *specs.LinuxSeccomp) { p.Syscalls[0].Args[0].Index = 0 },
		func(p *specs.LinuxSeccomp) { p.Syscalls[0].Args[0].Value = 1 << 40 },
		func(p *specs.LinuxSeccomp) { p.Syscalls[0].Args[0].ValueTwo = 0 },
		func(p *specs.LinuxSeccomp) { p.Syscalls[0].Args[0].Op = specs.OpNotEqual },
		func(p *specs.LinuxSeccomp) { p.Syscalls = append(p.Syscalls, p.Syscalls[0]) },
	} {
		p := base()
		change(p)
		key := string(profileKey(p))
		if j, ok := seen[key]; ok {
			t.Errorf("change %d has the key of %d", i, j)
		}
		seen[key] = i
	}
}
