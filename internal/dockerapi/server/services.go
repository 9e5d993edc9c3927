package server

import (
	"context"
	"io"

	"github.com/bulkhead-engine/bulkhead/internal/engine/option"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/api/types/image"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/api/types/registry"
	"github.com/moby/moby/api/types/system"
	"github.com/moby/moby/api/types/volume"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Services are what the routes ask. A nil one is not there: its routes answer 501.
type Services struct {
	Containers Containers
	// OpenContainers gives Containers, if that is nil, to the first request that wants it.
	OpenContainers func() (Containers, error)
	Images         Images
	Volumes        Volumes
	Networks       Networks
	System         System
}

// Containers is what the routes of containers and of exec ask for. A name may be an id or the beginning of one.
type Containers interface {
	Create(ctx context.Context, o option.Create) (container.CreateResponse, error)
	Start(ctx context.Context, name string) error
	Stop(ctx context.Context, name string, o option.Stop) error
	Restart(ctx context.Context, name string, o option.Stop) error
	Kill(ctx context.Context, name, signal string) error
	Pause(ctx context.Context, name string) error
	Unpause(ctx context.Context, name string) error
	Rename(ctx context.Context, name, to string) error
	Remove(ctx context.Context, name string, o option.Remove) error
	// Wait calls ready when it has looked, and returns when the condition holds.
	Wait(ctx context.Context, name string, until container.WaitCondition, ready func()) (container.WaitResponse, error)

	List(ctx context.Context, o option.List) ([]container.Summary, error)
	Inspect(ctx context.Context, name string, size bool) (option.Inspect, error)
	Top(ctx context.Context, name, psArgs string) (container.TopResponse, error)
	// Stats calls each once, or with stream every second until the context ends or the container does.
	Stats(ctx context.Context, name string, stream, oneShot bool, each func(container.StatsResponse) error) error
	Changes(ctx context.Context, name string) ([]container.FilesystemChange, error)
	Update(ctx context.Context, name string, u container.UpdateConfig) (container.UpdateResponse, error)
	Resize(ctx context.Context, name string, height, width uint16) error

	// Attach, Logs and ExecStart call open when nothing can go wrong any more that an HTTP status could tell. tty says that the streams are a terminal's.
	Attach(ctx context.Context, name string, o option.Attach, open option.Open) error
	Logs(ctx context.Context, name string, o option.Logs, open option.Open) error

	ExecCreate(ctx context.Context, name string, o container.ExecCreateRequest) (id string, err error)
	ExecStart(ctx context.Context, id string, o option.Exec, open option.Open) error
	ExecInspect(ctx context.Context, id string) (container.ExecInspectResponse, error)
	ExecResize(ctx context.Context, id string, height, width uint16) error

	StatPath(ctx context.Context, name, path string) (container.PathStat, error)
	GetArchive(ctx context.Context, name, path string, w io.Writer, stat func(container.PathStat) error) error
	PutArchive(ctx context.Context, name, path string, r io.Reader, o option.Put) error
	Export(ctx context.Context, name string, w io.Writer) error
	Commit(ctx context.Context, o option.Commit) (id string, err error)
	Prune(ctx context.Context, f option.Filters) (container.PruneReport, error)
}

// Images is what the routes of images ask for. A platform chooses of an image that has several; nil is this machine's, or what there is.
type Images interface {
	List(ctx context.Context, f option.Filters, sharedSize bool) ([]image.Summary, error)
	Inspect(ctx context.Context, name string, platform *ocispec.Platform) (option.ImageInspect, error)
	History(ctx context.Context, name string, platform *ocispec.Platform) ([]image.HistoryResponseItem, error)
	Tag(ctx context.Context, name, ref string) error
	Remove(ctx context.Context, name string, force, noPrune bool) ([]image.DeleteResponse, error)
	Prune(ctx context.Context, f option.Filters) (image.PruneReport, error)
	// Pull, Push, Load and Import tell of their progress as Docker does, a message each. No credentials is the nil auth.
	Pull(ctx context.Context, ref string, o option.Pull, tell option.Tell) error
	Push(ctx context.Context, ref string, o option.Push, tell option.Tell) error
	// Save writes nothing before all images are found.
	Save(ctx context.Context, names []string, w io.Writer) error
	Load(ctx context.Context, r io.Reader, quiet bool, tell option.Tell) error
	Import(ctx context.Context, r io.Reader, o option.Import, tell option.Tell) error
	// Login checks a password with its registry.
	Login(ctx context.Context, auth registry.AuthConfig, o *option.Registry) (option.Login, error)
	Distribution(ctx context.Context, ref string, auth *registry.AuthConfig, o *option.Registry) (registry.DistributionInspect, error)

	Check(ctx context.Context, o option.ImageCheck, tell option.Tell) (option.ImageReport, error)
	Mounts(ctx context.Context) ([]option.ImageMount, error)
	Mount(ctx context.Context, name string) (option.ImageMount, error)
	Unmount(ctx context.Context, name string) (option.ImageMount, error)
	// Diff returns what differs between two images.
	Diff(ctx context.Context, from, to string) ([]option.ImageChange, error)
	NameEvents(ctx context.Context, name string) ([]option.NameEvent, error)
}

// Volumes is what the routes of volumes ask for.
type Volumes interface {
	List(ctx context.Context, f option.Filters) (volume.ListResponse, error)
	Create(ctx context.Context, o volume.CreateRequest) (volume.Volume, error)
	Inspect(ctx context.Context, name string) (volume.Volume, error)
	Remove(ctx context.Context, name string, force bool) error
	Prune(ctx context.Context, f option.Filters) (volume.PruneReport, error)
}

// Networks is what the routes of networks ask for.
type Networks interface {
	List(ctx context.Context, f option.Filters) ([]network.Summary, error)
	Create(ctx context.Context, q network.CreateRequest) (network.CreateResponse, error)
	Inspect(ctx context.Context, name string) (network.Inspect, error)
	Remove(ctx context.Context, name string) error
	Prune(ctx context.Context, f option.Filters) (network.PruneReport, error)
	Connect(ctx context.Context, name string, q network.ConnectRequest) error
	Disconnect(ctx context.Context, name string, q network.DisconnectRequest) error
}

// System is what the routes of the engine as a whole ask for.
type System interface {
	Info(ctx context.Context) (system.Info, error)
	Version(ctx context.Context) (system.VersionResponse, error)
	DiskUsage(ctx context.Context, kinds []string, verbose bool) (system.DiskUsage, error)
	// Check heals what a crash has left.
	Check(ctx context.Context, repair bool) (option.SystemReport, error)
	// CheckEvents refuses filters that there are not.
	CheckEvents(f option.Filters) error
	// Events calls each for every event that matches, until the context ends or the time until is over.
	Events(ctx context.Context, o option.Events, each func(events.Message) error) error
}
