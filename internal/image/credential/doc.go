// Package credential keeps what registries are logged in to with, in the files and programs that Docker and Podman keep it in.
//
//	set, err := credential.Open(credential.Options{AuthFile: flag})     // --authfile; "" looks where Docker and Podman look
//	c, source, err := set.Lookup(ctx, "quay.io", "team/app")            // the zero Credential: anonymous
//	c, err = credential.Read(os.Stdin, "alice")                         // a password comes from a reader, never from an argument
//	where, err := set.Store(ctx, "quay.io", c)
//	where, err = set.Erase(ctx, "quay.io")
//
// Where it looks, the first that has something wins:
//
//  1. Options.AuthFile, and nothing else then
//  2. REGISTRY_AUTH_FILE, and nothing else then
//  3. config.json in DOCKER_CONFIG, else in ~/.docker
//  4. ${XDG_RUNTIME_DIR}/containers/auth.json; without XDG_RUNTIME_DIR /run/containers/UID/auth.json
//  5. containers/auth.json in XDG_CONFIG_HOME, else in ~/.config
//
// In a file `credHelpers` comes before `credsStore`, and both before `auths`. A key of auths is a registry, or, as Podman has it, a registry with a
// part of the repository: the longest that fits wins. Docker Hub is docker.io, and https://index.docker.io/v1/ where Docker left that.
// Store writes to the first of the list (1, 2 or 3).
//
// A credential helper is the program docker-credential-NAME in PATH. It has HelperTimeout to answer, may say maxHelperOutput
// bytes, and is killed with its children. That is why docker-credential-helpers' own client is not used: it waits for ever and reads all that comes.
//
// Files are written whole or not at all, with mode 0600, under a lock; members that this package does not know stay. Files that others can read
// are used, and Warnings tells of them.
//
// Security: a Credential prints and encodes as a placeholder, whatever the verb. Errors never have a secret in them; of what a helper says only its word for
// "there is none" is looked at.
package credential

import (
	"bytes"
	"errors"
	"io"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
)

// Credential is what a registry is logged in to with. The zero value is anonymous.
type Credential struct {
	Username      string
	Password      string
	IdentityToken string // an OAuth 2.0 refresh token, in place of the password
}

// MaxSecret is how many bytes a password or token may have.
const MaxSecret = 64 << 10

// Anonymous reports whether there is nothing in it.
func (c Credential) Anonymous() bool { return c == Credential{} }

// String returns a placeholder.
func (c Credential) String() string {
	if c.Anonymous() {
		return "anonymous"
	}
	return "[credential]"
}

// GoString returns a placeholder.
func (c Credential) GoString() string { return c.String() }

// MarshalText returns a placeholder, so that no encoder gets at the secret.
func (c Credential) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// Read takes a password from a reader: all of it but one end of line, as `docker login --password-stdin` does.
func Read(r io.Reader, username string) (Credential, error) {
	data, err := io.ReadAll(io.LimitReader(r, MaxSecret+1))
	if err != nil {
		return Credential{}, errdef.Errorf(errdef.KindOf(err), "read the password: %w", err)
	}
	if len(data) > MaxSecret {
		return Credential{}, errdef.Errorf(errdef.Invalid, "the password has more than %d bytes", MaxSecret)
	}
	data = bytes.TrimSuffix(bytes.TrimSuffix(data, []byte("\n")), []byte("\r"))
	c := Credential{Username: username, Password: string(data)}
	return c, c.Check()
}

// Check wants what fits the forms that a credential has to go through: user:password in auths, a header of HTTP.
func (c Credential) Check() error {
	if c.Username == "" && c.IdentityToken == "" {
		return errdef.Errorf(errdef.Invalid, "the user name is empty")
	}
	if c.Password == "" && c.IdentityToken == "" {
		return errdef.Errorf(errdef.Invalid, "the password is empty")
	}
	for _, r := range []byte(c.Username) {
		if r == ':' || r < ' ' || r == 0x7f {
			return errdef.Errorf(errdef.Invalid, "user name %q: no colon and no control character may be in it", c.Username)
		}
	}
	for _, s := range []string{c.Password, c.IdentityToken} {
		if bytes.ContainsAny([]byte(s), "\x00\r\n") {
			return errdef.WithHint(errdef.Errorf(errdef.Invalid, "the password has more than one line"), "give the password alone: `printf %s \"$PASSWORD\" | ...`")
		}
	}
	return nil
}

// errNone is "nothing is stored for it", as opposed to "it cannot be read".
var errNone = errors.New("no credential")
