package container

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/defaults"
	"github.com/bulkhead-engine/bulkhead/internal/engine/assemble"
	"github.com/bulkhead-engine/bulkhead/internal/engine/option"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/image"
	api "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// ranges is how many containers may be at once: each has a range of user ids of its own.
const ranges = 4096

// A Request is what a container is asked to be.
type Request struct {
	Name    string // "": made up
	Image   *image.Image
	Ref     string // of the image, as the caller wrote it
	Config  api.Config
	Host    api.HostConfig
	Secrets []option.Secret
}

func sortByTime(list []*Container) {
	slices.SortStableFunc(list, func(a, b *Container) int { return b.Created.Compare(a.Created) })
}

// Create makes a container that can be started. Nothing is left of one that cannot be.
func (s *Service) Create(ctx context.Context, q Request) (*Record, error) {
	config, err := assemble.Merge(q.Config, &q.Image.Config)
	if err != nil {
		return nil, err
	}
	points, err := assemble.Points(&config, &q.Host)
	if err != nil {
		return nil, err
	}
	r := &Record{
		ID: newID(), Name: q.Name, Created: time.Now().UTC(), Image: q.Image.ID, Chain: q.Image.Chain(), Ref: q.Ref, Config: config, Host: q.Host, Points: points,
	}
	if r.Secrets, err = checkSecrets(q.Secrets); err != nil {
		return nil, err
	}
	if err := check(r); err != nil {
		return nil, err
	}
	if r.Name == "" {
		r.Name = "c-" + r.ID[:12]
	}
	if !validName(r.Name) {
		err := errdef.Errorf(errdef.Invalid, "name %.140q: invalid container name, only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed", r.Name)
		return nil, err
	}
	if err := s.take("names", r.Name, r.ID); err != nil {
		return nil, errdef.WithHint(err, "remove or rename that container, or choose another name")
	}
	if err := s.make(ctx, r, q.Secrets); err != nil {
		_ = os.RemoveAll(s.secretsOf(r.ID))
		s.drop("names", r.Name, r.ID)
		s.drop("ranges", strconv.Itoa(int(r.Range)), r.ID)
		_ = os.RemoveAll(s.dir(r.ID) + ".new")
		s.dropLabels(r)
		if verr := s.removeVolumes(context.WithoutCancel(ctx), r); verr != nil && s.o.Warn != nil {
			s.o.Warn(verr)
		}
		return nil, err
	}
	s.event(r, events.ActionCreate)
	s.tidy()
	return r, nil
}

// make makes the directory under another name, and renames it when it is whole.
func (s *Service) make(ctx context.Context, r *Record, secrets []option.Secret) error {
	if err := s.takeRange(r); err != nil {
		return err
	}
	if err := s.writeSecrets(r, secrets); err != nil {
		return err
	}
	dir := s.dir(r.ID) + ".new"
	for _, d := range []string{dir, filepath.Join(dir, "fs"), filepath.Join(dir, "fs", "upper"), filepath.Join(dir, "fs", "work")} {
		if err := os.Mkdir(d, 0o700); err != nil {
			return errdef.Errorf(errdef.Unavailable, "container: %w", err)
		}
	}
	if err := s.takeLabels(ctx, r); err != nil {
		return err
	}
	release, err := s.takeVolumes(ctx, r)
	if err != nil {
		return err
	}
	defer release()
	// What cannot be is refused now and not at the start: the same compiler, with the same facts.
	result, err := s.assemble(ctx, r, "/", nil)
	if err != nil {
		return err
	}
	r.Weaker = result.Weaker
	uid := int(mappedRoot(result))
	for _, d := range []string{"upper", "work"} {
		if err := os.Chown(filepath.Join(dir, "fs", d), uid, uid); err != nil {
			return errdef.Errorf(errdef.Unavailable, "container: %w", err)
		}
	}
	if err := os.Chmod(filepath.Join(dir, "fs", "upper"), 0o755); err != nil {
		return errdef.Errorf(errdef.Unavailable, "container: %w", err)
	}
	if err := s.write(dir, r); err != nil {
		return err
	}
	if err := os.Rename(dir, s.dir(r.ID)); err != nil {
		return errdef.Errorf(errdef.Unavailable, "container: %w", err)
	}
	return nil
}

// mappedRoot is who root inside is outside.
func mappedRoot(r *assemble.Result) uint32 { return outside(r.Spec.Linux.UIDMappings, 0) }

// outside is what an id inside is on the host; itself without a map, and as who is in none.
func outside(list []specs.LinuxIDMapping, id uint32) uint32 {
	for _, m := range list {
		if id >= m.ContainerID && id-m.ContainerID < m.Size {
			return m.HostID + id - m.ContainerID
		}
	}
	return id
}

// takeRange claims a range of user ids that no other container has.
func (s *Service) takeRange(r *Record) error {
	if os.Geteuid() != 0 {
		return nil
	}
	for n := range ranges {
		err := s.take("ranges", strconv.Itoa(n), r.ID)
		if errdef.Is(err, errdef.Exists) {
			continue
		}
		r.Range = uint32(n)
		return err
	}
	return errdef.Errorf(errdef.Unavailable, "container: all %d ranges of user ids are taken: as many containers are there", ranges)
}

// checkRestart refuses a policy that cannot be.
func checkRestart(h *api.HostConfig) error {
	p := h.RestartPolicy
	switch p.Name {
	case "", "no", "always", "on-failure", "unless-stopped":
	default:
		return errdef.Errorf(errdef.Invalid, "restart %q: wants no, on-failure[:MAX], always or unless-stopped", p.Name)
	}
	switch {
	case p.MaximumRetryCount < 0 || p.MaximumRetryCount > 0 && p.Name != "on-failure":
		return errdef.Errorf(errdef.Invalid, "restart %s:%d: a number of tries is for on-failure", p.Name, p.MaximumRetryCount)
	case h.AutoRemove && p.Name != "" && p.Name != "no":
		return errdef.Errorf(errdef.Invalid, "restart: conflicting options: --restart and --rm")
	}
	return nil
}

// host is what the defaults must know for a container.
func host(r *Record) defaults.Host {
	h := defaults.ThisHost()
	if !h.Rootless {
		h.UIDs, h.GIDs = defaults.Range(r.Range), defaults.Range(r.Range)
	}
	return h
}

// release is the kernel's, as uname -r has it.
func release() string {
	var u unix.Utsname
	_ = unix.Uname(&u)
	return unix.ByteSliceToString(u.Release[:])
}
