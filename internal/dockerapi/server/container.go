package server

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/engine/option"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

var containerRoutes = []route{
	{http.MethodPost, "/containers/create", (*Server).containerCreate},
	{http.MethodGet, "/containers/json", (*Server).containerList},
	{http.MethodPost, "/containers/prune", (*Server).containerPrune},
	{http.MethodPost, "/commit", (*Server).containerCommit},
	{http.MethodGet, "/containers/{name}/json", (*Server).containerInspect},
	{http.MethodPost, "/containers/{name}/start", (*Server).containerStart},
	{http.MethodPost, "/containers/{name}/stop", (*Server).containerStop},
	{http.MethodPost, "/containers/{name}/restart", (*Server).containerRestart},
	{http.MethodPost, "/containers/{name}/kill", (*Server).containerKill},
	{http.MethodPost, "/containers/{name}/pause", (*Server).containerPause},
	{http.MethodPost, "/containers/{name}/unpause", (*Server).containerUnpause},
	{http.MethodPost, "/containers/{name}/rename", (*Server).containerRename},
	{http.MethodPost, "/containers/{name}/update", (*Server).containerUpdate},
	{http.MethodPost, "/containers/{name}/resize", (*Server).containerResize},
	{http.MethodPost, "/containers/{name}/wait", (*Server).containerWait},
	{http.MethodPost, "/containers/{name}/attach", (*Server).containerAttach},
	{http.MethodGet, "/containers/{name}/attach/ws", (*Server).containerAttachWebsocket},
	{http.MethodGet, "/containers/{name}/logs", (*Server).containerLogs},
	{http.MethodGet, "/containers/{name}/top", (*Server).containerTop},
	{http.MethodGet, "/containers/{name}/stats", (*Server).containerStats},
	{http.MethodGet, "/containers/{name}/changes", (*Server).containerChanges},
	{http.MethodGet, "/containers/{name}/export", (*Server).containerExport},
	{http.MethodHead, "/containers/{name}/archive", (*Server).archiveStat},
	{http.MethodGet, "/containers/{name}/archive", (*Server).archiveGet},
	{http.MethodPut, "/containers/{name}/archive", (*Server).archivePut},
	{http.MethodDelete, "/containers/{name}", (*Server).containerRemove},
}

// A command is a list of words, for which Docker takes a single one as it is.
type command []string

// UnmarshalJSON reads either.
func (c *command) UnmarshalJSON(data []byte) error {
	if len(data) == 0 || data[0] != '"' {
		return json.Unmarshal(data, (*[]string)(c))
	}
	var one string
	if err := json.Unmarshal(data, &one); err != nil {
		return err
	}
	*c = command{one}
	return nil
}

// createRequest is the body of a creation: container.CreateRequest, but for the commands.
type createRequest struct {
	*container.Config
	Entrypoint       command
	Cmd              command
	Shell            command
	HostConfig       *container.HostConfig
	NetworkingConfig *network.NetworkingConfig
	Bulkhead         *extra
}

// extra is what Docker has no field for.
type extra struct {
	Secrets        []option.Secret
	UIDMap, GIDMap []string
	MountOptions   map[string][]string
	Rootfs         string
}

// option returns what is asked for. Clients of Docker send a limit of no processes at all when they mean that they say nothing of it.
func (q *createRequest) option(ours bool) (option.Create, error) {
	var o option.Create
	if q.Config == nil {
		return o, errdef.Errorf(errdef.Invalid, "config cannot be empty in order to create a container")
	}
	o.Config = *q.Config
	o.Config.Entrypoint, o.Config.Cmd, o.Config.Shell = q.Entrypoint, q.Cmd, q.Shell
	if q.HostConfig != nil {
		o.Host = *q.HostConfig
		if n := o.Host.PidsLimit; n != nil && *n == 0 && !ours {
			o.Host.PidsLimit = nil
		}
	}
	if q.Bulkhead != nil {
		b := q.Bulkhead
		o.Secrets, o.UIDMap, o.GIDMap, o.MountOptions, o.Rootfs = b.Secrets, b.UIDMap, b.GIDMap, b.MountOptions, b.Rootfs
	}
	if q.NetworkingConfig != nil {
		o.Networking = *q.NetworkingConfig
	}
	return o, nil
}

