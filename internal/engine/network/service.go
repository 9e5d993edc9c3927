package network

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/atomicfile"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/event"
	"github.com/bulkhead-engine/bulkhead/internal/network"
	"github.com/moby/moby/api/types/events"
	api "github.com/moby/moby/api/types/network"
	"golang.org/x/sys/unix"
)

// Drivers as Docker calls them: bridge is the one of networks that can be made.
const (
	bridgeDriver = "bridge"
	hostDriver   = "host"
	nullDriver   = "null"
)

const (
	recordFile = "network.json"
	lockTime   = time.Minute
)

// Containers are what connects and disconnects: the service of containers.
type Containers interface {
	// Connect connects a container, which is given by name or id, with a network whose record is a file.
	Connect(ctx context.Context, container string, w network.Wanted, asked *api.EndpointSettings) error
	Disconnect(ctx context.Context, container string, n *network.Network, force bool) error
}

// Options say where networks are.
type Options struct {
	Root       string // directory of networks, absolute
	Run        network.Dir
	Containers func() (Containers, error)
	Events     *event.Log // nil: nobody is told
	Warn       func(error)
}

// A Service is one. Nothing is made before a network is.
type Service struct{ o Options }

// New makes a service.
func New(o Options) *Service { return &Service{o} }

// A Record is network.json.
type Record struct {
	network.Network
	Driver      string `json:"-"`
	Attachable  bool   `json:",omitempty"` // Docker's, which means nothing here and is shown
	builtin     bool
	withoutIPv4 bool
}

func (s *Service) path(id string, more ...string) string {
	return filepath.Join(append([]string{s.o.Root, id}, more...)...)
}

// File is where the record of a network is.
func (s *Service) File(id string) string { return s.path(id, recordFile) }

// fixed are host and none.
func fixed(name, driver string) *Record {
	sum := sha256.Sum256([]byte("bulkhead network " + name))
	return &Record{Network: network.Network{ID: hex.EncodeToString(sum[:]), Name: name}, Driver: driver, builtin: true}
}

func (s *Service) read(id string) (*Record, error) {
	data, err := os.ReadFile(s.File(id))
	if os.IsNotExist(err) {
		return nil, noSuch(id)
	}
	if err != nil {
		return nil, errdef.Errorf(errdef.Unavailable, "network %s: %w", id, err)
	}
	r := &Record{}
	if err := json.Unmarshal(data, r); err != nil {
		return nil, errdef.Errorf(errdef.Internal, "network %s: %s: %w", id, recordFile, err)
	}
	r.Driver, r.builtin = bridgeDriver, r.Name == network.Default
	return r, nil
}

func noSuch(name string) error {
	return errdef.Errorf(errdef.NotFound, "network %.256s not found", name)
}

// made returns the networks that are files, sorted by name. One whose file cannot be read is a warning.
func (s *Service) made() ([]*Record, error) {
	entries, err := os.ReadDir(s.o.Root)
	if err != nil && !os.IsNotExist(err) {
		return nil, errdef.Errorf(errdef.Unavailable, "networks: %w", err)
	}
	var out []*Record
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") || !e.IsDir() {
			continue
		}
		r, err := s.read(e.Name())
		if errdef.Is(err, errdef.NotFound) {
			continue // removed at this moment
		}
		if err != nil {
			s.warn(err)
			continue
		}
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b *Record) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

// all returns every network there is. The default one is made, if it is not there.
func (s *Service) all(ctx context.Context) ([]*Record, error) {
	list, err := s.made()
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(list, func(r *Record) bool { return r.builtin }) {
		r, err := s.first(ctx)
		if err != nil {
			s.warn(err) // there may be no subnet for it: the others are there all the same
		} else {
			list = append(list, r)
		}
	}
	list = append(list, fixed("host", hostDriver), fixed("none", nullDriver))
	slices.SortFunc(list, func(a, b *Record) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}

func (s *Service) warn(err error) {
	if s.o.Warn != nil {
		s.o.Warn(err)
	}
}

// find returns the network that a name, an id, or the beginning of an id stands for.
func (s *Service) find(ctx context.Context, name string) (*Record, error) {
	if name == "default" {
		name = network.Default
	}
	list, err := s.all(ctx)
	if err != nil {
		return nil, err
	}
	var found []*Record
	for _, r := range list {
		if r.Name == name || r.ID == name {
			return r, nil
		}
		if name != "" && strings.HasPrefix(r.ID, name) {
			found = append(found, r)
		}
	}
	switch len(found) {
	case 0:
		return nil, noSuch(name)
	case 1:
		return found[0], nil
	}
	return nil, errdef.WithHint(errdef.Errorf(errdef.Conflict, "network %.64s is ambiguous (%d matches found on name)", name, len(found)), "give more digits")
}

// Find returns a network that containers can be connected with, and what there is of it on the disk. Errors: NotFound; Conflict of host and none.
func (s *Service) Find(ctx context.Context, name string) (*network.Network, string, error) {
	r, err := s.find(ctx, name)
	if err != nil {
		return nil, "", err
	}
	if r.Driver != bridgeDriver {
		return nil, "", errdef.Errorf(errdef.Conflict, "network %s: a container cannot be connected with it: it is a word for no network of the engine's", r.Name)
	}
	return &r.Network, s.File(r.ID), nil
}

func newID() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // which never fails
	return hex.EncodeToString(b)
}

// lock serialises those who make networks.
func (s *Service) lock(ctx context.Context) (unlock func(), err error) {
	if err := os.MkdirAll(s.o.Root, 0o700); err != nil {
		return nil, errdef.Errorf(errdef.Unavailable, "networks: %w", err)
	}
	fd, err := unix.Open(s.o.Root, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, errdef.Errorf(errdef.Unavailable, "networks: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, lockTime)
	defer cancel()
	if err := atomicfile.Flock(ctx, fd, atomicfile.Exclusive); err != nil {
		_ = unix.Close(fd)
		return nil, errdef.Errorf(errdef.KindOf(err), "networks: lock: %w", err)
	}
	return func() { _ = unix.Close(fd) }, nil
}

// keep writes a record down. The caller has the lock.
func (s *Service) keep(r *Record) error {
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	dir := s.path("." + r.ID + ".new")
	fail := func(err error) error {
		_ = os.RemoveAll(dir)
		return errdef.Errorf(errdef.Unavailable, "network %s: %w", r.Name, err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fail(err)
	}
	if err := atomicfile.Write(filepath.Join(dir, recordFile), data, atomicfile.Options{}); err != nil {
		return fail(err)
	}
	if err := os.Rename(dir, s.path(r.ID)); err != nil {
		return fail(err)
	}
	return nil
}

// sweep removes what killed commands left. The caller has the lock.
func (s *Service) sweep() {
	entries, err := os.ReadDir(s.o.Root)
	if err != nil {
		return
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") && e.IsDir() {
			_ = os.RemoveAll(s.path(e.Name())) // what stays is tried again
		}
	}
}

// event tells of what has happened to a network.
func (s *Service) event(action events.Action, r *Record, more ...string) {
	if s.o.Events == nil {
		return
	}
	a := map[string]string{"name": r.Name, "type": r.Driver}
	for i := 0; i+1 < len(more); i += 2 {
		a[more[i]] = more[i+1]
	}
	if err := s.o.Events.Append(event.New(events.NetworkEventType, action, r.ID, a)); err != nil {
		s.warn(err)
	}
}
