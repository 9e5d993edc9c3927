package apparmor

import (
	"flag"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/lsm"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"pgregory.net/rapid"
)

var update = flag.Bool("update", false, "write testdata anew")

// sample is a container as Docker and Podman make them, with a volume that has a read-only part.
func sample() *specs.Spec {
	return &specs.Spec{
		Root:    &specs.Root{Path: "rootfs", Readonly: true},
		Process: &specs.Process{Capabilities: &specs.LinuxCapabilities{Bounding: []string{"CAP_KILL", "CAP_MAC_ADMIN", "CAP_CHOWN"}}},
		Mounts: []specs.Mount{
			{Destination: "/proc", Type: "proc", Source: "proc"},
			{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "noexec"}},
			{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: []string{"ro", "noexec"}},
			{Destination: "/data", Type: "bind", Source: "/srv", Options: []string{"rbind"}},
			{Destination: "/data/ro files", Type: "bind", Source: "/srv", Options: []string{"rbind", "ro"}},
			{Destination: "/data/ro files/rw", Type: "bind", Source: "/srv", Options: []string{"bind"}},
		},
		Linux: &specs.Linux{
			MaskedPaths:   []string{"/proc/kcore", "/proc/keys"},
			ReadonlyPaths: []string{"/proc/sys", "/proc/sysrq-trigger"},
		},
	}
}

func TestGolden(t *testing.T) {
	joined := sample()
	joined.Linux.Namespaces = []specs.LinuxNamespace{{Type: specs.PIDNamespace, Path: "/proc/1/ns/pid"}}
	admin := sample()
	admin.Process.Capabilities.Bounding = []string{"CAP_SYS_ADMIN"}
	tests := map[string]struct {
		spec *specs.Spec
		r    lsm.AppArmorRequest
		d    Dialect
	}{
		"generated":        {sample(), lsm.AppArmorRequest{Generated: true}, Modern},
		"generated-legacy": {sample(), lsm.AppArmorRequest{Generated: true}, Legacy},
		"words":            {joined, lsm.AppArmorRequest{Generated: true, Mount: true, UserNS: true}, Modern},
		"sys-admin":        {admin, lsm.AppArmorRequest{Generated: true}, Modern},
		"empty":            {&specs.Spec{}, lsm.AppArmorRequest{Generated: true}, Modern},
		"default":          {sample(), lsm.AppArmorRequest{Default: true}, Modern},
		"default-legacy":   {sample(), lsm.AppArmorRequest{Default: true}, Legacy},
	}
	for name, test := range tests {
		p, err := New(test.spec, "", test.r)
		if err != nil {
			t.Fatal(err)
		}
		text := p.Text("bulkhead-NAME-0", test.d)
		file := filepath.Join("testdata", name+".txt")
		if *update {
			if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if want, _ := os.ReadFile(file); string(want) != text {
			t.Errorf("%s: go test -update shows in git diff how it differs:\n%s", name, text)
		}
	}
}

// TestHash: what a profile says makes its hash, and nothing else.
func TestHash(t *testing.T) {
	hash := func(change func(*specs.Spec)) string {
		s := sample()
		change(s)
		p, err := New(s, "", lsm.AppArmorRequest{Generated: true})
		if err != nil {
			t.Fatal(err)
		}
		return p.Hash()
	}
	same := hash(func(*specs.Spec) {})
	if h := hash(func(s *specs.Spec) { s.Hostname = "other" }); h != same || len(h) != 16 {
		t.Errorf("%s is not %s", h, same)
	}
	for _, change := range []func(*specs.Spec){
		func(s *specs.Spec) { s.Root.Readonly = false },
		func(s *specs.Spec) { s.Mounts[3].Destination = "/other" },
		func(s *specs.Spec) { s.Linux.MaskedPaths = nil },
		func(s *specs.Spec) { s.Process.Capabilities = nil },
	} {
		if hash(change) == same {
			t.Error("another policy has the same hash")
		}
	}
}

// translate turns a glob of ours into a regular expression, by the rules of apparmor.d(5).
func translate(glob string) *regexp.Regexp {
	b := strings.Builder{}
	for i := 0; i < len(glob); i++ {
		switch c := glob[i]; {
		case c == '\\':
			i++
			b.WriteString(regexp.QuoteMeta(string(glob[i])))
		case c == '{':
			b.WriteString("(?:")
		case c == '}':
			b.WriteString(")")
		case c == ',':
			b.WriteString("|")
		case c == '?':
			b.WriteString("[^/]")
		case c == '*' && strings.HasPrefix(glob[i:], "**"):
			i++
			b.WriteString(".*")
		case c == '[':
			end := i + strings.IndexByte(glob[i:], ']')
			b.WriteString(glob[i : end+1])
			i = end
		default:
			b.WriteString(regexp.QuoteMeta(string(c)))
		}
	}
	return regexp.MustCompile("(?s)^" + b.String() + "$")
}

// TestAreas: whatever mounts lie over each other, a path matches if the region that holds it has the right, and only then.
func TestAreas(t *testing.T) {
	name := rapid.StringMatching(`[ab]{1,3}|a-b|a b`)
	anyPath := rapid.Custom(func(t *rapid.T) string { return "/" + path.Join(rapid.SliceOfN(name, 0, 4).Draw(t, "names")...) })
	rapid.Check(t, func(t *rapid.T) {
		r := regions{{"/", access{read: true, write: rapid.Bool().Draw(t, "root")}}}
		for range rapid.IntRange(0, 8).Draw(t, "mounts") {
			p := anyPath.Draw(t, "mount")
			if rapid.IntRange(0, 3).Draw(t, "kind") == 0 {
				r = r.freeze(p)
			} else {
				r = r.over(p, access{read: true, write: rapid.Bool().Draw(t, "write")})
			}
		}
		var globs []*regexp.Regexp
		for _, a := range r.areas(func(a access) bool { return a.write }) {
			for _, g := range a.globs() {
				globs = append(globs, translate(g))
			}
		}
		for range 20 {
			p := anyPath.Draw(t, "path")
			if rapid.Bool().Draw(t, "near") {
				p = rapid.SampledFrom(r).Draw(t, "region").path + rapid.SampledFrom([]string{"", "/", "a", "/a", "-", "/ b/c"}).Draw(t, "more")
			}
			p = strings.ReplaceAll(p, "//", "/") // the kernel makes no such path
			want, got := r.holding(path.Clean(p)).write, false
			for _, g := range globs {
				got = got || g.MatchString(p)
			}
			if want != got {
				t.Fatalf("%q: matches is %v, want %v; regions %v", p, got, want, r)
			}
		}
	})
}

func TestTooMany(t *testing.T) {
	s := &specs.Spec{Linux: &specs.Linux{}}
	for i := range maxRegions + 1 {
		s.Linux.MaskedPaths = append(s.Linux.MaskedPaths, "/proc/"+strings.Repeat("x", i+1))
	}
	if _, err := New(s, "", lsm.AppArmorRequest{Generated: true}); err == nil || !strings.Contains(err.Error(), "512") {
		t.Errorf("%v", err)
	}
}

// TestTooLong: a few long paths make gigabytes of rules, and are refused before that.
func TestTooLong(t *testing.T) {
	s := &specs.Spec{Linux: &specs.Linux{}}
	for i := range 40 {
		s.Linux.MaskedPaths = append(s.Linux.MaskedPaths, "/"+string(rune('a'+i%26))+strings.Repeat("x", 4000)+string(rune('a'+i/26)))
	}
	start := time.Now()
	if _, err := New(s, "", lsm.AppArmorRequest{Generated: true}); !errdef.Is(err, errdef.Invalid) || errdef.Hint(err) == "" {
		t.Errorf("%v", err)
	}
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("it took %v", d)
	}
}

