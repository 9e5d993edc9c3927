package credential

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
)

// keeper is a credential helper as those of docker-credential-helpers are: it keeps what it gets in files beside itself.
const keeper = `#!/bin/sh
dir=${0%/*}/kept
mkdir -p "$dir"
case $1 in
store)
	in=$(cat)
	url=$(printf %s "$in" | sed 's/.*"ServerURL":"\([^"]*\)".*/\1/')
	printf %s "$in" >"$dir/$(printf %s "$url" | tr / _)" ;;
get)
	url=$(cat)
	cat "$dir/$(printf %s "$url" | tr / _)" 2>/dev/null || { echo "credentials not found in native keychain"; exit 1; } ;;
erase)
	url=$(cat)
	rm -f "$dir/$(printf %s "$url" | tr / _)" ;;
list)
	echo '{"r.test":"alice"}' ;;
esac
`

// install puts a program into a PATH of its own.
func install(t *testing.T, name, text string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, helperPrefix+name), []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	return dir
}

func TestHelper(t *testing.T) {
	dir := install(t, "keeper", keeper)
	for name, config := range map[string]string{
		"credsStore":  `{"credsStore":"keeper","auths":{"r.test":{"auth":"b2xkOm9sZA=="}}}`,
		"credHelpers": `{"credHelpers":{"r.test":"keeper","docker.io":"keeper"},"credsStore":"absent"}`,
	} {
		t.Run(name, func(t *testing.T) {
			s, home := environment(t, nil)
			path := filepath.Join(home, ".docker/config.json")
			write(t, path, config)
			for domain, c := range map[string]Credential{
				"r.test":    {Username: "alice", Password: "pass word"},
				"docker.io": {IdentityToken: "token"},
			} {
				where, err := s.Store(t.Context(), domain, c)
				if err != nil || where != "docker-credential-keeper" {
					t.Fatalf("%s: %s, %v", domain, where, err)
				}
				got, from, err := s.Lookup(t.Context(), domain, "x")
				if err != nil || got != c || from != "docker-credential-keeper" {
					t.Errorf("%s: %#v from %s, %v", domain, got, from, err)
				}
			}
			if data, err := os.ReadFile(path); err != nil || strings.Contains(string(data), "b2xkOm9sZA") {
				t.Errorf("the copy in the clear stays: %s %v", data, err)
			}
			if _, err := os.Stat(filepath.Join(dir, "kept", "https:__index.docker.io_v1_")); err != nil {
				t.Errorf("Docker looks for Docker Hub under its old name: %v", err)
			}
			if from, err := s.Erase(t.Context(), "r.test"); err != nil || len(from) == 0 || from[0] != "docker-credential-keeper" {
				t.Errorf("%q, %v", from, err)
			}
			if c, _, err := s.Lookup(t.Context(), "r.test", ""); err != nil || !c.Anonymous() {
				t.Errorf("after erasing: %#v, %v", c, err)
			}
		})
	}
	if users, err := helper("keeper").list(t.Context()); err != nil || users["r.test"] != "alice" {
		t.Errorf("%v %v", users, err)
	}
}

// TestHelperHasNone falls back to what is in the file.
func TestHelperHasNone(t *testing.T) {
	install(t, "keeper", keeper)
	s, home := environment(t, nil)
	write(t, filepath.Join(home, ".docker/config.json"), `{"credsStore":"keeper","auths":{"r.test":{"auth":"dTpw"},"empty.test":{}}}`)
	if c, _, err := s.Lookup(t.Context(), "r.test", ""); err != nil || c.Username != "u" {
		t.Errorf("%#v, %v", c, err)
	}
	if c, _, err := s.Lookup(t.Context(), "empty.test", ""); err != nil || !c.Anonymous() {
		t.Errorf("%#v, %v", c, err)
	}
}

// outlives says what a process is that was killed and still there after so long, which dies when its turn comes on a busy machine.
func outlives(pid int, d time.Duration) string {
	for end := time.Now().Add(d); ; time.Sleep(10 * time.Millisecond) {
		stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		fields := strings.Fields(string(stat))
		if len(fields) < 3 || fields[2] == "Z" { // nothing, or waiting for whoever is init here
			return ""
		}
		if time.Now().After(end) {
			return string(stat)
		}
	}
}

func TestBadHelpers(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		kind errdef.Kind
		want string
	}{
		"fails":   {"echo secret; echo secret >&2; exit 3", errdef.Unavailable, "exit status 3"},
		"no JSON": {"echo secret", errdef.Invalid, "no JSON"},
		"endless": {"exec cat /dev/zero", errdef.Invalid, "more than 1048576 bytes"},
		"hangs":   {"sleep 60 & echo $! >$0.child; sleep 60", errdef.Timeout, "no answer"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := install(t, "bad", "#!/bin/sh\n"+c.text+"\n")
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second) // in which a shell on a busy machine has begun
			if c.kind != errdef.Timeout {
				cancel()
				ctx, cancel = context.WithTimeout(t.Context(), 20*time.Second)
			}
			defer cancel()
			start := time.Now()
			_, err := helper("bad").get(ctx, "r.test")
			if !errdef.Is(err, c.kind) || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error()+errdef.Hint(err), "secret") {
				t.Errorf("%v", err)
			}
			if d := time.Since(start); d > 10*time.Second {
				t.Errorf("it took %v", d)
			}
			if text, err := os.ReadFile(filepath.Join(dir, helperPrefix+"bad.child")); err == nil {
				child, _ := strconv.Atoi(strings.TrimSpace(string(text)))
				if stat := outlives(child, 30*time.Second); stat != "" {
					t.Errorf("its child %d lives: %s", child, stat)
				}
			} else if c.kind == errdef.Timeout {
				t.Error(err)
			}
		})
	}
	for _, name := range []string{"", "../evil", "a/b", "a b", "a;b", strings.Repeat("x", 200)} {
		if _, err := helper(name).get(t.Context(), "r.test"); !errdef.Is(err, errdef.Invalid) || !strings.Contains(err.Error(), "no name of a program") {
			t.Errorf("%.20q: %v", name, err)
		}
	}
	_, err := helper("is-not-there").get(t.Context(), "r.test")
	if !errdef.Is(err, errdef.NotFound) || errors.Is(err, errNone) || !strings.Contains(errdef.Hint(err), "credsStore") {
		t.Errorf("%v", err)
	}
}
