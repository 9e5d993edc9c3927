package credential

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/image/strictjson"
)

// maxFile is how many bytes a file of credentials may have.
const maxFile = 4 << 20

// hubKey is the name under which Docker keeps Docker Hub's.
const (
	hubKey    = "https://index.docker.io/v1/"
	hubDomain = "docker.io"
)

// A file is one file of credentials, decoded as far as we know it.
type file struct {
	path    string
	members map[string]json.RawMessage
	auths   map[string]json.RawMessage
	helpers map[string]string // credHelpers
	store   string            // credsStore
	warning string
}

// entry is one of auths.
type entry struct {
	Auth          string `json:"auth"`
	Username      string `json:"username"`
	Password      string `json:"password"`
	IdentityToken string `json:"identitytoken"`
}

// load reads a file; one that is not there is empty, and the error then is of kind NotFound.
func load(path string) (*file, error) {
	f := &file{path: path, members: map[string]json.RawMessage{}, auths: map[string]json.RawMessage{}}
	r, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return f, errdef.WithKind(errdef.NotFound, err)
	}
	if err != nil {
		return nil, errdef.Errorf(kindOfOS(err), "credentials: %w", err)
	}
	defer r.Close()
	info, err := r.Stat()
	if err != nil {
		return nil, errdef.Errorf(errdef.Internal, "credentials: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, errdef.Errorf(errdef.Invalid, "credentials: %s: no regular file", path)
	}
	data, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err != nil {
		return nil, errdef.Errorf(errdef.Internal, "credentials: read %s: %w", path, err)
	}
	if len(strings.TrimSpace(string(data))) == 0 {
		return f, nil // an empty file is what `touch` and mktemp leave
	}
	if err := f.decode(data); err != nil {
		return nil, errdef.WithHint(errdef.Errorf(errdef.Invalid, "credentials: %s: %w", path, err), "the file must be JSON as `docker login` writes it")
	}
	if info.Mode().Perm()&0o077 != 0 && f.secrets() {
		f.warning = fmt.Sprintf("%s has mode %04o, so that others can read the credentials in it: chmod 600 %s", path, info.Mode().Perm(), path)
	}
	return f, nil
}

func (f *file) decode(data []byte) error {
	if err := strictjson.Decode(data, strictjson.Limits{Bytes: maxFile, Depth: 32, Values: 100_000}, &f.members); err != nil {
		return plain(err)
	}
	for key, out := range map[string]any{"auths": &f.auths, "credHelpers": &f.helpers, "credsStore": &f.store} {
		if raw, ok := f.members[key]; ok {
			if err := json.Unmarshal(raw, out); err != nil {
				return fmt.Errorf("%s: not of the form that is known", key)
			}
		}
	}
	if f.auths == nil {
		f.auths = map[string]json.RawMessage{}
	}
	return nil
}

// plain takes errors of encoding/json, which could quote a secret, to a sentence that does not.
func plain(err error) error {
	var wrongType *json.UnmarshalTypeError
	if errors.As(err, &wrongType) {
		return errors.New("no JSON object")
	}
	return err
}

// secrets reports whether something in auths is worth hiding.
func (f *file) secrets() bool {
	for _, raw := range f.auths {
		var e entry
		if json.Unmarshal(raw, &e) != nil || e != (entry{}) {
			return true
		}
	}
	return false
}

// keys are the names under which a repository's credential may stand, the best first.
func keys(domain, path string) []string {
	var out []string
	for name := domain + "/" + path; path != "" && len(name) > len(domain); name = name[:strings.LastIndexByte(name, '/')] {
		out = append(out, name)
	}
	out = append(out, domain)
	if domain == hubDomain {
		out = append(out, hubKey, "index.docker.io", "registry-1.docker.io")
	}
	return out
}

// find returns the key of auths that fits best.
func (f *file) find(domain, path string) (string, bool) {
	for _, key := range keys(domain, path) {
		if _, ok := f.auths[key]; ok {
			return key, true
		}
	}
	for key := range f.auths { // old forms: https://HOST, https://HOST/v1/
		if _, rest, cut := strings.Cut(key, "://"); cut {
			host, _, _ := strings.Cut(rest, "/")
			if host == domain {
				return key, true
			}
		}
	}
	return "", false
}

// read returns the credential of an entry of auths.
func (f *file) read(key string) (Credential, error) {
	var e entry
	if json.Unmarshal(f.auths[key], &e) != nil {
		return Credential{}, errdef.Errorf(errdef.Invalid, "credentials: %s: auths: %q is not of the form that is known", f.path, key)
	}
	c := Credential{Username: e.Username, Password: e.Password, IdentityToken: e.IdentityToken}
	if e.Auth != "" {
		text, err := base64.StdEncoding.DecodeString(e.Auth)
		user, password, cut := strings.Cut(strings.TrimRight(string(text), "\x00"), ":")
		if err != nil || !cut || user == "" {
			return Credential{}, errdef.Errorf(errdef.Invalid, "credentials: %s: auths: %q: `auth` is not the base64 of user:password", f.path, key)
		}
		c.Username, c.Password = user, password
	}
	if c.Username == "<token>" {
		c = Credential{IdentityToken: c.Password}
	}
	if c.Anonymous() {
		return c, errNone
	}
	if err := c.Check(); err != nil && c.IdentityToken == "" {
		return Credential{}, errdef.Errorf(errdef.Invalid, "credentials: %s: auths: %q: %w", f.path, key, err)
	}
	return c, nil
}

// set puts an entry into auths; a nil credential takes it out.
func (f *file) set(key string, c *Credential) error {
	if c == nil {
		delete(f.auths, key)
	} else {
		e := map[string]string{}
		if c.Username != "" {
			e["auth"] = base64.StdEncoding.EncodeToString([]byte(c.Username + ":" + c.Password))
		}
		if c.IdentityToken != "" {
			e["identitytoken"] = c.IdentityToken
		}
		raw, err := json.Marshal(e)
		if err != nil {
			return err
		}
		f.auths[key] = raw
	}
	raw, err := json.Marshal(f.auths)
	if err != nil {
		return err
	}
	f.members["auths"] = raw
	return nil
}

// encode returns the file as Docker writes it, every unknown member as it was.
func (f *file) encode() ([]byte, error) {
	data, err := json.MarshalIndent(f.members, "", "\t")
	if err != nil {
		return nil, err
	}
	return append(data, '\n'), nil
}

// target is the file that a path stands for: config.json is often a symbolic link into a collection of such files, and a write that replaced the link
// would take it out of there.
func target(path string) string {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real
	}
	return path
}

func kindOfOS(err error) errdef.Kind {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return errdef.Denied
	case errors.Is(err, fs.ErrNotExist):
		return errdef.NotFound
	}
	return errdef.Internal
}
