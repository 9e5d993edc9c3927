package credential

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
)

// HelperTimeout is how long a credential helper may take: some ask a person.
const HelperTimeout = 60 * time.Second

const (
	helperPrefix    = "docker-credential-"
	maxHelperOutput = 1 << 20
	notFoundWord    = "credentials not found in native keychain" // docker-credential-helpers, credentials/error.go
	tokenUser       = "<token>"                                  // its user name where the secret is an identity token
)

// A helper is the name of a program without its prefix.
type helper string

// message is what helpers read and write (docker-credential-helpers, credentials/credentials.go).
type message struct {
	ServerURL string
	Username  string
	Secret    string
}

func (h helper) get(ctx context.Context, key string) (Credential, error) {
	out, err := h.run(ctx, "get", []byte(key))
	if err != nil {
		return Credential{}, err
	}
	var m message
	if err := json.Unmarshal(out, &m); err != nil {
		return Credential{}, errdef.Errorf(errdef.Invalid, "credential helper %s%s: get: its answer is no JSON of the form that is known", helperPrefix, h)
	}
	c := Credential{Username: m.Username, Password: m.Secret}
	if m.Username == tokenUser {
		c = Credential{IdentityToken: m.Secret}
	}
	if c.Anonymous() || m.Secret == "" {
		return Credential{}, errNone
	}
	return c, nil
}

func (h helper) store(ctx context.Context, key string, c Credential) error {
	m := message{ServerURL: key, Username: c.Username, Secret: c.Password}
	if c.IdentityToken != "" {
		m.Username, m.Secret = tokenUser, c.IdentityToken
	}
	in, err := json.Marshal(m)
	if err != nil {
		return err
	}
	_, err = h.run(ctx, "store", in)
	return err
}

func (h helper) erase(ctx context.Context, key string) error {
	_, err := h.run(ctx, "erase", []byte(key))
	return err
}

// list returns the user names by server.
func (h helper) list(ctx context.Context) (map[string]string, error) {
	out, err := h.run(ctx, "list", nil)
	if err != nil {
		return nil, err
	}
	var users map[string]string
	if err := json.Unmarshal(out, &users); err != nil {
		return nil, errdef.Errorf(errdef.Invalid, "credential helper %s%s: list: its answer is no JSON of the form that is known", helperPrefix, h)
	}
	return users, nil
}

// run starts the program once. errNone is its word for "there is none".
func (h helper) run(ctx context.Context, verb string, in []byte) ([]byte, error) {
	name := helperPrefix + string(h)
	if !plainName(string(h)) {
		return nil, errdef.Errorf(errdef.Invalid, "credential helper %q: no name of a program", string(h))
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return nil, errdef.WithHint(errdef.Errorf(errdef.NotFound, "credential helper %s: it is not in PATH", name),
			"install it, or take it out of `credsStore` and `credHelpers` in the file of credentials")
	}
	ctx, cancel := context.WithTimeout(ctx, HelperTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, verb)
	cmd.Stdin = bytes.NewReader(in)
	out := &bounded{most: maxHelperOutput, full: cancel}
	cmd.Stdout = out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	err = runLocked(cmd)
	switch {
	case out.over:
		return nil, errdef.Errorf(errdef.Invalid, "credential helper %s: %s: more than %d bytes of output", name, verb, maxHelperOutput)
	case ctx.Err() != nil:
		return nil, errdef.Errorf(errdef.Timeout, "credential helper %s: %s: no answer: %w", name, verb, ctx.Err())
	case err == nil:
		return out.data.Bytes(), nil
	case strings.TrimSpace(out.data.String()) == notFoundWord:
		return nil, errNone
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return nil, errdef.WithHint(errdef.Errorf(errdef.Unavailable, "credential helper %s: %s: %s", name, verb, exit.ProcessState), "run it by hand to see what it says: "+name+" list")
	}
	return nil, errdef.Errorf(errdef.Unavailable, "credential helper %s: %s: %w", name, verb, err)
}

// plainName wants a name that cannot lead out of PATH.
func plainName(s string) bool {
	if s == "" || len(s) > 128 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.') {
			return false
		}
	}
	return true
}

// bounded keeps what is written up to a size and stops the writer there.
type bounded struct {
	data bytes.Buffer
	most int
	over bool
	full func()
}

// Write is io.Writer's.
func (b *bounded) Write(p []byte) (int, error) {
	if b.data.Len()+len(p) > b.most {
		b.over = true
		b.full()
		return 0, io.ErrShortWrite
	}
	return b.data.Write(p)
}

// runLocked runs the command from a thread that lives until it has ended: Pdeathsig follows the thread that forked, not the process (prctl(2),
// PR_SET_PDEATHSIG).
func runLocked(cmd *exec.Cmd) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	return cmd.Run()
}