// TestRuleBytes: the guess at the size of a profile is of the size that it has.
func TestRuleBytes(t *testing.T) {
	for _, n := range []int{1, 10, 100} {
		s := sample()
		for i := range n {
			s.Linux.MaskedPaths = append(s.Linux.MaskedPaths, "/proc/"+strconv.Itoa(i*7919)+"/some/where")
		}
		p, err := New(s, "", lsm.AppArmorRequest{Generated: true})
		if err != nil {
			t.Fatal(err)
		}
		if guess, got := p.regions.ruleBytes(), len(p.Text("x", Modern)); guess > got || got > 4*guess+2000 {
			t.Errorf("%d paths: %d bytes, guessed %d", n, got, guess)
		}
	}
}

// TestRemount: a remount changes one mount, and none below it.
func TestRemount(t *testing.T) {
	s := &specs.Spec{Root: &specs.Root{Readonly: true}, Mounts: []specs.Mount{
		{Destination: "/data", Type: "tmpfs", Options: []string{"ro", "noexec"}},
		{Destination: "/data/secret", Type: "tmpfs", Options: []string{"ro"}},
		{Destination: "/data", Type: "bind", Options: []string{"remount", "bind", "rw"}},
	}}
	p, err := New(s, "", lsm.AppArmorRequest{Generated: true})
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]access{"/data/x": {read: true, write: true}, "/data/secret/x": {read: true, exec: true}, "/x": {read: true, exec: true}} {
		if got := p.regions.holding(path).access; got != want {
			t.Errorf("%s: %+v, want %+v", path, got, want)
		}
	}
}

// TestQuote: every byte is said as itself. That the parser takes it so is tested with a kernel, in test/lsm.
func TestQuote(t *testing.T) {
	for path, want := range map[string]string{`/a"b\c`: `/a\"b\\c`, "/n\nl\x7f\x01": `/n\x0al\x7f\x01`, "/{a,b}*?[^c] ü": `/\{a\,b\}\*\?\[\^c\]\ ü`} {
		if got := quote(path); got != want {
			t.Errorf("%q: %s, want %s", path, got, want)
		}
	}
}
