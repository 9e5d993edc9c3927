package credential

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
)

// environment opens a set in a home of its own.
func environment(t *testing.T, more map[string]string) (*Set, string) {
	t.Helper()
	home := t.TempDir()
	env := map[string]string{"HOME": home, "XDG_RUNTIME_DIR": filepath.Join(home, "run")}
	for k, v := range more {
		env[k] = strings.ReplaceAll(v, "$HOME", home)
	}
	s, err := Open(Options{Getenv: func(k string) string { return env[k] }})
	if err != nil {
		t.Fatal(err)
	}
	return s, home
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestPrecedence(t *testing.T) {
	entry := func(user string) string {
		return `{"auths":{"r.test":{"username":"` + user + `","password":"p"}}}`
	}
	places := []string{".docker/config.json", "run/containers/auth.json", ".config/containers/auth.json"}
	for first := range places {
		s, home := environment(t, nil)
		for _, p := range places[first:] {
			write(t, filepath.Join(home, p), entry(filepath.Dir(p)))
		}
		c, from, err := s.Lookup(t.Context(), "r.test", "a/b")
		if err != nil || c.Username != filepath.Dir(places[first]) || from != filepath.Join(home, places[first]) {
			t.Errorf("from %d: %q from %s, %v", first, c.Username, from, err)
		}
	}
	s, home := environment(t, map[string]string{"REGISTRY_AUTH_FILE": "$HOME/other.json"})
	write(t, filepath.Join(home, places[0]), entry("docker"))
	if _, _, err := s.Lookup(t.Context(), "r.test", ""); !errdef.Is(err, errdef.NotFound) {
		t.Errorf("a file that was named and is not there: %v", err)
	}
	write(t, filepath.Join(home, "other.json"), entry("other"))
	if c, _, err := s.Lookup(t.Context(), "r.test", ""); err != nil || c.Username != "other" {
		t.Errorf("REGISTRY_AUTH_FILE: %q, %v", c.Username, err)
	}
	s, home = environment(t, map[string]string{"DOCKER_CONFIG": "$HOME/d"})
	write(t, filepath.Join(home, places[0]), entry("docker"))
	write(t, filepath.Join(home, "d", "config.json"), entry("d"))
	if c, _, err := s.Lookup(t.Context(), "r.test", ""); err != nil || c.Username != "d" {
		t.Errorf("DOCKER_CONFIG: %q, %v", c.Username, err)
	}
}

func TestKeys(t *testing.T) {
	s, home := environment(t, nil)
	auths := []string{}
	for _, key := range []string{"r.test", "r.test/a", "r.test/a/b", "https://index.docker.io/v1/", "https://old.test/v1/", "h.test:5000"} {
		auths = append(auths, fmt.Sprintf("%q:{\"username\":%q,\"password\":\"p\"}", key, strings.ReplaceAll(strings.TrimPrefix(key, "https://"), ":", "_")))
	}
	write(t, filepath.Join(home, ".docker/config.json"), `{"auths":{`+strings.Join(auths, ",")+`}}`)
	for _, c := range []struct{ domain, path, user string }{
		{"r.test", "a/b", "r.test/a/b"},
		{"r.test", "a/b/c", "r.test/a/b"},
		{"r.test", "a/bc", "r.test/a"},
		{"r.test", "ab", "r.test"},
		{"r.test", "", "r.test"},
		{"docker.io", "library/alpine", "index.docker.io/v1/"},
		{"old.test", "x", "old.test/v1/"},
		{"h.test:5000", "x", "h.test_5000"},
		{"h.test", "x", ""},
		{"test", "x", ""},
		{"other.test", "r.test/a", ""},
	} {
		got, _, err := s.Lookup(t.Context(), c.domain, c.path)
		if err != nil || got.Username != c.user {
			t.Errorf("%s/%s: %q, want %q, %v", c.domain, c.path, got.Username, c.user, err)
		}
	}
}

func TestStoreKeepsWhatItDoesNotKnow(t *testing.T) {
	s, home := environment(t, nil)
	path := filepath.Join(home, ".docker/config.json")
	write(t, path, `{"psFormat":"x","HttpHeaders":{"A":"b"},"auths":{"other.test":{"auth":"dTpw","email":"me@x"}},"proxies":{"default":{"httpProxy":"http://p"}}}`)
	where, err := s.Store(t.Context(), "r.test", Credential{Username: "u", Password: "p:w"})
	if err != nil || where != path {
		t.Fatalf("%s, %v", where, err)
	}
	if _, err := s.Store(t.Context(), "docker.io", Credential{IdentityToken: "tok"}); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	want := `{"HttpHeaders":{"A":"b"},"auths":{"https://index.docker.io/v1/":{"identitytoken":"tok"},"other.test":{"auth":"dTpw","email":"me@x"},"r.test":{"auth":"dTpwOnc="}},"proxies":{"default":{"httpProxy":"http://p"}},"psFormat":"x"}`
	if again, _ := json.Marshal(got); string(again) != want {
		t.Errorf("got  %s\nwant %s", again, want)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	c, _, err := s.Lookup(t.Context(), "r.test", "a")
	if err != nil || c != (Credential{Username: "u", Password: "p:w"}) {
		t.Errorf("%#v %v", c, err)
	}
	if c, _, err := s.Lookup(t.Context(), "docker.io", "library/x"); err != nil || c.IdentityToken != "tok" {
		t.Errorf("%#v %v", c, err)
	}
	if from, err := s.Erase(t.Context(), "docker.io"); err != nil || len(from) != 1 || from[0] != path {
		t.Errorf("%v %v", from, err)
	}
	if c, _, err := s.Lookup(t.Context(), "docker.io", "library/x"); err != nil || !c.Anonymous() {
		t.Errorf("after erasing: %#v %v", c, err)
	}
	if _, err := s.Erase(t.Context(), "docker.io"); !errdef.Is(err, errdef.NotFound) {
		t.Errorf("a second time: %v", err)
	}
}

func TestSymbolicLinkStays(t *testing.T) {
	s, home := environment(t, nil)
	real := filepath.Join(home, "dotfiles", "docker.json")
	write(t, real, `{}`)
	path := filepath.Join(home, ".docker", "config.json")
	if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(real, path); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Store(t.Context(), "r.test", Credential{Username: "u", Password: "p"}); err != nil {
		t.Fatal(err)
	}
	if to, err := os.Readlink(path); err != nil || to != real {
		t.Errorf("the link is gone: %q %v", to, err)
	}
	if data, _ := os.ReadFile(real); !strings.Contains(string(data), "r.test") {
		t.Errorf("%s", data)
	}
}

func TestManyWriters(t *testing.T) {
	s, _ := environment(t, nil)
	done := make(chan error)
	const n = 20
	for i := range n {
		go func() {
			_, err := s.Store(context.Background(), fmt.Sprintf("r%d.test", i), Credential{Username: "u", Password: "p"})
			done <- err
		}()
	}
	for range n {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if logins, err := s.Logins(t.Context()); err != nil || len(logins) != n {
		t.Errorf("%d of %d: %v", len(logins), n, err)
	}
}

func TestWarnings(t *testing.T) {
	s, home := environment(t, nil)
	path := filepath.Join(home, ".docker/config.json")
	write(t, path, `{"auths":{"r.test":{}},"credsStore":"x"}`)
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if w := s.Warnings(); len(w) != 0 {
		t.Errorf("there is no secret in it: %q", w)
	}
	write(t, path, `{"auths":{"r.test":{"auth":"dTpw"}}}`)
	if w := s.Warnings(); len(w) != 1 || !strings.Contains(w[0], "0644") || !strings.Contains(w[0], "chmod 600") {
		t.Errorf("%q", w)
	}
}

func TestNoSecretIsPrinted(t *testing.T) {
	c := Credential{Username: "alice", Password: "hunter2", IdentityToken: "idtoken"}
	encoded, err := json.Marshal(map[string]any{"c": c, "p": &c, "l": []Credential{c}})
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		fmt.Sprint(c), fmt.Sprintf("%v %+v %#v %s %q", c, c, c, c, c), fmt.Sprintf("%v %+v %#v", &c, []Credential{c}, struct{ C Credential }{c}), string(encoded),
	} {
		if strings.Contains(text, "hunter2") || strings.Contains(text, "idtoken") {
			t.Errorf("%s", text)
		}
	}
}

func TestRead(t *testing.T) {
	for _, c := range []struct{ in, user, want, err string }{
		{"secret\n", "u", "secret", ""},
		{"secret\r\n", "u", "secret", ""},
		{"secret", "u", "secret", ""},
		{" sec ret ", "u", " sec ret ", ""},
		{"", "u", "", "empty"},
		{"\n", "u", "", "empty"},
		{"a\nb", "u", "", "more than one line"},
		{"p", "", "", "user name is empty"},
		{"p", "a:b", "", "colon"},
		{"p", "a\x1b[2Jb", "", "control"},
		{strings.Repeat("x", MaxSecret+2), "u", "", "more than"},
	} {
		got, err := Read(strings.NewReader(c.in), c.user)
		if c.err == "" && (err != nil || got.Password != c.want) || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
			t.Errorf("%.20q: %q, %v", c.in, got.Password, err)
		}
	}
}

func TestBadFiles(t *testing.T) {
	secret := "c2VjcmV0OnNlY3JldA" // must not be in an error
	for name, text := range map[string]string{
		"no JSON":      `{"auths"`,
		"a list":       `["` + secret + `"]`,
		"a string":     `"` + secret + `"`,
		"twice":        `{"auths":{"r.test":{"auth":"` + secret + `"},"r.test":{}}}`,
		"auths a list": `{"auths":["` + secret + `"]}`,
		"entry a list": `{"auths":{"r.test":["` + secret + `"]}}`,
		"no base64":    `{"auths":{"r.test":{"auth":"` + secret + `"}}}`,
		"no colon":     `{"auths":{"r.test":{"auth":"c2VjcmV0"}}}`,
		"two lines":    `{"auths":{"r.test":{"username":"u","password":"` + secret + `\r\nX-Evil: 1"}}}`,
		"helpers":      `{"credHelpers":["` + secret + `"]}`,
		"large":        `{"x":"` + strings.Repeat("x", maxFile) + `"}`,
	} {
		s, home := environment(t, nil)
		write(t, filepath.Join(home, ".docker/config.json"), text)
		_, _, err := s.Lookup(t.Context(), "r.test", "")
		if err == nil || strings.Contains(err.Error(), secret) || !errdef.Is(err, errdef.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
