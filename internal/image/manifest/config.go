package manifest

import (
	"strings"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/image/reference"
	"github.com/bulkhead-engine/bulkhead/internal/image/strictjson"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// Bounds inside a configuration.
const (
	MaxHistory = 4096      // entries
	MaxWords   = 8192      // entries of Env, Cmd, Entrypoint, Shell, OnBuild, Labels, Volumes, ExposedPorts, each
	MaxWord    = 128 << 10 // bytes of one: what execve takes at most (execve(2), MAX_ARG_STRLEN)
)

// ImageConfig is the configuration of an image: image-spec's type, and what Docker adds to it.
type ImageConfig struct {
	v1.Image
	Docker Docker `json:"-"`
}

// Docker are the fields in `config` that only Docker's images have.
type Docker struct {
	Healthcheck *Healthcheck `json:"Healthcheck,omitempty"`
	OnBuild     []string     `json:"OnBuild,omitempty"`
	Shell       []string     `json:"Shell,omitempty"`
	StopTimeout *int         `json:"StopTimeout,omitempty"` // seconds
}

// Healthcheck is Dockerfile's HEALTHCHECK. Times are in nanoseconds in the document; 0 means the engine's default.
type Healthcheck struct {
	Test          []string      `json:"Test,omitempty"` // NONE; CMD and words; CMD-SHELL and a line
	Interval      time.Duration `json:"Interval,omitempty"`
	Timeout       time.Duration `json:"Timeout,omitempty"`
	StartPeriod   time.Duration `json:"StartPeriod,omitempty"`
	StartInterval time.Duration `json:"StartInterval,omitempty"`
	Retries       int           `json:"Retries,omitempty"`
}

var configNames = []string{
	"created", "author", "architecture", "os", "os.version", "os.features", "variant", "config", "rootfs", "history", "type", "diff_ids", "created_by", "comment",
	"empty_layer", "User", "ExposedPorts", "Env", "Entrypoint", "Cmd", "Volumes", "WorkingDir", "Labels", "StopSignal", "ArgsEscaped", "Healthcheck", "OnBuild",
	"Shell", "StopTimeout", "Test", "Interval", "Timeout", "StartPeriod", "StartInterval", "Retries",
}

func configLimits() strictjson.Limits {
	return strictjson.Limits{
		Bytes: MaxConfig, Depth: MaxDepth, Values: MaxValues, Names: configNames,
		Free: []string{"Labels", "Volumes", "ExposedPorts"},
	}
}

// DecodeConfig reads the configuration of an image.
func DecodeConfig(data []byte, desc v1.Descriptor) (ImageConfig, error) {
	var c ImageConfig
	err := decodeConfig(data, desc, &c)
	if err != nil {
		return ImageConfig{}, errdef.Errorf(errdef.KindOf(err), "image configuration %s: %w", name(desc), err)
	}
	return c, nil
}

func decodeConfig(data []byte, desc v1.Descriptor, c *ImageConfig) error {
	if kind := KindOf(desc.MediaType); kind != Config {
		return unwanted(desc.MediaType, kind, Config)
	}
	if err := Verify(data, desc, MaxConfig); err != nil {
		return err
	}
	if err := strictjson.Decode(data, configLimits(), &c.Image); err != nil {
		return err
	}
	extra := struct {
		Config *Docker `json:"config"`
	}{&c.Docker}
	if err := strictjson.Decode(data, configLimits(), &extra); err != nil {
		return err
	}
	if c.OS == "" || c.Architecture == "" {
		return wrong("it does not say for which os and architecture it is")
	}
	if err := checkPlatform(c.Platform); err != nil {
		return err
	}
	if err := checkRootFS(c.RootFS); err != nil {
		return err
	}
	if n := len(c.History); n > MaxHistory {
		return wrong("a history of %d entries, at most %d", n, MaxHistory)
	}
	if err := checkRun(c.Config); err != nil {
		return err
	}
	return checkDocker(c.Docker)
}

func checkRootFS(r v1.RootFS) error {
	if r.Type != "layers" {
		return wrong("rootfs.type is %q, only layers is known", shorten(r.Type))
	}
	if n := len(r.DiffIDs); n > MaxLayers {
		return wrong("%d diff ids, at most %d", n, MaxLayers)
	}
	for i, d := range r.DiffIDs {
		if err := reference.CheckDigest(d); err != nil {
			return errdef.Errorf(errdef.KindOf(err), "diff_ids[%d]: %w", i, err)
		}
	}
	return nil
}

func checkRun(c v1.ImageConfig) error {
	for field, words := range map[string][]string{
		"Env": c.Env, "Entrypoint": c.Entrypoint, "Cmd": c.Cmd, "User": {c.User}, "WorkingDir": {c.WorkingDir}, "StopSignal": {c.StopSignal},
	} {
		if err := checkWords(field, words); err != nil {
			return err
		}
	}
	for field, n := range map[string]int{"Labels": len(c.Labels), "Volumes": len(c.Volumes), "ExposedPorts": len(c.ExposedPorts)} {
		if n > MaxWords {
			return wrong("%s: %d entries, at most %d", field, n, MaxWords)
		}
	}
	for volume := range c.Volumes {
		if err := checkWords("Volumes", []string{volume}); err != nil {
			return err
		}
	}
	return nil
}

func checkDocker(d Docker) error {
	for field, words := range map[string][]string{"OnBuild": d.OnBuild, "Shell": d.Shell} {
		if err := checkWords(field, words); err != nil {
			return err
		}
	}
	if d.StopTimeout != nil && *d.StopTimeout < -1 {
		return wrong("StopTimeout: %d seconds", *d.StopTimeout)
	}
	h := d.Healthcheck
	if h == nil {
		return nil
	}
	if h.Interval < 0 || h.Timeout < 0 || h.StartPeriod < 0 || h.StartInterval < 0 || h.Retries < 0 {
		return wrong("Healthcheck: a time or a number of retries is negative")
	}
	return checkWords("Healthcheck", h.Test)
}

// checkWords wants strings that the kernel takes.
func checkWords(field string, words []string) error {
	if n := len(words); n > MaxWords {
		return wrong("%s: %d entries, at most %d", field, n, MaxWords)
	}
	for i, word := range words {
		if len(word) > MaxWord {
			return wrong("%s[%d]: %d bytes, at most %d", field, i, len(word), MaxWord)
		}
		if strings.IndexByte(word, 0) >= 0 {
			return wrong("%s[%d]: a zero byte", field, i)
		}
	}
	return nil
}

// CheckPair reports whether the configuration belongs to the manifest: as many diff ids as layers.
func CheckPair(m v1.Manifest, c ImageConfig) error {
	if layers, ids := len(m.Layers), len(c.RootFS.DiffIDs); layers != ids {
		return wrong("manifest with %d layers, configuration %s with %d diff ids", layers, name(m.Config), ids)
	}
	return nil
}
