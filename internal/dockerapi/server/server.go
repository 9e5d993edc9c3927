package server

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
)

// The versions of the API that are spoken.
const (
	Version    = "1.51"
	MinVersion = "1.24"
)

// Options say what the server tells of itself.
type Options struct {
	Product string // version of the engine
	Warn    func(error)
}

// A Server is a http.Handler.
type Server struct {
	Services
	o      Options
	routes []route
}

// New makes a server.
func New(s Services, o Options) *Server {
	srv := &Server{Services: s, o: o}
	for _, group := range [][]route{systemRoutes, containerRoutes, execRoutes, imageRoutes, volumeRoutes, networkRoutes, confinementRoutes} {
		srv.routes = append(srv.routes, group...)
	}
	return srv
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, hr *http.Request) {
	r := &request{Request: hr, w: w, version: Version}
	h := w.Header()
	h.Set("Api-Version", Version)
	h.Set("Server", "Bulkhead/"+s.o.Product+" (linux)")
	h.Set("Ostype", "linux")
	h.Set("Docker-Experimental", "false")
	path, err := r.strip(hr.URL.EscapedPath())
	if err != nil {
		r.fail(err)
		return
	}
	found, values, other := find(s.routes, hr, path)
	switch {
	case found != nil:
		r.values = values
		if err := s.call(found, r); err != nil {
			r.fail(err)
		}
	case other:
		r.status(http.StatusMethodNotAllowed, errdef.Errorf(errdef.Invalid, "method %s is not for %.256q", hr.Method, path))
	default:
		r.status(http.StatusNotFound, errdef.Errorf(errdef.NotFound, "page not found"))
	}
}

// strip takes the version off a path.
func (r *request) strip(path string) (string, error) {
	rest, ok := strings.CutPrefix(path, "/v")
	if !ok {
		return path, nil
	}
	version, rest, _ := strings.Cut(rest, "/")
	major, minor, ok := parseVersion(version)
	if !ok { // /volumes, /version
		return path, nil
	}
	low, _ := strconv.Atoi(MinVersion[2:])
	high, _ := strconv.Atoi(Version[2:])
	if major < 1 || major == 1 && minor < low {
		return "", errdef.Errorf(errdef.Invalid, "client version %s is too old. Minimum supported API version is %s, please upgrade your client to a newer version", version, MinVersion)
	}
	if major > 1 || minor > high {
		return "", errdef.Errorf(errdef.Invalid, "client version %s is too new. Maximum supported API version is %s", version, Version)
	}
	r.version = version
	return "/" + rest, nil
}

func parseVersion(s string) (major, minor int, ok bool) {
	a, b, ok := strings.Cut(s, ".")
	if !ok || len(s) > 8 || strings.Trim(a+b, "0123456789") != "" {
		return 0, 0, false
	}
	major, err1 := strconv.Atoi(a)
	minor, err2 := strconv.Atoi(b)
	return major, minor, err1 == nil && err2 == nil
}

// atLeast reports whether the client speaks a version from 1.minor on.
func (r *request) atLeast(minor int) bool {
	_, m, _ := parseVersion(r.version)
	return m >= minor
}

// call answers a request of a known path, if the service that it is about is there.
func (s *Server) call(found *route, r *request) error {
	there := true
	switch group, _, _ := strings.Cut(strings.TrimPrefix(found.pattern, "/"), "/"); group {
	case "containers", "exec", "commit":
		if s.Containers == nil && s.OpenContainers != nil {
			c, err := s.OpenContainers()
			if err != nil {
				return err
			}
			opened := *s
			opened.Containers, s = c, &opened
		}
		there = s.Containers != nil
	case "images", "distribution", "auth":
		there = s.Images != nil
	case "volumes":
		there = s.Volumes != nil
	case "networks":
		there = s.Networks != nil
	case "info", "version", "system", "events":
		there = s.System != nil
	}
	if !there {
		return errdef.Errorf(errdef.Unsupported, "%s: this engine has no such service", found.pattern)
	}
	return found.serve(s, r)
}
