package option

import (
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/image"
	"github.com/moby/moby/api/types/registry"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Registry says how registries are reached, beyond what the engine's configuration says. Each field trusts more than its zero value.
type Registry struct {
	Insecure []string                       `json:",omitempty"` // host, host:port, or a range of addresses: any certificate, or plain HTTP
	Mirrors  map[string][]string            `json:",omitempty"` // by registry: asked before it
	CertDirs []string                       `json:",omitempty"` // on the engine's machine, in place of its certs.d
	Auths    map[string]registry.AuthConfig `json:",omitempty"` // by host: of mirrors
}

// Pull says how to pull.
type Pull struct {
	Platform *ocispec.Platform // nil: this machine's
	All      bool              // all tags
	Policy   string            // always, missing, never, newer; "": always
	Auth     *registry.AuthConfig
	Registry *Registry
}

// Push says how to push.
type Push struct {
	Platform *ocispec.Platform // this one alone; nil: all that are here
	All      bool              // all tags of the repository that are here
	Auth     *registry.AuthConfig
	Registry *Registry
}

// Import says what image an archive becomes.
type Import struct {
	Ref      string
	Message  string
	Changes  []string
	Platform *ocispec.Platform
}

// Aux is what a message of a long work says to programs. Docker's has Tag, Digest and Size at the end of a push.
type Aux struct {
	Tag     string `json:",omitempty"`
	Digest  string `json:",omitempty"`
	Size    int64  `json:",omitempty"`
	Name    string `json:",omitempty"` // whole, of an image that is here or there now
	ID      string `json:",omitempty"`
	Warning string `json:",omitempty"`
	Kind    string `json:",omitempty"` // of the error that the message has
	Hint    string `json:",omitempty"`
}

// ImageConfig is the configuration of an image.
type ImageConfig struct {
	User         string                  `json:"User"`
	ExposedPorts map[string]struct{}     `json:"ExposedPorts,omitempty"`
	Env          []string                `json:"Env"`
	Cmd          []string                `json:"Cmd"`
	Healthcheck  *container.HealthConfig `json:"Healthcheck,omitempty"`
	ArgsEscaped  bool                    `json:"ArgsEscaped,omitempty"`
	Volumes      map[string]struct{}     `json:"Volumes"`
	WorkingDir   string                  `json:"WorkingDir"`
	Entrypoint   []string                `json:"Entrypoint"`
	OnBuild      []string                `json:"OnBuild"`
	Labels       map[string]string       `json:"Labels"`
	StopSignal   string                  `json:"StopSignal,omitempty"`
	StopTimeout  *int                    `json:"StopTimeout,omitempty"`
	Shell        []string                `json:"Shell,omitempty"`
}

// ImageInspect is an image as the API has it, with what older versions had, and with what the image's manifest says. Its fields hide those of the same name below.
type ImageInspect struct {
	image.InspectResponse
	Comment       string
	Author        string
	Config        ImageConfig
	Parent        string
	DockerVersion string
	VirtualSize   int64
	// Manifest is what this platform has of Descriptor, which the names point to.
	Manifest    ocispec.Descriptor
	Annotations map[string]string `json:",omitempty"`
}

// ImageCheck says how contents are checked.
type ImageCheck struct {
	Quick  bool // names and places only; contents are not hashed
	Repair bool
}

// A Problem is something that is not as it should be.
type Problem struct {
	Object   string
	Text     string
	Repaired bool
}

// ImageReport is what a check of the images found.
type ImageReport struct {
	Blobs    int
	Bytes    int64
	Names    int
	Partials []Partial
	Problems []Problem
}

// A Partial is a content that is not here whole: a pull fetches it, or was stopped.
type Partial struct {
	Digest digest.Digest
	Size   int64 // so far
}

// An ImageMount is an image whose files are shown in a directory.
type ImageMount struct {
	ID     string
	Name   string // one of its names; "": it has none
	Target string
}

// A NameEvent is what happened to the name of an image.
type NameEvent struct {
	When   time.Time
	Action string
	Digest digest.Digest
	Source string
}

// An ImageChange is a file that differs between two images.
type ImageChange struct {
	Kind string // A, D, or C
	Path string
}

// Login is what came of one.
type Login struct {
	registry.AuthResponse
	Tried bool // false: the registry lets everybody look, and has not looked at the password
}

// A Failure is an error on its way to a client that cannot be told by a status any more.
type Failure struct{ Message, Kind, Hint string }

// SystemReport is what a check of the engine found.
type SystemReport struct {
	Healed     []string // what a crash had left, and is gone now
	Containers int
	Images     ImageReport
	Problems   []Problem
}
