package container

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/bulkhead-engine/bulkhead/internal/engine/assemble"
	"github.com/bulkhead-engine/bulkhead/internal/engine/volume"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/image/snapshot"
	"github.com/bulkhead-engine/bulkhead/internal/monitor/control"
	"github.com/moby/moby/api/types/mount"
	api "github.com/moby/moby/api/types/volume"
	"golang.org/x/sys/unix"
)

// VolumeUsers returns which containers have which volumes, for package engine/volume.
func (s *Service) VolumeUsers() (map[string][]string, error) {
	ids, err := s.ids()
	if err != nil {
		return nil, err
	}
	out := map[string][]string{}
	for _, id := range ids {
		r, err := s.read(id)
		if err != nil {
			continue
		}
		for i := range r.Points {
			if name := r.Points[i].Name; r.Points[i].Type == mount.TypeVolume && name != "" && !slices.Contains(out[name], r.Name) {
				out[name] = append(out[name], r.Name)
			}
		}
	}
	return out, nil
}

// volumesDir is where volumes are, for who brings no service of them.
func volumesDir(root string) string { return filepath.Join(root, "volumes") }

// takeVolumes gives the points of volumes their directories. The claims keep the volumes until the container's record names them.
func (s *Service) takeVolumes(ctx context.Context, r *Record) (release func(), err error) {
	var claims []*volume.Claim
	release = func() {
		for _, c := range claims {
			_ = c.Close()
		}
	}
	if err := s.nameVolumes(r); err != nil {
		return nil, err
	}
	for i := range r.Points {
		p := &r.Points[i]
		if p.Type != mount.TypeVolume {
			continue
		}
		labels := p.Labels
		if p.Anonymous {
			labels = map[string]string{volume.AnonymousLabel: ""}
			maps.Copy(labels, p.Labels)
		}
		c, err := s.o.Volumes.Take(ctx, api.CreateRequest{Name: p.Name, DriverOpts: p.Driver, Labels: labels})
		if err != nil {
			release()
			return nil, errdef.WithHint(errdef.Errorf(errdef.KindOf(err), "%s: %w", p.Flag, err), errdef.Hint(err))
		}
		if p.Inherited != "" { // the monitor of its first owner must not take it along
			if err := os.WriteFile(filepath.Join(volumesDir(s.o.Root), c.Name, control.SharedFile), nil, 0o600); err != nil {
				_ = c.Close()
				release()
				return nil, errdef.Errorf(errdef.Unavailable, "%s: %w", p.Flag, err)
			}
		}

		p.Source = c.Source
		claims = append(claims, c)
	}
	return release, nil
}

// nameVolumes gives the volumes without a name the one that they will have, and notes them where a sweep finds them, if this process is killed: nobody else would know whose they are.
func (s *Service) nameVolumes(r *Record) error {
	some := false
	for i := range r.Points {
		if p := &r.Points[i]; p.Type == mount.TypeVolume && p.Name == "" {
			p.Anonymous, p.Name, some = true, newID(), true
		}
	}
	if !some {
		return nil
	}
	return s.write(s.dir(r.ID)+".new", r)
}

// hasVolumes reports whether a container has volumes, which may be mounts.
func hasVolumes(r *Record) bool {
	return slices.ContainsFunc(r.Points, func(p assemble.Point) bool { return p.Type == mount.TypeVolume })
}

// readyVolumes makes volumes ready for a start: new ones are filled with what the image has in their place.
func (s *Service) readyVolumes(ctx context.Context, r *Record, use *snapshot.Use) error {
	from := func(context.Context) (*os.File, error) {
		if r.Rootfs != nil {
			fd, err := openRootfs(r.Rootfs)
			if err != nil {
				return nil, err
			}
			return os.NewFile(uintptr(fd), "rootfs"), nil
		}
		fd, err := snapshot.Mount(&snapshot.MountOptions{Use: use, Attr: unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV})
		if err != nil {
			return nil, err
		}
		return os.NewFile(uintptr(fd), "image"), nil
	}
	for i := range r.Points {
		p := &r.Points[i]
		if p.Type != mount.TypeVolume || p.Name == "" {
			continue
		}
		source := from
		if p.NoCopy {
			source = nil
		}
		if err := s.o.Volumes.Ready(ctx, p.Name, source, p.Destination); err != nil {
			return err
		}
		if err := s.relabelVolume(ctx, r, p); err != nil {
			return err
		}
	}
	return nil
}

// anonymous are the volumes that a container has made for itself.
func anonymous(points []assemble.Point) []string {
	var out []string
	for i := range points {
		if points[i].Anonymous {
			out = append(out, points[i].Name)
		}
	}
	return out
}

// removeVolumes removes what a container has made for itself, unless another has it.
func (s *Service) removeVolumes(ctx context.Context, r *Record) error {
	for _, name := range anonymous(r.Points) {
		if err := s.o.Volumes.Remove(ctx, name, true); err != nil && !errdef.Is(err, errdef.Conflict) {
			return err
		}
	}
	return nil
}
