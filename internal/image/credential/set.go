package credential

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/atomicfile"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
)

// lockTimeout bounds the wait for somebody else who writes the same file.
const lockTimeout = 30 * time.Second

// Options say where credentials are.
type Options struct {
	// AuthFile is what --authfile names; "" means the list in the package comment.
	AuthFile string
	// Getenv is os.Getenv if nil.
	Getenv func(string) string
}

// A Set is the places that are looked at. It reads the files anew for every question, so it may be kept. It may be used from many goroutines.
type Set struct {
	paths []string
	only  bool // the first path was named by the user
}

// Open finds out where to look. No file has to exist, but one that the user named must, to be read.
func Open(o Options) (*Set, error) {
	getenv := o.Getenv
	if getenv == nil {
		getenv = os.Getenv
	}
	for _, named := range []string{o.AuthFile, getenv("REGISTRY_AUTH_FILE")} {
		if named != "" {
			path, err := filepath.Abs(named)
			if err != nil {
				return nil, errdef.Errorf(errdef.Internal, "credentials: %w", err)
			}
			return &Set{paths: []string{path}, only: true}, nil
		}
	}
	home, runtimeDir, config := getenv("HOME"), getenv("XDG_RUNTIME_DIR"), getenv("XDG_CONFIG_HOME")
	s := &Set{}
	switch docker := getenv("DOCKER_CONFIG"); {
	case docker != "":
		s.paths = append(s.paths, filepath.Join(docker, "config.json"))
	case home != "":
		s.paths = append(s.paths, filepath.Join(home, ".docker", "config.json"))
	}
	if runtimeDir == "" {
		runtimeDir = filepath.Join("/run/containers", strconv.Itoa(os.Getuid()))
		s.paths = append(s.paths, filepath.Join(runtimeDir, "auth.json"))
	} else {
		s.paths = append(s.paths, filepath.Join(runtimeDir, "containers", "auth.json"))
	}
	switch {
	case config != "":
		s.paths = append(s.paths, filepath.Join(config, "containers", "auth.json"))
	case home != "":
		s.paths = append(s.paths, filepath.Join(home, ".config", "containers", "auth.json"))
	}
	return s, nil
}

// Paths returns the files that are looked at, in their order.
func (s *Set) Paths() []string { return append([]string(nil), s.paths...) }

// Lookup returns the credential of a repository in a registry (domain as package reference has it), and the file or program that gave it. Where there is none it is the zero
// Credential and no error; a file or a helper that cannot be read is one.
func (s *Set) Lookup(ctx context.Context, domain, path string) (Credential, string, error) {
	for _, name := range s.paths {
		f, err := load(name)
		if errdef.Is(err, errdef.NotFound) {
			if s.only {
				return Credential{}, "", errdef.WithHint(errdef.Errorf(errdef.NotFound, "credentials: %w", err), "--authfile and REGISTRY_AUTH_FILE must name a file that is there")
			}
			continue
		}
		if err != nil {
			return Credential{}, "", err
		}
		c, from, err := f.lookup(ctx, domain, path)
		if !errors.Is(err, errNone) {
			return c, from, err
		}
	}
	return Credential{}, "", nil
}

func (f *file) lookup(ctx context.Context, domain, path string) (Credential, string, error) {
	if h, key := f.helperOf(domain); h != "" {
		c, err := h.get(ctx, key)
		if !errors.Is(err, errNone) {
			return c, helperPrefix + string(h), err
		}
	}
	key, ok := f.find(domain, path)
	if !ok {
		return Credential{}, "", errNone
	}
	c, err := f.read(key)
	return c, f.path, err
}

// helperOf returns the program that keeps the registry's credential, and the name that it has there.
func (f *file) helperOf(domain string) (helper, string) {
	for _, key := range keys(domain, "") {
		if name := f.helpers[key]; name != "" {
			return helper(name), serverKey(domain)
		}
	}
	if f.store != "" {
		return helper(f.store), serverKey(domain)
	}
	return "", ""
}

// serverKey is the key of a registry where Docker will look for it.
func serverKey(domain string) string {
	if domain == hubDomain {
		return hubKey
	}
	return domain
}

// Warnings tells of files that others can read. It is for people.
func (s *Set) Warnings() []string {
	var out []string
	for _, name := range s.paths {
		if f, err := load(name); err == nil && f.warning != "" {
			out = append(out, f.warning)
		}
	}
	return out
}

