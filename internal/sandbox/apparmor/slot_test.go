package apparmor

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/lsm"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// testHost claims and compiles for real, in directories of the test's own; what the kernel would be told goes to plain files. The kernel's part is tested
// where there is one, in test/lsm. The features are those that AppArmor's package has for programs like this.
func testHost(t *testing.T) *host {
	t.Helper()
	const features = "/etc/apparmor.d/abi/3.0"
	c := hostCompiler()
	if _, err := os.Stat(features); err != nil || c.parser == "" {
		if os.Getenv("BULKHEAD_TEST_STRICT") == "1" {
			t.Fatalf("apparmor_parser or %s is missing (Debian: apparmor): %v", features, err)
		}
		t.Skip("apparmor_parser is not installed")
	}
	dir := t.TempDir()
	c.cache, c.features = filepath.Join(dir, "cache"), features
	k := kernel(filepath.Join(dir, "kernel"))
	if err := os.Mkdir(string(k), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{".replace", ".remove", "profiles"} {
		if err := os.WriteFile(filepath.Join(string(k), name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return &host{c, k, filepath.Join(dir, "claims")}
}

func testPolicy(t *testing.T) *Policy {
	t.Helper()
	p, err := New(sample(), "", lsm.AppArmorRequest{Generated: true, BestEffort: true})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestCompile: what the real parser made is what the cache gives, and a cache that was tampered with gives nothing.
func TestCompile(t *testing.T) {
	h, p, ctx := testHost(t), testPolicy(t), context.Background()
	first, err := h.get(ctx, p, "bulkhead-test-0", true)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(first), "bulkhead-test-0") {
		t.Error("the compiled profile does not have its name")
	}
	parser := h.parser
	h.parser = ""
	again, err := h.get(ctx, p, "bulkhead-test-0", true)
	if err != nil || string(again) != string(first) {
		t.Errorf("from the cache: %v", err)
	}
	if _, err := h.get(ctx, p, "bulkhead-test-1", true); err == nil || !strings.Contains(err.Error(), "not installed") {
		t.Errorf("another name: %v", err)
	}
	if err := os.Chmod(h.cache, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := h.get(ctx, p, "bulkhead-test-0", true); err == nil {
		t.Error("a directory that others can write is trusted")
	}
	h.parser = parser
	if b, err := h.get(ctx, p, "bulkhead-test-0", true); err != nil || len(b) == 0 {
		t.Errorf("with the parser and without cache: %v", err)
	}
}

// TestOldParser: without the word best-effort an old parser is refused.
func TestOldParser(t *testing.T) {
	h, ctx := testHost(t), context.Background()
	if d, err := h.speaks(ctx); err != nil || d == Modern {
		t.Skipf("this parser is new: %v", err)
	}
	p, err := New(sample(), "", lsm.AppArmorRequest{Generated: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.get(ctx, p, "bulkhead-test-0", false); err == nil || !strings.Contains(err.Error(), "older than 4") {
		t.Errorf("%v", err)
	}
}

// TestClaims: many at once get a name each; a name is free when its container is gone, and not before.
func TestClaims(t *testing.T) {
	h, p, ctx := testHost(t), testPolicy(t), context.Background()
	const n = 12
	state := t.TempDir()
	owner := func(i int) string { return filepath.Join(state, string(rune('a'+i))) }
	names := make([]string, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			s, err := h.claim(ctx, p, owner(i))
			if err != nil {
				t.Error(err)
				return
			}
			names[i] = s.Name
			if err := os.Mkdir(owner(i), 0o700); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	seen := map[string]bool{}
	for _, name := range names {
		seen[name] = true
	}
	if len(seen) != n {
		t.Fatalf("%d names: %v", len(seen), names)
	}
	if err := h.release(names[3], owner(4), false); err != nil { // somebody else's
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(h.claims, names[3])); err != nil {
		t.Errorf("a name was given back by somebody else: %v", err)
	}
	for range 2 {
		if err := h.release(names[3], owner(3), false); err != nil {
			t.Error(err)
		}
	}
	if b, _ := os.ReadFile(filepath.Join(string(h.kernel), ".remove")); string(b) != names[3] {
		t.Errorf("the kernel was told to remove %q", b)
	}
	if s, err := h.claim(ctx, p, owner(3)); err != nil || s.Name != names[3] {
		t.Errorf("%+v, %v: want %s again", s, err, names[3])
	}
}

// TestClaimOfTheDead: a claim whose process and container are gone is free; with its container still there, it is not.
func TestClaimOfTheDead(t *testing.T) {
	h, p, ctx := testHost(t), testPolicy(t), context.Background()
	owner := filepath.Join(t.TempDir(), "container")
	first, err := h.claim(ctx, p, owner)
	if err != nil {
		t.Fatal(err)
	}
	claim := filepath.Join(h.claims, first.Name)
	if err := os.WriteFile(claim, []byte("1 1\n"+owner+"\n"), 0o600); err != nil { // a process that is no more
		t.Fatal(err)
	}
	if err := os.Mkdir(owner, 0o700); err != nil {
		t.Fatal(err)
	}
	second, err := h.claim(ctx, p, owner+"2")
	if err != nil || second.Name == first.Name {
		t.Errorf("the name of a container that is there was taken: %+v, %v", second, err)
	}
	if err := os.Remove(owner); err != nil {
		t.Fatal(err)
	}
	third, err := h.claim(ctx, p, owner+"3")
	if err != nil || third.Name != first.Name {
		t.Errorf("%+v, %v: want %s again", third, err, first.Name)
	}
	third.Drop()
	if _, err := os.Stat(claim); !os.IsNotExist(err) {
		t.Errorf("dropped, and still there: %v", err)
	}
}

// TestForeignProfile: a profile that nobody here has claimed is of a runtime with another /run, and its container is no peer.
func TestForeignProfile(t *testing.T) {
	h, p, ctx := testHost(t), testPolicy(t), context.Background()
	first := prefix + p.Hash() + "-0"
	if err := os.WriteFile(filepath.Join(string(h.kernel), "profiles"), []byte(first+" (enforce)\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := h.claim(ctx, p, filepath.Join(t.TempDir(), "container"))
	if err != nil || s.Name != prefix+p.Hash()+"-1" {
		t.Errorf("%+v, %v", s, err)
	}
}

// TestClaimsHeld: whoever is stopped with the lock on the claims makes others fail, and wait for ever never.
func TestClaimsHeld(t *testing.T) {
	h, p := testHost(t), testPolicy(t)
	defer func(d time.Duration) { lockTime = d }(lockTime)
	lockTime = 50 * time.Millisecond
	ctx := context.Background()
	owner := filepath.Join(t.TempDir(), "container")
	s, err := h.claim(ctx, p, owner)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := h.lock(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(dir)
	done := make(chan error, 3)
	go func() {
		_, err := h.claim(ctx, p, owner+"2")
		done <- err
		done <- h.drop(s.Name, owner)
		done <- h.release(s.Name, owner, false)
	}()
	for range 3 {
		select {
		case err := <-done:
			if !errdef.Is(err, errdef.Timeout) || errdef.Hint(err) == "" {
				t.Errorf("%v", err)
			}
		case <-time.After(10 * time.Second):
			t.Fatal("it waits for ever")
		}
	}
}

func TestConfines(t *testing.T) {
	for label, want := range map[string]bool{
		"bulkhead-a-1 (enforce)\n": true, "bulkhead-a-1//&own (mixed)\n": true, "own//&bulkhead-a-1 (enforce)\n": true,
		"bulkhead-a-10 (enforce)\n": false, "unconfined\n": false, "": false,
	} {
		if confines(label, "bulkhead-a-1") != want {
			t.Errorf("%q: not %v", label, want)
		}
	}
}

// FuzzText: whatever paths a specification has, the profile has one rule in each line and nothing that ends a quoted string early.
func FuzzText(f *testing.F) {
	f.Add("/a b", "/a\"b,\n}", "/x{,**}[^a]\\")
	f.Fuzz(func(t *testing.T, a, b, c string) {
		s := sample()
		s.Linux.MaskedPaths = append(s.Linux.MaskedPaths, a, b)
		s.Linux.ReadonlyPaths = append(s.Linux.ReadonlyPaths, c)
		s.Mounts = append(s.Mounts, specs.Mount{Destination: "/" + b, Type: "tmpfs", Source: "t"})
		p, err := New(s, "", lsm.AppArmorRequest{Generated: true})
		if err != nil {
			return
		}
		for line := range strings.Lines(p.Text("bulkhead-x-0", Modern)) {
			line = strings.NewReplacer(`\\`, "", `\"`, "").Replace(line)
			if strings.HasPrefix(line, `  "`) && (strings.Count(line, `"`) != 2 || !strings.HasSuffix(line, ",\n")) {
				t.Fatalf("%q", line)
			}
			if !strings.HasPrefix(line, "  ") && !strings.HasPrefix(line, "profile ") && line != "}\n" {
				t.Fatalf("%q", line)
			}
		}
	})
}
