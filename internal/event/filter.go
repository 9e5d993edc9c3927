package event

import (
	"slices"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/moby/moby/api/types/events"
)

// A Filter says which events are wanted, as Docker's does: those that have, for each key, one of its values; of labels, all. Keys of objects (container, image, network, volume,
// daemon ...) take the beginning of an id or of a name.
type Filter map[string][]string

// keys are those that there are.
var keys = []string{"config", "container", "daemon", "event", "image", "label", "network", "node", "plugin", "scope", "secret", "service", "type", "volume"}

// Check refuses a key that there is not.
func (f Filter) Check() error {
	for k := range f {
		if !slices.Contains(keys, k) {
			return errdef.WithHint(errdef.Errorf(errdef.Invalid, "invalid filter '%.64s'", k), strings.Join(keys, ", "))
		}
	}
	return nil
}

// Match reports whether an event is wanted.
func (f Filter) Match(m *events.Message) bool {
	for key, values := range f {
		if len(values) > 0 && !match(key, values, m) {
			return false
		}
	}
	return true
}

func match(key string, values []string, m *events.Message) bool {
	a := m.Actor.Attributes
	switch key {
	case "type":
		return slices.Contains(values, string(m.Type))
	case "scope":
		return slices.Contains(values, m.Scope)
	case "event":
		return slices.ContainsFunc(values, func(v string) bool {
			return string(m.Action) == v || prefixed(v) && strings.HasPrefix(string(m.Action), v)
		})
	case "label":
		return !slices.ContainsFunc(values, func(v string) bool {
			name, value, both := strings.Cut(v, "=")
			has, ok := a[name]
			return !ok || both && has != value
		})
	case "image":
		name := a["image"]
		if m.Type == events.ImageEventType {
			name = a["name"]
		}
		return slices.ContainsFunc(values, func(v string) bool {
			return v == m.Actor.ID || v == name || v == untagged(m.Actor.ID) || v == untagged(name)
		})
	case "container": // an event of a network or a volume names its container as an attribute
		return named(values, m.Actor.ID, a["name"]) && m.Type == events.ContainerEventType || a["container"] != "" && named(values, a["container"])
	}
	return string(m.Type) == key && named(values, m.Actor.ID, a["name"])
}

// prefixed are the actions that are followed by a colon and more.
func prefixed(v string) bool {
	return slices.Contains([]string{"health_status", "exec_create", "exec_start"}, v)
}

// named reports whether one of the values begins one of the names.
func named(values []string, names ...string) bool {
	return slices.ContainsFunc(values, func(v string) bool {
		return slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(n, v) && v != "" })
	})
}

// untagged is the name of an image without its tag.
func untagged(name string) string {
	if at := strings.LastIndexByte(name, ':'); at > strings.LastIndexByte(name, '/') {
		return name[:at]
	}
	return name
}
