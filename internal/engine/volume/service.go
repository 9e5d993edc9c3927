package volume

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/atomicfile"
	"github.com/bulkhead-engine/bulkhead/internal/engine/option"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/event"
	"github.com/moby/moby/api/types/events"
	api "github.com/moby/moby/api/types/volume"
	"golang.org/x/sys/unix"
)

// Driver is the one that there is.
const Driver = "local"

// AnonymousLabel is Docker's mark of a volume without a name.
const AnonymousLabel = "com.docker.volume.anonymous"

// Names in the directory of a volume.
const (
	recordFile = "volume.json"
	dataDir    = "_data"
)

// lockTime bounds the wait for others who make or remove volumes, or fill this one.
const lockTime = time.Minute

// Options say where volumes are.
type Options struct {
	Root string // directory of volumes, absolute
	// Users returns the containers that have volumes, by name of the volume; nil: none.
	Users  func() (map[string][]string, error)
	Events *event.Log // nil: nobody is told
	Warn   func(error)
}

// A Service is one. Nothing is made before a volume is.
type Service struct{ o Options }

// New makes a service.
func New(o Options) *Service { return &Service{o} }

// A record is volume.json.
type record struct {
	Name    string
	Created time.Time
	Options map[string]string `json:",omitempty"`
	Labels  map[string]string `json:",omitempty"`
	Fresh   bool              `json:",omitempty"` // no container has had it: it is to be filled
	Filling bool              `json:",omitempty"` // somebody began
}

func (s *Service) path(name string, more ...string) string {
	return filepath.Join(append([]string{s.o.Root, name}, more...)...)
}

// read returns the record of a volume. A directory without one is of an engine that kept none.
func (s *Service) read(name string) (*record, error) {
	if !ValidName(name) {
		return nil, noSuch(name)
	}
	st, err := os.Lstat(s.path(name))
	if err != nil || !st.IsDir() {
		return nil, noSuch(name)
	}
	data, err := os.ReadFile(s.path(name, recordFile))
	if os.IsNotExist(err) {
		return &record{Name: name, Created: st.ModTime().UTC()}, nil
	}
	if err != nil {
		return nil, errdef.Errorf(errdef.Unavailable, "volume %s: %w", name, err)
	}
	r := &record{}
	if err := json.Unmarshal(data, r); err != nil {
		return nil, errdef.Errorf(errdef.Internal, "volume %s: %s: %w", name, recordFile, err)
	}
	r.Name = name
	return r, nil
}

func noSuch(name string) error {
	return errdef.Errorf(errdef.NotFound, "get %.256s: no such volume", name)
}

func write(dir string, r *record) error {
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return atomicfile.Write(filepath.Join(dir, recordFile), data, atomicfile.Options{})
}

// ValidName reports whether a volume may have the name: Docker's rule.
func ValidName(s string) bool {
	return option.ValidName(s, 2, 255)
}

// newName is that of a volume without one.
func newName() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // which never fails
	return hex.EncodeToString(b)
}

// lockAll serialises those who make and remove volumes.
func (s *Service) lockAll(ctx context.Context) (unlock func(), err error) {
	if err := os.MkdirAll(s.o.Root, 0o700); err != nil {
		return nil, errdef.Errorf(errdef.Unavailable, "volumes: %w", err)
	}
	f, err := lock(ctx, s.o.Root, atomicfile.Exclusive)
	if err != nil {
		return nil, err
	}
	return func() { _ = f.Close() }, nil
}

func lock(ctx context.Context, path string, how atomicfile.How) (*os.File, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, errdef.Errorf(errdef.Unavailable, "open %s: %w", path, err)
	}
	ctx, cancel := context.WithTimeout(ctx, lockTime)
	defer cancel()
	if err := atomicfile.Flock(ctx, fd, how); err != nil {
		_ = unix.Close(fd)
		return nil, errdef.Errorf(errdef.KindOf(err), "lock %s: %w", path, err)
	}
	return os.NewFile(uintptr(fd), path), nil
}

// sweep removes what killed commands left. The caller has the lock of all.
func (s *Service) sweep() {
	entries, err := os.ReadDir(s.o.Root)
	if err != nil {
		return
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			_ = os.RemoveAll(s.path(e.Name())) // what stays is tried again
		}
	}
}

func (s *Service) event(action events.Action, name string) {
	if s.o.Events == nil {
		return
	}
	if err := s.o.Events.Append(event.New(events.VolumeEventType, action, name, map[string]string{"driver": Driver})); err != nil && s.o.Warn != nil {
		s.o.Warn(err)
	}
}

// describe is a volume in the types of the API.
func (s *Service) describe(r *record) api.Volume {
	v := api.Volume{
		Name: r.Name, Driver: Driver, Scope: "local", CreatedAt: r.Created.Format(time.RFC3339), Mountpoint: s.source(r), Labels: r.Labels, Options: r.Options,
	}
	return v
}

// source is the directory that containers get.
func (s *Service) source(r *record) string {
	if isBind(r.Options) {
		return r.Options["device"]
	}
	return s.path(r.Name, dataDir)
}