// creation reads the body and the parameters of a request for a container.
func (r *request) creation() (option.Create, error) {
	var q createRequest
	if err := r.body(&q, false); err != nil {
		return option.Create{}, err
	}
	o, err := q.option(r.ours())
	if err != nil {
		return o, err
	}
	o.Name = strings.TrimPrefix(r.query("name"), "/")
	o.Platform, err = platform(r.query("platform"))
	return o, err
}

func (s *Server) containerCreate(r *request) error {
	o, err := r.creation()
	if err != nil {
		return err
	}
	done, err := s.Containers.Create(r.Context(), o)
	if err != nil {
		return err
	}
	if done.Warnings == nil {
		done.Warnings = []string{}
	}
	return r.json(http.StatusCreated, done)
}

// platform reads os/arch[/variant], or the same in JSON.
func platform(text string) (*ocispec.Platform, error) {
	if text == "" {
		return nil, nil
	}
	var p ocispec.Platform
	if strings.HasPrefix(text, "{") {
		if err := json.Unmarshal([]byte(text), &p); err != nil {
			return nil, errdef.Errorf(errdef.Invalid, "parameter platform: %w", err)
		}
		return &p, nil
	}
	parts := strings.Split(strings.ToLower(text), "/")
	if len(parts) > 3 || parts[0] == "" || parts[len(parts)-1] == "" {
		return nil, errdef.Errorf(errdef.Invalid, "parameter platform: %.64q: wants os/architecture[/variant]", text)
	}
	p.OS = parts[0]
	if len(parts) > 1 {
		p.Architecture = parts[1]
	}
	if len(parts) > 2 {
		p.Variant = parts[2]
	}
	return &p, nil
}

func (s *Server) containerList(r *request) error {
	f, err := r.filters()
	if err != nil {
		return err
	}
	limit, err := r.number("limit", 0)
	if err != nil {
		return err
	}
	list, err := s.Containers.List(r.Context(), option.List{All: r.flag("all"), Limit: max(limit, 0), Size: r.flag("size"), Filters: f})
	if err != nil {
		return err
	}
	if list == nil {
		list = []container.Summary{}
	}
	return r.json(http.StatusOK, list)
}

func (s *Server) containerInspect(r *request) error {
	c, err := s.Containers.Inspect(r.Context(), r.value("name"), r.flag("size"))
	if err != nil {
		return err
	}
	return r.json(http.StatusOK, c)
}

// containerStart takes no configuration: the API had one once, and refuses it since 1.24.
func (s *Server) containerStart(r *request) error {
	if r.ContentLength > 7 { // {} and null may come
		return errdef.Errorf(errdef.Invalid, "starting container with non-empty request body was deprecated since API v1.22 and removed in v1.24")
	}
	return r.changed(r.started(s.Containers.Start(r.Context(), r.value("name"))))
}

// changed is done for what may be so already: that is 304.
func (r *request) changed(err error) error {
	if errdef.Is(err, errdef.Exists) {
		return r.ok(http.StatusNotModified)
	}
	return r.done(err)
}

// done answers without a body.
func (r *request) done(err error) error {
	if err != nil {
		return err
	}
	return r.ok(http.StatusNoContent)
}

// stop reads how a container is to be stopped.
func (r *request) stop() (o option.Stop, err error) {
	o.Signal = r.query("signal")
	if r.query("t") != "" {
		n, err := r.number("t", 0)
		if err != nil {
			return o, err
		}
		d := time.Duration(n) * time.Second
		o.Timeout = &d
	}
	return o, nil
}

