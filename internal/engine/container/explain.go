package container

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/engine/assemble"
	"github.com/bulkhead-engine/bulkhead/internal/engine/explain"
	"github.com/bulkhead-engine/bulkhead/internal/engine/option"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/image/manifest"
	"github.com/bulkhead-engine/bulkhead/internal/image/snapshot"
	"github.com/bulkhead-engine/bulkhead/internal/linux/idmap"
	"github.com/bulkhead-engine/bulkhead/internal/monitor/control"
	"github.com/bulkhead-engine/bulkhead/internal/runtime/launch"
	"github.com/moby/moby/api/types/mount"
)

// Explain tells what confines a container, or will when it is started: each setting with its origin, and each system call.
func (s *Service) Explain(ctx context.Context, name string) (*explain.Explanation, error) {
	c, err := s.Get(name)
	if err != nil {
		return nil, err
	}
	var config *manifest.ImageConfig
	if img, err := s.o.Images.Find(c.Image.String(), nil); err == nil {
		config = &img.Config
	}
	root, err := s.rootOf(ctx, c)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	return s.explain(ctx, &c.Record, config, root)
}

// ExplainCreate tells what would confine a container that is not made. Nothing of it is left.
func (s *Service) ExplainCreate(ctx context.Context, o option.Create) (*explain.Explanation, error) {
	img, err := s.wanted(&o)
	if errdef.Is(err, errdef.NotFound) {
		return nil, errdef.WithHint(errdef.Errorf(errdef.NotFound, "no such image: %s", withTag(o.Config.Image)), "explain fetches nothing: bulkhead pull "+o.Config.Image)
	}
	if err != nil {
		return nil, err
	}
	r, err := s.asked(&o, img)
	if err != nil {
		return nil, err
	}
	if err := s.giveIDs(r, s.looker()); err != nil {
		return nil, err
	}
	for i := range r.Points {
		if p := &r.Points[i]; p.Type == mount.TypeVolume && p.Name != "" {
			p.Source = filepath.Join(volumesDir(s.o.Root), p.Name, "_data")
			if v, err := s.o.Volumes.Inspect(context.Background(), p.Name); err == nil {
				p.Source = v.Mountpoint
			}
		} else if p.Type == mount.TypeVolume {
			p.Source = filepath.Join(s.dir(r.ID), "volume-"+strconv.Itoa(i))
		}
	}
	root, err := s.rootAhead(ctx, r)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	return s.explain(ctx, r, &img.Config, root)
}

// rootAhead mounts the files of a container that is not made.
func (s *Service) rootAhead(ctx context.Context, r *Record) (*os.File, error) {
	if r.Rootfs != nil {
		return s.rootfsMount(r, false)
	}
	use, err := s.layers(ctx, r, "explain")
	if err != nil {
		return nil, err
	}
	defer use.Close()
	m := &snapshot.MountOptions{Use: use}
	if h := host(r); !userNSOff(r) {
		m.IDs = idmap.FromSpec(h.UIDs, h.GIDs)
	}
	fd, err := snapshot.Mount(m)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), "root"), nil
}

// rootOf opens the files of a container: of one that runs where nothing else is mounted over them, of another mounted for this.
func (s *Service) rootOf(ctx context.Context, c *Container) (*os.File, error) {
	if c.Alive && c.State.Monitor > 0 {
		fd, err := openDir("/proc/" + strconv.Itoa(c.State.Monitor) + "/root" + filepath.Join(s.runDir(c.ID), control.Rootfs))
		if err != nil {
			return nil, err
		}
		return os.NewFile(uintptr(fd), "root"), nil
	}
	use, err := s.layers(ctx, &c.Record, "explain")
	if err != nil {
		return nil, err
	}
	defer use.Close()
	lock, err := s.lock(ctx, c.ID)
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	return s.mount(c, use)
}

// explain assembles the configuration as a start does, compiles it as the runtime does, and runs nothing.
func (s *Service) explain(ctx context.Context, r *Record, config *manifest.ImageConfig, root *os.File) (*explain.Explanation, error) {
	if r.SELinux == nil { // one that is not made, or was by an engine without
		if err := s.takeLabels(ctx, r); err != nil {
			return nil, err
		}
		defer s.dropLabels(r)
	}
	q, err := s.request(r, filepath.Join(s.runDir(r.ID), control.Rootfs), root)
	if err != nil {
		return nil, err
	}
	ahead := &launch.Forecast{Root: "/proc/self/fd/" + strconv.Itoa(int(root.Fd())), Sources: map[string]bool{}}
	for i := range r.Points {
		if p := &r.Points[i]; p.Type == mount.TypeVolume {
			ahead.Sources[p.Source] = true
		}
	}
	for _, p := range s.secretPoints(r) {
		ahead.Sources[p.Source] = p.Destination == secretDir
	}
	for i := range q.Points {
		if p := &q.Points[i]; p.Prepared() {
			ahead.Sources[p.Place] = true
		}
	}
	there := q.Facts.Source
	q.Facts.Source = func(path string) bool { _, will := ahead.Sources[path]; return will || there(path) }
	result, err := assemble.Spec(q)
	if err != nil {
		return nil, err
	}
	for _, dir := range result.Make {
		ahead.Sources[dir] = true
	}
	for _, m := range result.Spec.Mounts { // files and device nodes that the engine makes at the start
		_, known := ahead.Sources[m.Source]
		if !known && (strings.HasPrefix(m.Source, s.dir(r.ID)+"/") || strings.HasPrefix(m.Source, s.runDir(r.ID)+"/")) {
			ahead.Sources[m.Source] = false
		}
	}
	plan, err := s.rt.ExplainAhead(r.ID, s.runDir(r.ID), result.Spec, ahead)
	if err != nil {
		return nil, err
	}
	return explain.New(&explain.Input{
		ID: r.ID, Name: r.Name, Image: r.Ref, Config: r.Config, Host: r.Host, Points: s.points(r), ImageConfig: config, Facts: host(r), Result: result, Steps: plan.Steps(),
	}), nil
}
