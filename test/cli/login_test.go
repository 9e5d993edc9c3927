package cli

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// What alice has, and the line of htpasswd for it (bcrypt, as distribution wants it).
const (
	alice = "alice:$2y$05$abcdefghijklmnopqrstuuHNbAKRhpaujgo33bRWs.NLUTJO3lOy2\n"
	horse = "correct horse"
)

// guarded starts a registry that wants to know who asks.
func guarded(t *testing.T) string {
	t.Helper()
	users := filepath.Join(t.TempDir(), "htpasswd")
	if err := os.WriteFile(users, []byte(alice), 0o600); err != nil {
		t.Fatal(err)
	}
	return registry(t, "auth:\n  htpasswd:\n    realm: of-this-test\n    path: "+users+"\n")
}

func TestCLILogin(t *testing.T) {
	host := guarded(t)
	e := newEngine(t)
	name := host + "/box:1"
	imported(e, name, 1)
	e.fails(1, []string{"push", "--insecure", host, name}, host, "hint: ")

	e.said(e.feed([]byte("wrong"), "login", "--insecure", host, "-u", "alice", "--password-stdin", host), 1, "login with a wrong password", host)
	e.said(e.feed([]byte(horse), "login", "--insecure", host, "--password-stdin", host), 1, "login without a name", "--password-stdin goes with a user", "hint: --username NAME")
	e.said(e.feed(nil, "login", "-u", "alice", host), 1, "login without a terminal", "no terminal that could be asked", "hint: --username NAME --password-stdin")
	e.said(e.feed([]byte(horse), "login", "-u", "alice", "--password-stdin", host), 1, "login in the clear", host, "hint: ")
	for _, args := range [][]string{{"-p", horse}, {"--password", horse}, {"--password=" + horse}, {"-p" + horse}} {
		r := e.fails(125, append([]string{"login", "-u", "alice", host}, args...), "a password is never an argument", "hint: type it when asked")
		if strings.Contains(r.err, "horse") {
			t.Errorf("%v: the password is shown: %s", args, r.err)
		}
	}
	r := e.fails(125, []string{"pull", "--creds", "alice:" + horse, name}, "a password is never an argument")
	if strings.Contains(r.err, "horse") {
		t.Errorf("the password is shown: %s", r.err)
	}

	r = e.feed([]byte(horse+"\n"), "login", "--insecure", host, "-u", "alice", "--password-stdin", host)
	where := filepath.Join(e.home, ".docker/config.json")
	if r.code != 0 || r.out != "The password for "+host+" is kept in "+where+"\nLogin Succeeded\n" {
		t.Errorf("%+v", r)
	}
	if data, err := os.ReadFile(where); err != nil || !strings.Contains(string(data), base64.StdEncoding.EncodeToString([]byte("alice:"+horse))) {
		t.Errorf("%s %v", data, err)
	}
	if st, err := os.Stat(where); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", st, err)
	}
	if got := e.ok("login", "--get-login", host); got != "alice\n" {
		t.Errorf("%q", got)
	}
	e.ok("push", "-q", "--insecure", host, name)
	if got := e.ok("logout", host); got != "Removing login credentials for "+host+" from "+where+"\n" {
		t.Errorf("%q", got)
	}
	e.fails(1, []string{"pull", "--insecure", host, name}, host)
	e.fails(0, []string{"logout", host}, host) // as with Docker
	e.fails(1, []string{"login", "--get-login", host}, "nobody is logged in")

	file := filepath.Join(e.home, "auth.json")
	if r := e.feed([]byte(horse), "login", "--insecure", host, "-u", "alice", "--password-stdin", "--authfile", file, host); r.code != 0 {
		t.Errorf("%+v", r)
	}
	e.ok("pull", "-q", "--insecure", host, "--authfile", file, name)
	e.ok("pull", "-q", "--insecure", host, "--authfile", "auth.json", name) // from here
	config := t.TempDir()
	if r := e.feed([]byte(horse), "--config", config, "login", "--insecure", host, "-u", "alice", "--password-stdin", host); r.code != 0 || !strings.Contains(r.out, config) {
		t.Errorf("%+v", r)
	}
	e.ok("--config", config, "pull", "-q", "--insecure", host, name)
	e.ok("logout", "--all", "--authfile", file)
	e.fails(1, []string{"pull", "--insecure", host, "--authfile", file, name}, host)
	e.fails(1, []string{"login", "https://" + host + "/v2/"}, "")
}

// TestCLILoginTerminal types name and password, which the terminal does not show, and interrupts.
func TestCLILoginTerminal(t *testing.T) {
	host := guarded(t)
	e := newEngine(t)
	p := e.terminal("login", "--insecure", host, host)
	p.Wait("Username: ")
	p.Write("alice\n")
	p.Wait("Password: ")
	p.Write(horse + "\n")
	if code := p.End(); code != 0 || !strings.Contains(p.Text(), "Login Succeeded") || strings.Contains(p.Text(), "horse") {
		t.Errorf("exit %d: %q", code, p.Text())
	}

	p = e.terminal("login", "--insecure", host, "-u", "alice", host)
	p.Wait("Password: ")
	p.WaitSilent()
	began := time.Now()
	p.Write("secr\x03") // ^C
	if code := p.End(); code != 130 || time.Since(began) > 2*time.Second {
		t.Errorf("exit %d after %v: %q", code, time.Since(began), p.Text())
	}
	if !p.Cooked {
		t.Error("the terminal does not show what is typed afterwards")
	}
}
