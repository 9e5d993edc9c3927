package server

import (
	"net/http"

	"github.com/bulkhead-engine/bulkhead/internal/engine/option"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/moby/moby/api/types/volume"
)

var volumeRoutes = []route{
	{http.MethodGet, "/volumes", (*Server).volumeList},
	{http.MethodPost, "/volumes/create", (*Server).volumeCreate},
	{http.MethodPost, "/volumes/prune", (*Server).volumePrune},
	{http.MethodGet, "/volumes/{name}", (*Server).volumeInspect},
	{http.MethodPut, "/volumes/{name}", (*Server).volumeUpdate},
	{http.MethodDelete, "/volumes/{name}", (*Server).volumeRemove},
}

func (s *Server) volumeList(r *request) error {
	f, err := r.filters()
	if err != nil {
		return err
	}
	out, err := s.Volumes.List(r.Context(), f)
	if err != nil {
		return err
	}
	return r.json(http.StatusOK, out)
}

func (s *Server) volumeCreate(r *request) error {
	var o volume.CreateRequest
	if err := r.body(&o, true); err != nil {
		return err
	}
	out, err := s.Volumes.Create(r.Context(), o)
	if err != nil {
		return err
	}
	return r.json(http.StatusCreated, out)
}

func (s *Server) volumeInspect(r *request) error {
	out, err := s.Volumes.Inspect(r.Context(), r.value("name"))
	if err != nil {
		return err
	}
	return r.json(http.StatusOK, out)
}

func (s *Server) volumeUpdate(*request) error {
	return errdef.Errorf(errdef.Unsupported, "update of a volume: only volumes of a cluster can be changed, and there is none")
}

func (s *Server) volumeRemove(r *request) error {
	if err := s.Volumes.Remove(r.Context(), r.value("name"), r.flag("force")); err != nil {
		return err
	}
	return r.ok(http.StatusNoContent)
}

// volumePrune takes volumes without a name; clients that are older than that mean all.
func (s *Server) volumePrune(r *request) error {
	f, err := r.filters()
	if err != nil {
		return err
	}
	if !r.atLeast(42) {
		if f == nil {
			f = option.Filters{}
		}
		f["all"] = []string{"true"}
	}
	out, err := s.Volumes.Prune(r.Context(), f)
	if err != nil {
		return err
	}
	return r.json(http.StatusOK, out)
}
