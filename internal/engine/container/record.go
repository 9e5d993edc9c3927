package container

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/atomicfile"
	"github.com/bulkhead-engine/bulkhead/internal/engine/assemble"
	"github.com/bulkhead-engine/bulkhead/internal/engine/option"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/linux/pidfd"
	"github.com/bulkhead-engine/bulkhead/internal/monitor/control"
	api "github.com/moby/moby/api/types/container"
	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"
)

// A Record is container.json.
type Record struct {
	ID      string
	Name    string
	Created time.Time
	Image   digest.Digest // the id of it
	Chain   digest.Digest // its unpacked layers
	Ref     string        // as the caller wrote it
	Config  api.Config    // merged with the image's
	Host    api.HostConfig
	SELinux *SELinux
	Points  []assemble.Point
	Rootfs  *assemble.Rootfs `json:",omitempty"` // a directory of the host instead of an image
	Quota   *Quota           `json:",omitempty"` // of its layer; nil: none
	Range   uint32           // number of the range of user ids
	Maps    *Maps            `json:",omitempty"` // nil: that range's
	Weaker  []assemble.Weakening
	Secrets []option.Secret // without their data
	// Networks are those that the container is to be in, in the order of its interfaces. None, and not Disconnected, is of an engine that had no networks: the default one.
	Networks     []Joined `json:",omitempty"`
	Disconnected bool     `json:",omitempty"`

	ids *assemble.IDs // while it is made
}

func (s *Service) dir(id string) string    { return filepath.Join(s.o.Root, "containers", id) }
func (s *Service) runDir(id string) string { return filepath.Join(s.o.Run, id) }

// newID returns 64 hexadecimal digits.
func newID() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // which never fails
	return hex.EncodeToString(b)
}

func (s *Service) read(id string) (*Record, error) {
	path := filepath.Join(s.dir(id), "container.json")
	data, err := atomicfile.Read(path)
	if os.IsNotExist(err) && s.exists(id) { // it goes with its directory
		return nil, errdef.Errorf(errdef.Internal, "container %s: %w", id[:12], err)
	}
	if os.IsNotExist(err) {
		return nil, errdef.Errorf(errdef.NotFound, "no such container: %s", id)
	}
	if errdef.Is(err, errdef.Internal) {
		return nil, errdef.Errorf(errdef.Internal, "container %s: %w", id[:12], err)
	}
	if err != nil {
		return nil, errdef.Errorf(errdef.Unavailable, "container %s: %w", id, err)
	}
	if len(data) == 0 && control.Alive(s.runDir(id)) {
		return nil, errdef.Errorf(errdef.Internal, "container %s: %s: is empty", id[:12], path)
	}
	if len(data) == 0 { // the machine has crashed: it was one that removes itself, which is not synced
		if err := os.RemoveAll(s.dir(id)); err != nil {
			return nil, errdef.Errorf(errdef.Unavailable, "container %s: %w", id, err)
		}
		return nil, errdef.Errorf(errdef.NotFound, "no such container: %s", id)
	}
	var r Record
	if err := json.Unmarshal(data, &r); err != nil {
		return nil, errdef.Errorf(errdef.Internal, "container %s: %s: %w", id[:12], path, err)
	}
	return &r, nil
}

func (s *Service) write(dir string, r *Record) error {
	data, err := sparse(r)
	if err != nil {
		return err
	}
	// One that removes itself has no life after the machine's.
	return atomicfile.Write(filepath.Join(dir, "container.json"), data, atomicfile.Options{Volatile: r.Host.AutoRemove})
}

// ids returns those of all containers, sorted.
func (s *Service) ids() ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(s.o.Root, "containers"))
	if err != nil {
		return nil, errdef.Errorf(errdef.Unavailable, "containers: %w", err)
	}
	var out []string
	for _, e := range entries {
		if len(e.Name()) == 64 {
			out = append(out, e.Name())
		}
	}
	return out, nil
}

// Resolve returns the id that a name, an id or the beginning of an id stands for. A whole name wins over the beginning of an id.
func (s *Service) Resolve(name string) (string, error) {
	name = strings.TrimPrefix(name, "/")
	if validName(name) {
		if id, ok := s.claim("names", name); ok {
			return id, nil
		}
	}
	all, err := s.ids()
	if err != nil {
		return "", err
	}
	var found []string
	for _, id := range all {
		if strings.HasPrefix(id, name) && name != "" {
			found = append(found, id)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return "", errdef.Errorf(errdef.NotFound, "no such container: %s", name)
	}
	return "", errdef.WithHint(errdef.Errorf(errdef.Conflict, "container %q: several ids begin so", name), "give more digits")
}

// validName reports whether a container may have the name: Docker's rule.
func validName(s string) bool {
	return option.ValidName(s, 2, 128)
}

// claim returns whose a claim is; false if nobody's, or of a container that is no more.
func (s *Service) claim(kind, name string) (string, bool) {
	data, err := atomicfile.Read(filepath.Join(s.o.Root, kind, name))
	if err != nil || len(data) < 64 {
		return "", false
	}
	id := string(data[:64])
	if kind == "names" { // one that a killed rename left is void
		r, err := s.read(id)
		return id, err == nil && r.Name == name || err != nil && !errdef.Is(err, errdef.NotFound) // of one that cannot be read the claim is all there is
	}
	_, err = os.Lstat(s.dir(id))
	return id, err == nil
}

// take claims a name for a container that will be there soon. A claim of one that is gone is taken over; one of a process that is still making its
// container is not.
func (s *Service) take(kind, name, id string) error {
	dir, unlock, err := s.lockClaims(kind)
	if err != nil {
		return err
	}
	defer unlock()
	if data, err := atomicfile.Read(filepath.Join(s.o.Root, kind, name)); err == nil {
		owner, pid, _ := strings.Cut(strings.TrimSpace(string(data)), " ")
		if _, there := s.claim(kind, name); there || making(pid) {
			return errdef.Errorf(errdef.Exists, "conflict. The container %s %q is already in use by container %q", strings.TrimSuffix(kind, "s"), "/"+name, owner)
		}
		s.leftovers.Store(true)
	}
	if kind == "ranges" && s.shared(name) {
		return errdef.Errorf(errdef.Exists, "range %s of user ids: a container has some of them", name)
	}
	err = s.writeClaim(dir, name, id)
	if path := s.claimPath(kind, name); errors.Is(err, unix.EISDIR) && os.RemoveAll(path) == nil { // which no command has made
		err = s.writeClaim(dir, name, id)
	}
	return err
}

// making reports whether a process that made a claim may still be making its container. One that has ended, and that nobody has asked how, makes nothing.
func making(pid string) bool {
	n, err := strconv.Atoi(pid)
	if err != nil || n <= 0 {
		return false
	}
	p, err := pidfd.Open(n)
	if err != nil {
		return !errdef.Is(err, errdef.NotFound)
	}
	defer p.Close()
	return p.Alive()
}

// drop gives a claim back.
func (s *Service) drop(kind, name, id string) {
	path := filepath.Join(s.o.Root, kind, name)
	if data, err := atomicfile.Read(path); err == nil && strings.HasPrefix(string(data), id) {
		_ = os.Remove(path)
	}
}
