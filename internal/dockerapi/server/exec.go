package server

import (
	"context"
	"io"
	"net/http"

	"github.com/bulkhead-engine/bulkhead/internal/engine/option"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/moby/moby/api/types/container"
)

var execRoutes = []route{
	{http.MethodPost, "/containers/{name}/exec", (*Server).execCreate},
	{http.MethodPost, "/exec/{id}/start", (*Server).execStart},
	{http.MethodPost, "/exec/{id}/resize", (*Server).execResize},
	{http.MethodGet, "/exec/{id}/json", (*Server).execInspect},
}

func (s *Server) execCreate(r *request) error {
	var q struct {
		container.ExecCreateRequest
		Cmd command
	}
	if err := r.body(&q, false); err != nil {
		return err
	}
	q.ExecCreateRequest.Cmd = q.Cmd
	if len(q.Cmd) == 0 {
		return errdef.Errorf(errdef.Invalid, "no exec command specified")
	}
	id, err := s.Containers.ExecCreate(r.Context(), r.value("name"), q.ExecCreateRequest)
	if err != nil {
		return err
	}
	return r.json(http.StatusCreated, container.ExecCreateResponse{ID: id})
}

// execStart runs the program. As with Docker, a client that wants the streams gets them first, and then what went wrong in them: the exit code tells which error it is. One of
// ours gets a status.
func (s *Server) execStart(r *request) error {
	var q container.ExecStartRequest
	if err := r.body(&q, true); err != nil {
		return err
	}
	o := option.Exec{Detach: q.Detach, TTY: q.Tty}
	if q.ConsoleSize != nil {
		o.Height, o.Width = uint16(min(q.ConsoleSize[0], 1<<16-1)), uint16(min(q.ConsoleSize[1], 1<<16-1))
	}
	if q.Detach {
		if err := r.started(s.Containers.ExecStart(r.Context(), r.value("id"), o, nil)); err != nil {
			return err
		}
		return r.ok(http.StatusOK)
	}
	return r.hijacked(r.hijack, func(ctx context.Context, open option.Open) error {
		err := s.Containers.ExecStart(ctx, r.value("id"), o, open)
		if err == nil || r.answered || r.ours() || !option.IsNotStarted(err) {
			return err
		}
		streams, oerr := open(q.Tty)
		if oerr != nil {
			return oerr
		}
		_, _ = io.WriteString(streams.Out, err.Error()+"\r\n")
		return nil
	})
}

func (s *Server) execResize(r *request) error {
	h, w, err := r.size()
	if err != nil {
		return err
	}
	if err := s.Containers.ExecResize(r.Context(), r.value("id"), h, w); err != nil {
		return err
	}
	return r.ok(http.StatusOK)
}

func (s *Server) execInspect(r *request) error {
	e, err := s.Containers.ExecInspect(r.Context(), r.value("id"))
	if err != nil {
		return err
	}
	return r.json(http.StatusOK, e)
}
