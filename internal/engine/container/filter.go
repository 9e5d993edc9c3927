package container

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/engine/option"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/image"
	"github.com/bulkhead-engine/bulkhead/internal/monitor/control"
	api "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/opencontainers/go-digest"
)

// A matcher is a set of filters of a list: of each, one value must hold, and of label all.
type matcher struct {
	tests []func(*view) bool
}

func (m *matcher) matches(v *view) bool {
	return !slices.ContainsFunc(m.tests, func(test func(*view) bool) bool { return !test(v) })
}

// any adds a filter that holds if it does for one of some values.
func (m *matcher) any(values []string, holds func(v *view, value string) bool) {
	m.tests = append(m.tests, func(v *view) bool {
		return slices.ContainsFunc(values, func(value string) bool { return holds(v, value) })
	})
}

const maxPattern = 1024 // bytes of a regular expression of a client

// matcher reads Docker's filters of a list.
func (s *Service) matcher(f option.Filters) (*matcher, error) {
	m := &matcher{}
	for key, values := range f {
		if len(values) == 0 {
			continue
		}
		var err error
		switch key {
		case "id", "name":
			err = m.pattern(key, values)
		case "before", "since":
			err = s.relative(m, key, values)
		case "ancestor":
			s.ancestor(m, values)
		case "exited", "status", "health", "expose", "is-task":
			err = m.checked(key, values)
		case "label":
			m.tests = append(m.tests, func(v *view) bool {
				return !slices.ContainsFunc(values, func(l string) bool { return !labelled(&v.Record, l) })
			})
		case "label!":
			m.any(values, func(v *view, l string) bool { return !labelled(&v.Record, l) })
		case "volume":
			m.any(values, func(v *view, volume string) bool {
				return slices.ContainsFunc(v.mounts(), func(p api.MountPoint) bool { return p.Name == volume || p.Source == volume || p.Destination == volume })
			})
		case "network":
			m.any(values, func(v *view, name string) bool {
				return v.networkMode() == name || slices.ContainsFunc(v.Networks, func(j Joined) bool { return j.Name == name || strings.HasPrefix(j.ID, name) })
			})
		case "publish":
			m.any(values, func(v *view, text string) bool {
				want, err := network.ParsePortRange(text)
				return err == nil && slices.ContainsFunc(v.portList(), func(p api.PortSummary) bool {
					return p.PublicPort > 0 && p.Type == string(want.Proto()) && p.PublicPort >= want.Start() && p.PublicPort <= want.End()
				})
			})
		default:
			return nil, errdef.Errorf(errdef.Invalid, "invalid filter '%.64s'", key)
		}
		if err != nil {
			return nil, err
		}
	}
	return m, nil
}

// pattern matches ids and names by regular expressions, as Docker does: whose simplest form is a part of the text.
func (m *matcher) pattern(key string, values []string) error {
	var list []*regexp.Regexp
	for _, v := range values {
		if len(v) > maxPattern {
			return errdef.Errorf(errdef.Invalid, "filter %s: longer than %d bytes", key, maxPattern)
		}
		r, err := regexp.Compile(v)
		if err != nil {
			return errdef.Errorf(errdef.Invalid, "filter %s: %w", key, err)
		}
		list = append(list, r)
	}
	m.tests = append(m.tests, func(v *view) bool {
		return slices.ContainsFunc(list, func(r *regexp.Regexp) bool {
			if key == "id" {
				return r.MatchString(v.ID)
			}
			return r.MatchString("/"+v.Name) || r.MatchString(v.Name)
		})
	})
	return nil
}

// relative compares with the time at which other containers were made.
func (s *Service) relative(m *matcher, key string, values []string) error {
	var times []time.Time
	for _, name := range values {
		id, err := s.Resolve(name)
		if err != nil {
			return err
		}
		r, err := s.read(id)
		if err != nil {
			return err
		}
		times = append(times, r.Created)
	}
	m.tests = append(m.tests, func(v *view) bool {
		return slices.ContainsFunc(times, func(t time.Time) bool {
			if key == "before" {
				return v.Created.Before(t)
			}
			return v.Created.After(t)
		})
	})
	return nil
}

// ancestor matches containers of an image, and of those that were made from it: whose lowest layers are all of its.
func (s *Service) ancestor(m *matcher, values []string) {
	var list []*image.Image
	for _, name := range values {
		if img, err := s.o.Images.Find(name, nil); err == nil {
			list = append(list, img)
		}
	}
	layers := map[digest.Digest][]digest.Digest{}
	of := func(id digest.Digest) []digest.Digest {
		have, ok := layers[id]
		if !ok {
			if img, err := s.o.Images.Find(id.String(), nil); err == nil {
				have = img.Config.RootFS.DiffIDs
			}
			layers[id] = have
		}
		return have
	}
	m.tests = append(m.tests, func(v *view) bool {
		return slices.ContainsFunc(list, func(img *image.Image) bool {
			if img.ID == v.Image {
				return true
			}
			lower, all := img.Config.RootFS.DiffIDs, of(v.Image)
			return len(lower) > 0 && len(all) >= len(lower) && slices.Equal(lower, all[:len(lower)])
		})
	})
}

// checked are filters whose values are few.
func (m *matcher) checked(key string, values []string) error {
	for _, v := range values {
		if err := valid(key, v); err != nil {
			return errdef.Errorf(errdef.Invalid, "filter %s: %w", key, err)
		}
	}
	switch key {
	case "exited":
		m.any(values, func(v *view, code string) bool {
			return v.State.Phase == control.Exited && strconv.Itoa(v.State.ExitCode) == code
		})
	case "status":
		m.any(values, func(v *view, status string) bool { return string(v.status()) == status })
	case "is-task":
		m.any(values, func(_ *view, yes string) bool { on, _ := strconv.ParseBool(yes); return !on }) // tasks are Swarm's
	case "health":
		m.any(values, func(v *view, health string) bool {
			if v.health == nil {
				return health == string(api.NoHealthcheck)
			}
			return health == string(v.health.Status)
		})
	case "expose":
		m.any(values, func(v *view, text string) bool {
			r, _ := network.ParsePortRange(text)
			for p := range r.All() {
				if _, ok := v.Config.ExposedPorts[p]; ok {
					return true
				}
			}
			return false
		})
	}
	return nil
}

// valid checks a value of a filter.
func valid(key, value string) error {
	var err error
	switch key {
	case "exited":
		_, err = strconv.Atoi(value)
	case "status":
		err = api.ValidateContainerState(api.ContainerState(value))
	case "health":
		err = api.ValidateHealthStatus(api.HealthStatus(strings.ToLower(value)))
	case "is-task":
		_, err = strconv.ParseBool(value)
	case "expose":
		_, err = network.ParsePortRange(value)
	}
	return err
}
