package cli

import (
	"context"
	"encoding/json"
	"net/url"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/cli/progress"
	"github.com/bulkhead-engine/bulkhead/internal/dockerapi/client"
	"github.com/bulkhead-engine/bulkhead/internal/engine/option"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/moby/moby/api/types/jsonstream"
)

// follow sends a request whose answer are messages. What moves is shown; what is for programs is given to aux, but warnings, which are told.
func (p *program) follow(ctx context.Context, q client.Request, show func(progress.Event), aux func(json.RawMessage) error) error {
	c, err := p.engine()
	if err != nil {
		return err
	}
	return c.Messages(ctx, q, func(m jsonstream.Message) error {
		if m.Aux != nil {
			var a option.Aux
			if err := json.Unmarshal(*m.Aux, &a); err == nil && a.Warning != "" {
				p.warn(a.Warning)
				return nil
			}
			if aux == nil {
				return nil
			}
			return aux(*m.Aux)
		}
		if m.Stream != "" {
			m.Status, m.ID = strings.TrimSuffix(m.Stream, "\n"), ""
			if show == nil {
				return p.printOthers(m.Status)
			}
		}
		if show != nil {
			e := progress.Event{ID: m.ID, Action: m.Status}
			if m.Progress != nil {
				e.Current, e.Total = m.Progress.Current, m.Progress.Total
			}
			show(e)
		}
		return nil
	})
}

// results takes what a message says to programs.
func results(take func(option.Aux) error) func(json.RawMessage) error {
	return func(data json.RawMessage) error {
		var a option.Aux
		if err := json.Unmarshal(data, &a); err != nil {
			return errdef.Errorf(errdef.Internal, "message of the engine: %w", err)
		}
		return take(a)
	}
}

// imagePath is the path of a request about an image.
func imagePath(name, rest string) string { return "/images/" + escape(name) + rest }

// escape is a name of an image in a path: its slashes stay.
func escape(name string) string {
	parts := strings.Split(name, "/")
	for i := range parts {
		parts[i] = url.PathEscape(parts[i])
	}
	return strings.Join(parts, "/")
}
