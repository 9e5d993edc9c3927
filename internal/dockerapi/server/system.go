package server

import (
	"io"
	"net/http"
)

var systemRoutes = []route{
	{http.MethodGet, "/_ping", (*Server).ping},
	{http.MethodHead, "/_ping", (*Server).ping},
}

func (s *Server) ping(r *request) error {
	h := r.w.Header()
	h.Set("Cache-Control", "no-cache, no-store, must-revalidate")
	h.Set("Pragma", "no-cache")
	h.Set("Builder-Version", "1")
	h.Set("Content-Type", "text/plain; charset=utf-8")
	r.answered = true
	r.w.WriteHeader(http.StatusOK)
	if r.Method != http.MethodHead {
		_, _ = io.WriteString(r.w, "OK")
	}
	return nil
}
