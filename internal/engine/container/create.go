package container

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
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

func sortByTime(list []*Container) {
	slices.SortStableFunc(list, func(a, b *Container) int { return b.Created.Compare(a.Created) })
}

// Create makes a container of an image that is here. All that can be refused of a request is refused now, and nothing is left of what was.
func (s *Service) Create(ctx context.Context, o option.Create) (api.CreateResponse, error) {
	var none api.CreateResponse
	if err := s.writable(); err != nil {
		return none, err
	}
	img, err := s.wanted(&o)
	if errdef.Is(err, errdef.NotFound) && !strings.HasPrefix(err.Error(), "platform: ") {
		return none, errdef.WithHint(errdef.Errorf(errdef.NotFound, "no such image: %s", withTag(o.Config.Image)), errdef.Hint(err))
	}
	if err != nil {
		return none, err
	}
	r, err := s.create(ctx, &o, img)
	if err != nil {
		return none, err
	}
	done := api.CreateResponse{ID: r.ID, Warnings: []string{}}
	for _, w := range r.Weaker {
		done.Warnings = append(done.Warnings, "--"+w.Flag+" gives up "+w.What)
	}
	return done, nil
}

// wanted is the image that a request is for.
func (s *Service) wanted(o *option.Create) (*image.Image, error) {
	if o.Rootfs != "" {
		return &image.Image{}, nil
	}
	img, err := s.o.Images.Find(o.Config.Image, o.Platform)
	if p := o.Platform; err == nil && p != nil {
		if has := &img.Config.Image; has.OS != p.OS || has.Architecture != p.Architecture || p.Variant != "" && has.Variant != "" && has.Variant != p.Variant {
			err := errdef.Errorf(errdef.NotFound, "platform: image %s is here for %s/%s, and not for the platform %s/%s", o.Config.Image, has.OS, has.Architecture, p.OS, p.Architecture)
			return nil, errdef.WithHint(err, "bulkhead pull --platform "+p.OS+"/"+p.Architecture+" "+o.Config.Image)
		}
	}
	return img, err
}

// withTag is a name as Docker's messages have it.
func withTag(ref string) string {
	if strings.Contains(ref, "@") || strings.Contains(ref[strings.LastIndex(ref, "/")+1:], ":") {
		return ref
	}
	return ref + ":latest"
}

// asked is the record of a request, without what it gets when it is made.
func (s *Service) asked(o *option.Create, img *image.Image) (*Record, error) {
	ids, err := assemble.ParseIDs(&o.Host, o.UIDMap, o.GIDMap)
	if err != nil {
		return nil, err
	}
	if len(o.UIDMap)+len(o.GIDMap) > 0 {
		o.Host.UsernsMode = "private"
	}
	if o.Config.User == "" {
		o.Config.User = ids.User
	}
	config, err := assemble.Merge(o.Config, &img.Config)
	if err != nil {
		return nil, err
	}
	points, err := assemble.Points(&config, &o.Host, assemble.Sources{Options: o.MountOptions, Others: s.others})
	if err != nil {
		return nil, err
	}
	r := &Record{
		ID: newID(), Name: o.Name, Created: time.Now().UTC(), Image: img.ID, Chain: img.Chain(), Ref: o.Config.Image, Config: config, Host: o.Host, Points: points, ids: ids,
	}
	if r.Rootfs, err = assemble.ParseRootfs(o.Rootfs); err != nil {
		return nil, err
	}
	if err := checkRootfs(r.Rootfs); err != nil {
		return nil, err
	}
	if r.Secrets, err = checkSecrets(o.Secrets); err != nil {
		return nil, err
	}
	if err := s.findImages(r); err != nil {
		return nil, err
	}
	return r, check(r)
}

func (s *Service) create(ctx context.Context, o *option.Create, img *image.Image) (*Record, error) {
	r, err := s.asked(o, img)
	if err != nil {
		return nil, err
	}
	if err := s.joinNetworks(ctx, r, o.Networking.EndpointsConfig); err != nil {
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
		return nil, inTheWay(err)
	}
	if err := s.make(ctx, r, o.Secrets); err != nil {
		_ = os.RemoveAll(s.secretsOf(r.ID))
		s.drop("names", r.Name, r.ID)
		s.dropRanges(r)
		_ = os.RemoveAll(s.dir(r.ID) + ".new")
		s.freeProject(r)
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
	if err := s.giveIDs(r, s.keeper(r)); err != nil {
		return err
	}
	if err := s.writeSecrets(r, secrets); err != nil {
		return err
	}
	dir := s.dir(r.ID) + ".new"
	if err := s.makeDirs(r, dir); err != nil {
		return err
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

// makeDirs makes the directories of a container.
func (s *Service) makeDirs(r *Record, dir string) error {
	for _, d := range []string{dir, filepath.Join(dir, "fs"), filepath.Join(dir, "fs", "upper"), filepath.Join(dir, "fs", "work")} {
		if err := os.Mkdir(d, 0o700); err != nil {
			return errdef.Errorf(errdef.Unavailable, "container: %w", err)
		}
		if filepath.Base(d) == "fs" {
			if err := s.limitLayer(r, d); err != nil {
				return err
			}
		}
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
		if r.Maps != nil {
			h.UIDs, h.GIDs = r.Maps.UIDs, r.Maps.GIDs
		}
	}
	return h
}

// release is the kernel's, as uname -r has it.
func release() string {
	var u unix.Utsname
	_ = unix.Uname(&u)
	return unix.ByteSliceToString(u.Release[:])
}
