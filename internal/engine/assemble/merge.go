package assemble

import (
	"maps"
	"slices"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/image/manifest"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
)

// Merge returns the configuration of a container: the request's, and the image's where the request says nothing. An entry point of the request makes the
// image's command void, as Docker has it; labels, ports and volumes add up, and the request's value of a variable wins.
func Merge(c container.Config, image *manifest.ImageConfig) (container.Config, error) {
	if image == nil {
		return c, checkCommand(&c)
	}
	i := &image.Config
	if len(c.Entrypoint) == 0 { // [""] takes the image's away
		if len(c.Cmd) == 0 {
			c.Cmd = slices.Clone(i.Cmd)
		}
		if c.Entrypoint == nil {
			c.Entrypoint = slices.Clone(i.Entrypoint)
		}
	}
	if len(c.Entrypoint) == 1 && c.Entrypoint[0] == "" {
		c.Entrypoint = nil
	}
	if c.User == "" {
		c.User = i.User
	}
	if c.WorkingDir == "" {
		c.WorkingDir = i.WorkingDir
	}
	if c.StopSignal == "" {
		c.StopSignal = i.StopSignal
	}
	if c.StopTimeout == nil {
		c.StopTimeout = image.Docker.StopTimeout
	}
	c.Env = MergeEnv(i.Env, c.Env)
	labels := maps.Clone(i.Labels)
	if labels == nil {
		labels = map[string]string{}
	}
	maps.Copy(labels, c.Labels)
	c.Labels = labels
	for v := range i.Volumes {
		if c.Volumes == nil {
			c.Volumes = map[string]struct{}{}
		}
		c.Volumes[v] = struct{}{}
	}
	for p := range i.ExposedPorts {
		port, err := network.ParsePort(p)
		if err != nil {
			return c, errdef.Errorf(errdef.Invalid, "image: ExposedPorts: %.64q: %w", p, err)
		}
		if c.ExposedPorts == nil {
			c.ExposedPorts = network.PortSet{}
		}
		c.ExposedPorts[port] = struct{}{}
	}
	mergeHealth(&c, image)
	return c, checkCommand(&c)
}

func checkCommand(c *container.Config) error {
	if len(c.Entrypoint)+len(c.Cmd) == 0 {
		err := errdef.Errorf(errdef.Invalid, "no command specified: neither the image nor the command line says what to run")
		return errdef.WithHint(err, "add a command after the image's name")
	}
	return nil
}

// MergeEnv puts the variables of over in the place of those of base that have their names, and the others behind. A name without a value takes the
// variable away.
func MergeEnv(base, over []string) []string {
	out := slices.Clone(base)
	for _, v := range over {
		name, _, assigned := strings.Cut(v, "=")
		at := slices.IndexFunc(out, func(o string) bool { n, _, _ := strings.Cut(o, "="); return n == name })
		switch {
		case at >= 0 && assigned:
			out[at] = v
		case at >= 0:
			out = slices.Delete(out, at, at+1)
		case assigned:
			out = append(out, v)
		}
	}
	return out
}

// mergeHealth takes from the image what the request leaves open of the health check.
func mergeHealth(c *container.Config, image *manifest.ImageConfig) {
	h := image.Docker.Healthcheck
	if h == nil {
		return
	}
	if c.Healthcheck == nil {
		c.Healthcheck = &container.HealthConfig{}
	}
	own := c.Healthcheck
	if len(own.Test) == 0 {
		own.Test = slices.Clone(h.Test)
	}
	if own.Interval == 0 {
		own.Interval = h.Interval
	}
	if own.Timeout == 0 {
		own.Timeout = h.Timeout
	}
	if own.StartPeriod == 0 {
		own.StartPeriod = h.StartPeriod
	}
	if own.StartInterval == 0 {
		own.StartInterval = h.StartInterval
	}
	if own.Retries == 0 {
		own.Retries = h.Retries
	}
}
