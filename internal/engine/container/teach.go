package container

import (
	"context"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/engine/explain"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
)

// teach says of a start that failed in one of the runtime's steps which layer of the container that was, and which flag, level or image asked for it.
func (s *Service) teach(ctx context.Context, c *Container, err error) error {
	if err == nil {
		return nil
	}
	if why := s.deniedSource(&c.Record); why != "" && errdef.Is(err, errdef.Denied) {
		return errdef.WithHint(err, strings.TrimPrefix(errdef.Hint(err)+"; "+why, "; "))
	}
	result, failed := s.assemble(ctx, &c.Record, "/", nil)
	if failed != nil {
		return err
	}
	part, ok := explain.Layer(&explain.Input{Config: c.Config, Host: c.Host, Points: s.points(&c.Record), Facts: host(&c.Record), Result: result}, err.Error())
	if !ok || part.Origin == "runtime" || part.Origin == "" {
		return err
	}
	hint := "this was for " + part.What + ", from " + part.Origin
	if own := errdef.Hint(err); own != "" {
		hint = own + "; " + hint
	}
	return errdef.WithHint(err, hint)
}
