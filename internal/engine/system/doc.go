// Package system is the service for the engine as a whole: what it is, what it holds on the disk, what happens, and what a crash has left.
//
//	s := system.New(system.Options{Product: version, Root: root, Run: run, Events: log, Images: images, Containers: containers, Volumes: volumes})
//	info, err := s.Info(ctx)
//	usage, err := s.DiskUsage(ctx, nil, true)
//	err = s.Events(ctx, option.Events{Since: since}, each)
//	report, err := s.Check(ctx, false)
//
// It asks the other services, which it is given as interfaces and which open what they need by themselves. What it tells of the host is read from the kernel at each call:
// nothing of it is kept.
//
// Check is what each command does a little of when it comes upon it: half-made and half-removed containers and volumes go, containers whose monitor was killed are
// recorded as ended, and the names and places of images are looked at. Contents of images are hashed only with repair, which also moves what is wrong out of the way.
package system

import (
	"context"

	"github.com/bulkhead-engine/bulkhead/internal/engine/option"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/event"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/api/types/image"
	"github.com/moby/moby/api/types/system"
	"github.com/moby/moby/api/types/volume"
)

// Images is what is asked of the images.
type Images interface {
	List(ctx context.Context, f option.Filters, sharedSize bool) ([]image.Summary, error)
	Check(ctx context.Context, o option.ImageCheck, tell option.Tell) (option.ImageReport, error)
	LayersSize(ctx context.Context) (int64, error)
}

// Containers is what is asked of the containers.
type Containers interface {
	List(ctx context.Context, o option.List) ([]container.Summary, error)
	Sweep() error
}

// Volumes is what is asked of the volumes.
type Volumes interface {
	Usage(ctx context.Context) ([]volume.Volume, error)
	Sweep(ctx context.Context) ([]string, error)
}

// Options say what the engine is made of.
type Options struct {
	Product         string // version of the program
	API, MinimumAPI string // versions of the API that are spoken
	Root, Run       string // directories, absolute
	Events          *event.Log
	Images          Images
	Containers      func() (Containers, error) // nil, and no error: there are none
	Volumes         Volumes
}

// A Service is one.
type Service struct{ o Options }

// New makes a service.
func New(o Options) *Service { return &Service{o} }

// containers returns all containers.
func (s *Service) containers(ctx context.Context, size bool) ([]container.Summary, error) {
	c, err := s.o.Containers()
	if err != nil || c == nil {
		return []container.Summary{}, err
	}
	return c.List(ctx, option.List{All: true, Size: size})
}

// DiskUsage returns what the kinds of objects hold on the disk; no kind is all. verbose names each of them.
func (s *Service) DiskUsage(ctx context.Context, kinds []string, verbose bool) (system.DiskUsage, error) {
	var out system.DiskUsage
	want := map[string]bool{}
	for _, k := range kinds {
		switch system.DiskUsageObject(k) {
		case system.ContainerObject, system.ImageObject, system.VolumeObject, system.BuildCacheObject:
			want[k] = true
		default:
			return out, errdef.Errorf(errdef.Invalid, "unknown object type: %.64s", k)
		}
	}
	wanted := func(k system.DiskUsageObject) bool { return len(kinds) == 0 || want[string(k)] }
	list, err := s.containers(ctx, wanted(system.ContainerObject))
	if err != nil {
		return out, err
	}
	if wanted(system.ImageObject) {
		if out.ImageUsage, err = s.imageUsage(ctx, list); err != nil {
			return out, err
		}
	}
	if wanted(system.ContainerObject) {
		out.ContainerUsage = containerUsage(list)
	}
	if wanted(system.VolumeObject) {
		if out.VolumeUsage, err = s.volumeUsage(ctx); err != nil {
			return out, err
		}
	}
	if !verbose {
		out.ImageUsage, out.ContainerUsage, out.VolumeUsage = brief(out)
	}
	return out, nil
}

// brief leaves the lists away.
func brief(u system.DiskUsage) (*image.DiskUsage, *container.DiskUsage, *volume.DiskUsage) {
	if u.ImageUsage != nil {
		u.ImageUsage.Items = nil
	}
	if u.ContainerUsage != nil {
		u.ContainerUsage.Items = nil
	}
	if u.VolumeUsage != nil {
		u.VolumeUsage.Items = nil
	}
	return u.ImageUsage, u.ContainerUsage, u.VolumeUsage
}

func (s *Service) imageUsage(ctx context.Context, list []container.Summary) (*image.DiskUsage, error) {
	images, err := s.o.Images.List(ctx, nil, true)
	if err != nil {
		return nil, err
	}
	total, err := s.o.Images.LayersSize(ctx)
	if err != nil {
		return nil, err
	}
	out := &image.DiskUsage{Items: images, TotalCount: int64(len(images)), TotalSize: total}
	users := map[string]int64{}
	for i := range list {
		users[list[i].ImageID]++
	}
	used := int64(0)
	for i := range images {
		images[i].Containers = users[images[i].ID]
		if images[i].Containers > 0 {
			out.ActiveCount++
			used += images[i].Size - images[i].SharedSize
		}
	}
	out.Reclaimable = max(total-used, 0)
	if out.ActiveCount == 0 {
		out.Reclaimable = total
	}
	return out, nil
}

func containerUsage(list []container.Summary) *container.DiskUsage {
	out := &container.DiskUsage{Items: list, TotalCount: int64(len(list))}
	for i := range list {
		out.TotalSize += list[i].SizeRw
		switch list[i].State {
		case container.StateRunning, container.StatePaused, container.StateRestarting:
			out.ActiveCount++
		default:
			out.Reclaimable += list[i].SizeRw
		}
	}
	return out
}

func (s *Service) volumeUsage(ctx context.Context) (*volume.DiskUsage, error) {
	volumes, err := s.o.Volumes.Usage(ctx)
	if err != nil {
		return nil, err
	}
	out := &volume.DiskUsage{Items: volumes, TotalCount: int64(len(volumes))}
	for i := range volumes {
		u := volumes[i].UsageData
		size := max(u.Size, 0)
		out.TotalSize += size
		if u.RefCount > 0 {
			out.ActiveCount++
		} else {
			out.Reclaimable += size
		}
	}
	return out, nil
}

// Events calls each for every event that matches, until the context ends or the time until is over.
func (s *Service) Events(ctx context.Context, o option.Events, each func(events.Message) error) error {
	return s.o.Events.Follow(ctx, o.Since, o.Until, event.Filter(o.Filters), each)
}

// CheckEvents refuses filters that there are not.
func (s *Service) CheckEvents(f option.Filters) error { return event.Filter(f).Check() }
