package network

import (
	"strings"
	"testing"
)

// TestEvents: what happens to networks is told, in its order, with the container that it is about.
func TestEvents(t *testing.T) {
	h := newHost(t)
	h.bh("network", "create", "front")
	h.run("web", "--network", "front")
	id := h.bh("inspect", "-f", "{{.Id}}", "web")
	h.bh("network", "connect", "bridge", "web")
	h.bh("network", "disconnect", "bridge", "web")
	h.bh("rm", "-f", "web")
	h.bh("network", "rm", "front")
	var got []string
	for line := range strings.Lines(h.bh("events", "--since", "1", "--until", "0s", "--filter", "type=network", "--format", "{{.Action}} {{.Actor.Attributes.name}} {{index .Actor.Attributes \"container\"}}")) {
		words := strings.Fields(line)
		if len(words) == 3 && words[2] == id {
			words[2] = "web"
		}
		got = append(got, strings.Join(words, " "))
	}
	if want := "create front, connect front web, connect bridge web, disconnect bridge web, disconnect front web, destroy front"; strings.Join(got, ", ") != want {
		t.Errorf("%q, want %q", got, want)
	}
}
