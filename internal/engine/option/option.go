// Package option has what a caller gives to the engine's services and the types of Docker's API do not name: how a container is listed, attached to, removed, run in.
//
// Services (engine/container, engine/image, engine/volume, engine/system) take these and the types of github.com/moby/moby/api, and return the latter, so that what
// serves the API, and a program that uses the services without it, speak of the same things. The package holds data, and what all services say of it alike. Each zero value is the strict one.
package option

import (
	"io"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/jsonstream"
	"github.com/moby/moby/api/types/network"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Filters are Docker's: values by key, of which one has to match for each key.
type Filters map[string][]string

// Create asks for a container.
type Create struct {
	Name       string // "": made up
	Config     container.Config
	Host       container.HostConfig
	Networking network.NetworkingConfig
	Platform   *ocispec.Platform // nil: this machine's
	Secrets    []Secret
	UIDMap     []string // Podman's --uidmap and --gidmap
	GIDMap     []string
	// MountOptions are those of mounts that Docker has no field for, by target, as -v has them.
	MountOptions map[string][]string
	Rootfs       string // Podman's --rootfs, PATH[:O][:idmap]; "": the image of Config
}

// A Secret is a file of /run/secrets, or a variable, that no record has.
type Secret struct {
	Name   string // of the file, or of the variable
	Env    bool
	UID    int
	GID    int
	Mode   uint32 // 0: 0400
	Target string // path of the file; "": /run/secrets/NAME
	Data   []byte
}

// List says which containers are wanted.
type List struct {
	All     bool // those that do not run, too
	Limit   int  // the newest; 0: all
	Size    bool
	Filters Filters
}

// Streams are where the output of a program goes and its input comes from. With a terminal all output is in Out. A nil one is not wanted.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
}

// Open gives the streams to read from and write to. tty says that they are a terminal's.
type Open func(tty bool) (Streams, error)

// Attach says which streams are wanted. The container need not run yet: what it prints from its start on is then seen.
type Attach struct {
	Stdin, Stdout, Stderr bool
	Logs                  bool   // first what it has printed before
	Stream                bool   // what it prints from now on; without, and with Logs, the end is the end of the log
	DetachKeys            string // Docker's way to write them; "": ctrl-p,ctrl-q
}

// Logs says which lines of a log are wanted.
type Logs struct {
	Stdout, Stderr bool
	Follow         bool
	Since, Until   time.Time // zero: no bound
	Timestamps     bool
	Details        bool
	Tail           int // lines; negative: all
}

// Remove says what a removal may do.
type Remove struct {
	Force   bool // kill it if it runs
	Volumes bool // and its volumes without a name
}

// Stop says how a program is asked to end; the zero value is as the container says.
type Stop struct {
	Signal  string         // "": the container's
	Timeout *time.Duration // negative: for ever
}

// Exec starts one more program in a container.
type Exec struct {
	Detach     bool
	TTY        bool
	Height     uint16
	Width      uint16
	DetachKeys string
}

// Commit makes an image of a container.
type Commit struct {
	Container string
	Ref       string // of the image; "": none
	Author    string
	Comment   string
	Changes   []string // lines of a Dockerfile
	NoPause   bool     // do not freeze a running container meanwhile
	Config    *container.Config
}

// Put says how an archive is unpacked into a container.
type Put struct {
	NoOverwriteDirNonDir bool // no directory is replaced by something else, nor the other way round
	CopyUIDGID           bool // what is made belongs to the user of the container, if it has one, and not to whom the archive says
}

// Tell passes a message of a long work on to who waits for it, as Docker's streams of JSON have it.
type Tell func(jsonstream.Message) error

// Events says which events are wanted.
type Events struct {
	Since, Until time.Time // zero: from now on, without an end
	Filters      Filters
}