// Logins returns the keys of the credentials that are stored, with the user names that are known, for people.
func (s *Set) Logins(ctx context.Context) (map[string]string, error) {
	out := map[string]string{}
	for i := len(s.paths) - 1; i >= 0; i-- {
		f, err := load(s.paths[i])
		if errdef.Is(err, errdef.NotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		for key := range f.auths {
			if c, err := f.read(key); err == nil {
				out[key] = c.Username
			}
		}
		if f.store != "" {
			users, err := helper(f.store).list(ctx)
			if err != nil {
				return nil, err
			}
			for key, user := range users {
				out[key] = user
			}
		}
	}
	return out, nil
}

// Store keeps the credential of a registry and returns where: a file or a program. The caller has tried it against the registry.
func (s *Set) Store(ctx context.Context, domain string, c Credential) (string, error) {
	if err := c.Check(); err != nil {
		return "", err
	}
	if strings.ContainsAny(domain, " \t\r\n\x00") || domain == "" {
		return "", errdef.Errorf(errdef.Invalid, "credentials: %q is no name of a registry", domain)
	}
	if len(s.paths) == 0 {
		return "", errdef.WithHint(errdef.Errorf(errdef.NotFound, "credentials: no place to keep them: HOME is not set"), "name a file: --authfile")
	}
	where := s.paths[0]
	err := s.change(ctx, s.paths[0], func(f *file) (bool, error) {
		if h, key := f.helperOf(domain); h != "" {
			where = helperPrefix + string(h)
			if err := h.store(ctx, key, c); err != nil {
				return false, err
			}
			_, had := f.auths[key] // an older copy in the clear goes
			return had, f.set(key, nil)
		}
		return true, f.set(serverKey(domain), &c)
	})
	return where, err
}

// Erase forgets the credential of a registry everywhere it is looked for, and returns where it was. Of kind NotFound when there was none.
func (s *Set) Erase(ctx context.Context, domain string) ([]string, error) {
	var from []string
	for _, name := range s.paths {
		if _, err := os.Stat(name); err != nil {
			continue
		}
		err := s.change(ctx, name, func(f *file) (bool, error) {
			if h, key := f.helperOf(domain); h != "" {
				if _, err := h.get(ctx, key); err == nil {
					if err := h.erase(ctx, key); err != nil {
						return false, err
					}
					from = append(from, helperPrefix+string(h))
				}
			}
			changed := false
			for key, ok := f.find(domain, ""); ok; key, ok = f.find(domain, "") {
				changed = true
				if err := f.set(key, nil); err != nil {
					return false, err
				}
			}
			if changed {
				from = append(from, name)
			}
			return changed, nil
		})
		if err != nil {
			return from, err
		}
	}
	if len(from) == 0 {
		return nil, errdef.Errorf(errdef.NotFound, "credentials: not logged in to %s", domain)
	}
	return from, nil
}

// change reads a file, lets edit change it, and writes it if edit says so, under a lock on its directory.
func (s *Set) change(ctx context.Context, path string, edit func(*file) (bool, error)) error {
	path = target(path)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return errdef.Errorf(kindOfOS(err), "credentials: %w", err)
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return errdef.Errorf(kindOfOS(err), "credentials: %w", err)
	}
	defer dir.Close()
	ctx, cancel := context.WithTimeoutCause(ctx, lockTimeout, fmt.Errorf("%s is being changed by somebody else for %v", path, lockTimeout))
	defer cancel()
	if err := atomicfile.Flock(ctx, int(dir.Fd()), atomicfile.Exclusive); err != nil {
		return errdef.Errorf(errdef.KindOf(err), "credentials: %w", err)
	}
	f, err := load(path)
	if err != nil && !errdef.Is(err, errdef.NotFound) {
		return err
	}
	write, err := edit(f)
	if err != nil || !write {
		return err
	}
	data, err := f.encode()
	if err != nil {
		return errdef.Errorf(errdef.Internal, "credentials: %s: %w", path, err)
	}
	if err := atomicfile.WriteAt(int(dir.Fd()), filepath.Base(path), data, atomicfile.Options{}); err != nil {
		return errdef.Errorf(errdef.KindOf(err), "credentials: %w", err)
	}
	return nil
}
