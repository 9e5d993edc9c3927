package server

import (
	"encoding/json"
	"io"
	"net/http"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/engine/option"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/api/types/image"
	"github.com/moby/moby/api/types/system"
	"github.com/moby/moby/api/types/volume"
)

var systemRoutes = []route{
	{http.MethodGet, "/_ping", (*Server).ping},
	{http.MethodHead, "/_ping", (*Server).ping},
	{http.MethodGet, "/info", (*Server).info},
	{http.MethodGet, "/version", (*Server).versions},
	{http.MethodGet, "/system/df", (*Server).diskUsage},
	{http.MethodGet, "/events", (*Server).events},
	{http.MethodPost, "/build/prune", (*Server).nothing},
	{http.MethodPost, "/bulkhead/system/check", (*Server).systemCheck},
}

func (s *Server) ping(r *request) error {
	h := r.w.Header()
	h.Set("Cache-Control", "no-cache, no-store, must-revalidate")
	h.Set("Pragma", "no-cache")
	h.Set("Builder-Version", "1")
	h.Set("Swarm", "inactive")
	h.Set("Content-Type", "text/plain; charset=utf-8")
	r.answered = true
	r.w.WriteHeader(http.StatusOK)
	if r.Method != http.MethodHead {
		_, _ = io.WriteString(r.w, "OK")
	}
	return nil
}

func (s *Server) info(r *request) error {
	out, err := s.System.Info(r.Context())
	if err != nil {
		return err
	}
	return r.json(http.StatusOK, out)
}

func (s *Server) versions(r *request) error {
	out, err := s.System.Version(r.Context())
	if err != nil {
		return err
	}
	return r.json(http.StatusOK, out)
}

// usage is what the disk is used for, as versions up to 1.51 have it, and as newer ones do.
type usage struct {
	system.DiskUsage
	LayersSize int64
	Images     []image.Summary
	Containers []container.Summary
	Volumes    []volume.Volume
	BuildCache []struct{} // nothing is built
}

func (s *Server) diskUsage(r *request) error {
	full, err := s.System.DiskUsage(r.Context(), r.params()["type"], true)
	if err != nil {
		return err
	}
	out := usage{DiskUsage: full, Images: []image.Summary{}, Containers: []container.Summary{}, Volumes: []volume.Volume{}, BuildCache: []struct{}{}}
	if u := full.ImageUsage; u != nil {
		out.LayersSize, out.Images = u.TotalSize, append(out.Images, u.Items...)
	}
	if u := full.ContainerUsage; u != nil {
		out.Containers = append(out.Containers, u.Items...)
	}
	if u := full.VolumeUsage; u != nil {
		out.Volumes = append(out.Volumes, u.Items...)
	}
	return r.json(http.StatusOK, out)
}

// moment reads a time of a parameter; the zero one is no bound.
func (r *request) moment(name string) (time.Time, error) {
	text := r.query(name)
	if text == "" || text == "0" && name == "until" {
		return time.Time{}, nil
	}
	at, err := option.ParseTime(text, time.Now())
	if err != nil {
		return at, errdef.Errorf(errdef.Invalid, "parameter %s: %w", name, err)
	}
	return at, nil
}

// events answers with an event a line, until the client goes or the time is over. The status is sent at once: clients wait for it before they do what they want to see.
func (s *Server) events(r *request) error {
	var o option.Events
	var err error
	if o.Since, err = r.moment("since"); err != nil {
		return err
	}
	if o.Until, err = r.moment("until"); err != nil {
		return err
	}
	if o.Filters, err = r.filters(); err != nil {
		return err
	}
	if err := s.System.CheckEvents(o.Filters); err != nil {
		return err
	}
	r.w.Header().Set("Content-Type", "application/json")
	if err := r.begin(http.StatusOK); err != nil {
		return err
	}
	return s.System.Events(r.Context(), o, func(m events.Message) error {
		data, err := json.Marshal(older(&m))
		if err != nil {
			return err
		}
		_, err = flushed{r}.Write(append(data, '\n'))
		return err
	})
}

// older adds the fields that clients of older versions read.
func older(m *events.Message) any {
	out := struct {
		*events.Message
		Status string `json:"status,omitempty"`
		ID     string `json:"id,omitempty"`
		From   string `json:"from,omitempty"`
	}{Message: m}
	if m.Type == events.ContainerEventType || m.Type == events.ImageEventType {
		out.Status, out.ID, out.From = string(m.Action), m.Actor.ID, m.Actor.Attributes["image"]
	}
	return out
}

// nothing answers a prune of what this engine has not: a cache of builds. `docker system prune` asks for it.
func (s *Server) nothing(r *request) error {
	if _, err := r.filters(); err != nil {
		return err
	}
	return r.json(http.StatusOK, struct {
		NetworksDeleted []string
		CachesDeleted   []string
		SpaceReclaimed  uint64
	}{[]string{}, []string{}, 0})
}

func (s *Server) systemCheck(r *request) error {
	out, err := s.System.Check(r.Context(), r.flag("repair"))
	if err != nil {
		return err
	}
	return r.json(http.StatusOK, out)
}
