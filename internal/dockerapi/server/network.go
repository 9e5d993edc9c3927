package server

import (
	"net/http"

	"github.com/moby/moby/api/types/network"
)

var networkRoutes = []route{
	{http.MethodGet, "/networks", (*Server).networkList},
	{http.MethodPost, "/networks/create", (*Server).networkCreate},
	{http.MethodPost, "/networks/prune", (*Server).networkPrune},
	{http.MethodGet, "/networks/{name}", (*Server).networkInspect},
	{http.MethodDelete, "/networks/{name}", (*Server).networkRemove},
	{http.MethodPost, "/networks/{name}/connect", (*Server).networkConnect},
	{http.MethodPost, "/networks/{name}/disconnect", (*Server).networkDisconnect},
}

func (s *Server) networkList(r *request) error {
	f, err := r.filters()
	if err != nil {
		return err
	}
	out, err := s.Networks.List(r.Context(), f)
	if err != nil {
		return err
	}
	return r.json(http.StatusOK, out)
}

func (s *Server) networkCreate(r *request) error {
	var q network.CreateRequest
	if err := r.body(&q, true); err != nil {
		return err
	}
	out, err := s.Networks.Create(r.Context(), q)
	if err != nil {
		return err
	}
	return r.json(http.StatusCreated, out)
}

func (s *Server) networkInspect(r *request) error {
	out, err := s.Networks.Inspect(r.Context(), r.value("name"))
	if err != nil {
		return err
	}
	return r.json(http.StatusOK, out)
}

func (s *Server) networkRemove(r *request) error {
	if err := s.Networks.Remove(r.Context(), r.value("name")); err != nil {
		return err
	}
	return r.ok(http.StatusNoContent)
}

func (s *Server) networkPrune(r *request) error {
	f, err := r.filters()
	if err != nil {
		return err
	}
	out, err := s.Networks.Prune(r.Context(), f)
	if err != nil {
		return err
	}
	return r.json(http.StatusOK, out)
}

func (s *Server) networkConnect(r *request) error {
	var q network.ConnectRequest
	if err := r.body(&q, true); err != nil {
		return err
	}
	if err := s.Networks.Connect(r.Context(), r.value("name"), q); err != nil {
		return err
	}
	return r.ok(http.StatusOK)
}

func (s *Server) networkDisconnect(r *request) error {
	var q network.DisconnectRequest
	if err := r.body(&q, true); err != nil {
		return err
	}
	if err := s.Networks.Disconnect(r.Context(), r.value("name"), q); err != nil {
		return err
	}
	return r.ok(http.StatusOK)
}