func (s *Server) containerStop(r *request) error {
	o, err := r.stop()
	if err != nil {
		return err
	}
	return r.changed(s.Containers.Stop(r.Context(), r.value("name"), o))
}

func (s *Server) containerRestart(r *request) error {
	o, err := r.stop()
	if err != nil {
		return err
	}
	return r.done(r.started(s.Containers.Restart(r.Context(), r.value("name"), o)))
}

func (s *Server) containerKill(r *request) error {
	return r.done(s.Containers.Kill(r.Context(), r.value("name"), r.query("signal")))
}

func (s *Server) containerPause(r *request) error {
	return r.done(s.Containers.Pause(r.Context(), r.value("name")))
}

func (s *Server) containerUnpause(r *request) error {
	return r.done(s.Containers.Unpause(r.Context(), r.value("name")))
}

func (s *Server) containerRename(r *request) error {
	return r.done(s.Containers.Rename(r.Context(), r.value("name"), r.query("name")))
}

func (s *Server) containerUpdate(r *request) error {
	var u container.UpdateConfig
	if err := r.body(&u, false); err != nil {
		return err
	}
	done, err := s.Containers.Update(r.Context(), r.value("name"), u)
	if err != nil {
		return err
	}
	return r.json(http.StatusOK, done)
}

func (s *Server) containerRemove(r *request) error {
	if r.flag("link") {
		return errdef.Errorf(errdef.Unsupported, "link: links were Docker's before there were networks with names")
	}
	return r.done(s.Containers.Remove(r.Context(), r.value("name"), option.Remove{Force: r.flag("force"), Volumes: r.flag("v")}))
}

func (s *Server) containerTop(r *request) error {
	top, err := s.Containers.Top(r.Context(), r.value("name"), r.query("ps_args"))
	if err != nil {
		return err
	}
	return r.json(http.StatusOK, top)
}

func (s *Server) containerChanges(r *request) error {
	list, err := s.Containers.Changes(r.Context(), r.value("name"))
	if err != nil {
		return err
	}
	return r.json(http.StatusOK, list) // null without changes, as Docker has it
}

func (s *Server) containerPrune(r *request) error {
	f, err := r.filters()
	if err != nil {
		return err
	}
	report, err := s.Containers.Prune(r.Context(), f)
	if err != nil {
		return err
	}
	return r.json(http.StatusOK, report)
}

func (s *Server) containerCommit(r *request) error {
	var config container.Config
	if err := r.body(&config, true); err != nil {
		return err
	}
	o := option.Commit{
		Container: r.query("container"), Author: r.query("author"), Comment: r.query("comment"), Changes: r.params()["changes"],
		NoPause: r.query("pause") != "" && !r.flag("pause"),
	}
	if r.ContentLength != 0 {
		o.Config = &config
	}
	if repo := r.query("repo"); repo != "" {
		if o.Ref = repo; r.query("tag") != "" {
			o.Ref += ":" + r.query("tag")
		}
	}
	id, err := s.Containers.Commit(r.Context(), o)
	if err != nil {
		return err
	}
	return r.json(http.StatusCreated, container.CommitResponse{ID: id})
}

// size reads the parameters of a terminal's size.
func (r *request) size() (height, width uint16, err error) {
	var out [2]uint16
	for i, key := range []string{"h", "w"} {
		n, err := strconv.ParseUint(r.query(key), 10, 16)
		if err != nil {
			return 0, 0, errdef.Errorf(errdef.Invalid, "parameter %s: %.32q: wants a number from 0 to 65535", key, r.query(key))
		}
		out[i] = uint16(n)
	}
	return out[0], out[1], nil
}

func (s *Server) containerResize(r *request) error {
	h, w, err := r.size()
	if err != nil {
		return err
	}
	if err := s.Containers.Resize(r.Context(), r.value("name"), h, w); err != nil {
		return err
	}
	return r.ok(http.StatusOK)
}
