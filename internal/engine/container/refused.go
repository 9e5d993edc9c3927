package container

import (
	"context"

	"github.com/bulkhead-engine/bulkhead/internal/network/refusal"
)

// Refused tells what networks have refused to a container since it was started, the oldest first.
func (s *Service) Refused(_ context.Context, name string) ([]refusal.Record, error) {
	c, err := s.Get(name)
	if err != nil {
		return nil, err
	}
	return refusal.Read(s.runDir(c.ID))
}
