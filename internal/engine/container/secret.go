package container

import (
	"errors"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/engine/assemble"
	"github.com/bulkhead-engine/bulkhead/internal/engine/option"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/linux/idmap"
	"github.com/moby/moby/api/types/mount"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Secrets are kept below the run directory, which must be a file system in memory: in secrets/ID, which is closed to all but root, the directory files is what the container
// sees as /run/secrets, others has those with another path, and env the variables. The record of a container has their names, not their content, and neither has anything that inspect, commit or
// export show. They last until the container is removed, or the machine starts anew.

// secretDir is where secrets are unless they have a path of their own.
const secretDir = "/run/secrets"

// Bounds of secrets.
const (
	maxSecret  = 512_000 // bytes, Podman's
	maxSecrets = 256
)

// memoryFS are the file systems that have no disk.
var memoryFS = []int64{unix.TMPFS_MAGIC, unix.RAMFS_MAGIC}

func (s *Service) secretsOf(id string) string { return filepath.Join(s.o.Run, "secrets", id) }

// checkSecrets reads what is asked for. The result has no data, and a path or a variable's name in Target.
func checkSecrets(list []option.Secret) ([]option.Secret, error) {
	if len(list) > maxSecrets {
		return nil, errdef.Errorf(errdef.Invalid, "secret: %d are more than %d", len(list), maxSecrets)
	}
	taken := map[string]bool{}
	var out []option.Secret
	for _, q := range list {
		if err := checkSecret(&q); err != nil {
			return nil, errdef.Errorf(errdef.KindOf(err), "secret %.64q: %w", q.Name, err)
		}
		if taken[q.Target] {
			return nil, errdef.Errorf(errdef.Invalid, "secret %.64q: there is one at %s already", q.Name, q.Target)
		}
		taken[q.Target] = true
		q.Data = nil
		out = append(out, q)
	}
	return out, nil
}

func checkSecret(q *option.Secret) error {
	switch {
	case q.Name == "" || len(q.Name) > 255 || q.Name == "." || q.Name == ".." || strings.ContainsAny(q.Name, "/\x00"):
		return errdef.Errorf(errdef.Invalid, "wants a name without a slash")
	case len(q.Data) > maxSecret:
		return errdef.Errorf(errdef.Invalid, "%d bytes are more than %d", len(q.Data), maxSecret)
	}
	if q.Env {
		if q.Target == "" {
			q.Target = q.Name
		}
		switch {
		case q.UID != 0 || q.GID != 0 || q.Mode != 0:
			return errdef.Errorf(errdef.Invalid, "a variable has no owner and no mode")
		case strings.ContainsAny(q.Target, "=\x00/"):
			return errdef.Errorf(errdef.Invalid, "%.64q is no name of a variable", q.Target)
		case strings.Contains(string(q.Data), "\x00"):
			return errdef.Errorf(errdef.Invalid, "a variable cannot have a NUL in it; make it a file")
		}
		return nil
	}
	if q.Mode == 0 {
		q.Mode = 0o400
	}
	if q.Target == "" {
		q.Target = q.Name
	}
	if !strings.HasPrefix(q.Target, "/") {
		q.Target = secretDir + "/" + q.Target
	}
	switch q.Target = path.Clean(q.Target); {
	case q.Mode&^0o777 != 0:
		return errdef.Errorf(errdef.Invalid, "mode %o: wants permissions only", q.Mode)
	case q.UID < 0 || q.GID < 0 || q.UID > 1<<32-2 || q.GID > 1<<32-2:
		return errdef.Errorf(errdef.Invalid, "owner %d:%d: there is none", q.UID, q.GID)
	case q.Target == "/" || q.Target == secretDir || strings.Contains(q.Target, "\x00"):
		return errdef.Errorf(errdef.Invalid, "target %.128q: wants a file", q.Target)
	}
	return nil
}

// writeSecrets keeps the secrets of a container that is being made.
func (s *Service) writeSecrets(r *Record, list []option.Secret) error {
	if len(list) == 0 {
		return nil
	}
	if err := s.checkPlaces(r); err != nil {
		return err
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(s.o.Run, &fs); err != nil || fs.Type != memoryFS[0] && fs.Type != memoryFS[1] {
		err := errdef.Errorf(errdef.Unsupported, "secret: the run directory %s is on a disk, where a secret would stay", s.o.Run)
		return errdef.WithHint(err, "choose a --runroot on a tmpfs, as /run or /dev/shm")
	}
	m := ids(r)
	for i := range list {
		ref := &r.Secrets[i]
		if err := s.writeSecret(r.ID, ref, list[i].Data, m); err != nil {
			return errdef.Errorf(errdef.KindOf(err), "secret %.64q: %w", ref.Name, err)
		}
	}
	return nil
}

// place is where a secret is kept.
func (s *Service) place(id string, q *option.Secret) string {
	dir := s.secretsOf(id)
	switch rest, shown := strings.CutPrefix(q.Target, secretDir+"/"); {
	case q.Env:
		return filepath.Join(dir, "env", q.Target)
	case shown:
		return filepath.Join(dir, "files", rest)
	}
	return filepath.Join(dir, "others", strings.ReplaceAll(strings.ReplaceAll(q.Target[1:], "%", "%25"), "/", "%2f"))
}

func (s *Service) writeSecret(id string, q *option.Secret, data []byte, m idmap.Mapping) error {
	file := s.place(id, q)
	if err := os.MkdirAll(s.secretsOf(id), 0o700); err != nil {
		return errdef.Errorf(errdef.Unavailable, "%w", err)
	}
	err := os.MkdirAll(filepath.Dir(file), 0o755) // the container's user looks through; the host's users do not get here
	if errors.Is(err, unix.ENOTDIR) {
		return errdef.Errorf(errdef.Invalid, "target %.128q: another one is in the way", q.Target)
	}
	if err != nil {
		return errdef.Errorf(errdef.Unavailable, "%w", err)
	}
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return errdef.Errorf(errdef.Invalid, "%w", err)
	}
	defer f.Close()
	if _, err := f.Write(data); err != nil {
		return errdef.Errorf(errdef.Unavailable, "%w", err)
	}
	if q.Env || os.Geteuid() != 0 {
		return nil
	}
	uid, gid, ok := uint32(q.UID), uint32(q.GID), true
	if !m.Empty() {
		var ok2 bool
		uid, ok = idmap.ToOutside(m.UIDs, uid)
		gid, ok2 = idmap.ToOutside(m.GIDs, gid)
		ok = ok && ok2
	}
	if !ok {
		return errdef.Errorf(errdef.Invalid, "owner %d:%d: the container has no such id", q.UID, q.GID)
	}
	if err := f.Chown(int(uid), int(gid)); err != nil {
		return errdef.Errorf(errdef.Unavailable, "%w", err)
	}
	if err := f.Chmod(os.FileMode(q.Mode)); err != nil {
		return errdef.Errorf(errdef.Unavailable, "%w", err)
	}
	return nil
}

// secretPoints are what is mounted for the secrets of a container, read-only.
func (s *Service) secretPoints(r *Record) []assemble.Point {
	var out []assemble.Point
	shown := false
	for i := range r.Secrets {
		q := &r.Secrets[i]
		p := assemble.Point{Type: mount.TypeBind, Source: s.place(r.ID, q), Destination: q.Target, ReadOnly: true, NoExec: true, Flag: "secret " + q.Name}
		if strings.HasPrefix(q.Target, secretDir+"/") {
			p.Source, p.Destination = filepath.Join(s.secretsOf(r.ID), "files"), secretDir
		}
		if q.Env || shown && p.Destination == secretDir {
			continue
		}
		shown = shown || p.Destination == secretDir
		out = append(out, p)
	}
	return out
}

// points are what is mounted, secrets among the rest, so that what lies deeper comes later.
func (s *Service) points(r *Record) []assemble.Point {
	secrets := s.secretPoints(r)
	if len(secrets) == 0 {
		return r.Points
	}
	all := append(slices.Clone(r.Points), secrets...)
	slices.SortStableFunc(all, func(a, b assemble.Point) int {
		return strings.Count(a.Destination, "/") - strings.Count(b.Destination, "/")
	})
	return all
}

// checkPlaces refuses secrets where something else is mounted.
func (s *Service) checkPlaces(r *Record) error {
	for _, p := range s.secretPoints(r) {
		if at := slices.IndexFunc(r.Points, func(other assemble.Point) bool { return other.Destination == p.Destination }); at >= 0 {
			return errdef.Errorf(errdef.Invalid, "duplicate mount point: %s: of %s and of %s", p.Destination, r.Points[at].Flag, p.Flag)
		}
	}
	return nil
}

// lookSecrets looks that all secrets are still there.
func (s *Service) lookSecrets(r *Record) error {
	for i := range r.Secrets {
		if _, err := os.Lstat(s.place(r.ID, &r.Secrets[i])); err != nil {
			err := errdef.Errorf(errdef.NotFound, "secret %.64q: is not there any more: secrets are in memory, and last until the machine starts anew: %w", r.Secrets[i].Name, err)
			return errdef.WithHint(err, "make the container anew")
		}
	}
	return nil
}

// addSecrets puts variables that are secrets into the configuration of a container that is about to start, which is in memory only.
func (s *Service) addSecrets(r *Record, spec *specs.Spec) error {
	for i := range r.Secrets {
		q := &r.Secrets[i]
		if !q.Env {
			continue
		}
		data, err := os.ReadFile(s.place(r.ID, q))
		if err != nil {
			return errdef.Errorf(errdef.Unavailable, "secret %.64q: %w", q.Name, err)
		}
		spec.Process.Env = slices.DeleteFunc(spec.Process.Env, func(v string) bool { return strings.HasPrefix(v, q.Target+"=") })
		spec.Process.Env = append(spec.Process.Env, q.Target+"="+string(data))
	}
	return nil
}
