package server

import (
	"context"
	"net/http"

	"github.com/bulkhead-engine/bulkhead/internal/engine/explain"
	"github.com/bulkhead-engine/bulkhead/internal/engine/option"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/network/refusal"
	"github.com/bulkhead-engine/bulkhead/internal/verify"
)

// Confinement is what containers answer besides, if they can: what confines them, and whether it does.
type Confinement interface {
	// Verify compares a running container with what it was started with.
	Verify(ctx context.Context, name string) (*verify.Report, error)
	// VerifyStopped reads filters, too, for which each process is stopped for a moment.
	VerifyStopped(ctx context.Context, name string) (*verify.Report, error)
	// Explain tells what confines a container, ExplainCreate what would confine one that is not made.
	Explain(ctx context.Context, name string) (*explain.Explanation, error)
	ExplainCreate(ctx context.Context, o option.Create) (*explain.Explanation, error)
	// Refused tells what networks have refused to a container, the oldest first.
	Refused(ctx context.Context, name string) ([]refusal.Record, error)
}

var confinementRoutes = []route{
	{http.MethodGet, "/bulkhead/containers/{name}/verify", (*Server).containerVerify},
	{http.MethodGet, "/bulkhead/containers/{name}/explain", (*Server).containerExplain},
	{http.MethodGet, "/bulkhead/containers/{name}/refused", (*Server).containerRefused},
	{http.MethodPost, "/bulkhead/explain", (*Server).explain},
}

// confinement returns the service, opened if it must be.
func (s *Server) confinement() (Confinement, error) {
	c := s.Containers
	if c == nil && s.OpenContainers != nil {
		var err error
		if c, err = s.OpenContainers(); err != nil {
			return nil, err
		}
	}
	if asked, ok := c.(Confinement); ok {
		return asked, nil
	}
	return nil, errdef.Errorf(errdef.Unsupported, "verify, explain: this engine has no such service")
}

func (s *Server) containerVerify(r *request) error {
	c, err := s.confinement()
	if err != nil {
		return err
	}
	ask := c.Verify
	if r.flag("stop") {
		ask = c.VerifyStopped
	}
	report, err := ask(r.Context(), r.value("name"))
	if err != nil {
		return err
	}
	return r.json(http.StatusOK, report)
}

func (s *Server) containerExplain(r *request) error {
	c, err := s.confinement()
	if err != nil {
		return err
	}
	e, err := c.Explain(r.Context(), r.value("name"))
	if err != nil {
		return err
	}
	return r.json(http.StatusOK, e)
}

func (s *Server) containerRefused(r *request) error {
	c, err := s.confinement()
	if err != nil {
		return err
	}
	list, err := c.Refused(r.Context(), r.value("name"))
	if err != nil {
		return err
	}
	return r.json(http.StatusOK, append([]refusal.Record{}, list...))
}

// explain takes the body of a creation.
func (s *Server) explain(r *request) error {
	c, err := s.confinement()
	if err != nil {
		return err
	}
	o, err := r.creation()
	if err != nil {
		return err
	}
	e, err := c.ExplainCreate(r.Context(), o)
	if err != nil {
		return err
	}
	return r.json(http.StatusOK, e)
}
