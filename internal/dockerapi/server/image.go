package server

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/engine/option"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/moby/moby/api/types/registry"
)

var imageRoutes = []route{
	{http.MethodGet, "/images/json", (*Server).imageList},
	{http.MethodPost, "/images/create", (*Server).imageCreate},
	{http.MethodPost, "/images/load", (*Server).imageLoad},
	{http.MethodPost, "/images/prune", (*Server).imagePrune},
	{http.MethodGet, "/images/search", (*Server).imageSearch},
	{http.MethodGet, "/images/get", (*Server).imageSaveMany},
	{http.MethodGet, "/images/{name...}/get", (*Server).imageSave},
	{http.MethodGet, "/images/{name...}/json", (*Server).imageInspect},
	{http.MethodGet, "/images/{name...}/history", (*Server).imageHistory},
	{http.MethodPost, "/images/{name...}/push", (*Server).imagePush},
	{http.MethodPost, "/images/{name...}/tag", (*Server).imageTag},
	{http.MethodDelete, "/images/{name...}", (*Server).imageRemove},
	{http.MethodGet, "/distribution/{name...}/json", (*Server).distribution},
	{http.MethodPost, "/auth", (*Server).auth},
	{http.MethodPost, "/build", (*Server).build},
	{http.MethodPost, "/bulkhead/images/check", (*Server).imageCheck},
	{http.MethodGet, "/bulkhead/images/mounts", (*Server).imageMounts},
	{http.MethodPost, "/bulkhead/images/{name...}/mount", (*Server).imageMount},
	{http.MethodPost, "/bulkhead/images/{name...}/unmount", (*Server).imageUnmount},
	{http.MethodGet, "/bulkhead/images/{name...}/changes", (*Server).imageChanges},
	{http.MethodGet, "/bulkhead/images/{name...}/names", (*Server).imageNames},
}

func (s *Server) imageList(r *request) error {
	f, err := r.filters()
	if err != nil {
		return err
	}
	if old := r.query("filter"); old != "" && !r.atLeast(41) { // before filters had reference
		if f == nil {
			f = option.Filters{}
		}
		f["reference"] = append(f["reference"], old)
	}
	list, err := s.Images.List(r.Context(), f, r.flag("shared-size"))
	if err != nil {
		return err
	}
	if !r.atLeast(43) {
		for i := range list { // as older versions write what has no name
			if len(list[i].RepoTags)+len(list[i].RepoDigests) == 0 {
				list[i].RepoTags, list[i].RepoDigests = []string{"<none>:<none>"}, []string{"<none>@<none>"}
			}
		}
	}
	return r.json(http.StatusOK, list)
}

func (s *Server) imageInspect(r *request) error {
	p, err := platform(r.query("platform"))
	if err != nil {
		return err
	}
	out, err := s.Images.Inspect(r.Context(), r.value("name"), p)
	if err != nil {
		return err
	}
	return r.json(http.StatusOK, out)
}

func (s *Server) imageHistory(r *request) error {
	p, err := platform(r.query("platform"))
	if err != nil {
		return err
	}
	out, err := s.Images.History(r.Context(), r.value("name"), p)
	if err != nil {
		return err
	}
	return r.json(http.StatusOK, out)
}

func (s *Server) imageTag(r *request) error {
	ref := r.query("repo")
	if tag := r.query("tag"); tag != "" {
		ref += ":" + tag
	}
	if err := s.Images.Tag(r.Context(), r.value("name"), ref); err != nil {
		return err
	}
	return r.ok(http.StatusCreated)
}

// imageRemove has the force of Docker's: an id with several names is refused without it. What was taken before an error is told by events.
func (s *Server) imageRemove(r *request) error {
	if p := r.params()["platforms"]; len(p) > 0 {
		return errdef.WithHint(errdef.Errorf(errdef.Unsupported, "parameter platforms: an image is removed with all its platforms"), "remove it, and pull with a platform what is to stay")
	}
	out, err := s.Images.Remove(r.Context(), r.value("name"), r.flag("force"), r.flag("noprune"))
	if err != nil {
		return err
	}
	return r.json(http.StatusOK, out)
}

func (s *Server) imagePrune(r *request) error {
	f, err := r.filters()
	if err != nil {
		return err
	}
	out, err := s.Images.Prune(r.Context(), f)
	if err != nil {
		return err
	}
	return r.json(http.StatusOK, out)
}

func (s *Server) imageSearch(*request) error {
	err := errdef.Errorf(errdef.Unsupported, "search: the engine looks for images by name alone; what Docker Hub's search knows is not asked")
	return errdef.WithHint(err, "look on the registry's own page, or list the tags of a repository that you know")
}

func (s *Server) build(*request) error {
	err := errdef.Errorf(errdef.Unsupported, "build: images are not built by this engine yet")
	return errdef.WithHint(err, "build elsewhere and load or pull the image")
}

// Headers of credentials, and of what a client of ours says about registries.
const (
	authHeader = registry.AuthHeader
	// RegistryHeader carries option.Registry, as JSON in base64.
	RegistryHeader = "Bulkhead-Registry"
	maxHeader      = 256 << 10
)

// credential reads the header of a caller's credential; without one it is nil.
func (r *request) credential() (*registry.AuthConfig, error) {
	var a registry.AuthConfig
	there, err := r.decode(authHeader, &a)
	if err != nil || !there || a == (registry.AuthConfig{ServerAddress: a.ServerAddress}) {
		return nil, err
	}
	return &a, nil
}

// registry reads how a client of ours wants registries to be reached.
func (r *request) registry() (*option.Registry, error) {
	var o option.Registry
	there, err := r.decode(RegistryHeader, &o)
	if err != nil || !there {
		return nil, err
	}
	return &o, nil
}

// decode reads a header of JSON in base64, of either alphabet, padded or not. What is wrong is said without what it is: there may be a password in it.
func (r *request) decode(header string, to any) (there bool, err error) {
	text := strings.TrimRight(r.Header.Get(header), "=")
	if text == "" || text == "null" {
		return false, nil
	}
	if len(text) > maxHeader {
		return false, errdef.Errorf(errdef.Invalid, "header %s: more than %d bytes", header, maxHeader)
	}
	data, err := base64.RawURLEncoding.DecodeString(strings.NewReplacer("+", "-", "/", "_").Replace(text))
	if err != nil || json.Unmarshal(data, to) != nil {
		return false, errdef.Errorf(errdef.Invalid, "header %s: no JSON in base64", header)
	}
	return true, nil
}

// reach reads both headers.
func (r *request) reach() (*registry.AuthConfig, *option.Registry, error) {
	a, err := r.credential()
	if err != nil {
		return nil, nil, err
	}
	o, err := r.registry()
	return a, o, err
}

func (s *Server) distribution(r *request) error {
	a, o, err := r.reach()
	if err != nil {
		return err
	}
	out, err := s.Images.Distribution(r.Context(), r.value("name"), a, o)
	if err != nil {
		return err
	}
	return r.json(http.StatusOK, out)
}

func (s *Server) auth(r *request) error {
	var a registry.AuthConfig
	if err := r.body(&a, false); err != nil {
		return err
	}
	o, err := r.registry()
	if err != nil {
		return err
	}
	out, err := s.Images.Login(r.Context(), a, o)
	switch {
	case errdef.Is(err, errdef.Denied):
		r.status(http.StatusUnauthorized, err) // Docker's
		return nil
	case err != nil:
		return err
	}
	return r.json(http.StatusOK, out)
}
