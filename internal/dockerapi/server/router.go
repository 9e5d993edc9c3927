package server

import (
	"net/http"
	"net/url"
	"strings"
)

// A route is a method and a pattern with what answers. In a pattern {name} stands for one segment of the path, {name...} for one or more: names of images have slashes.
type route struct {
	method, pattern string
	serve           func(s *Server, r *request) error
}

// match returns the values of a pattern's names. Patterns have at most one {name...}.
func match(pattern, path string) (map[string]string, bool) {
	want, got := strings.Split(strings.Trim(pattern, "/"), "/"), strings.Split(strings.Trim(path, "/"), "/")
	values := map[string]string{}
	for i, w := range want {
		if name, many := strings.CutSuffix(w, "...}"); many {
			n := len(got) - (len(want) - 1)
			if n < 1 {
				return nil, false
			}
			values[name[1:]] = strings.Join(got[i:i+n], "/")
			got = append(append(got[:i:i], "x"), got[i+n:]...)
			continue
		}
		switch {
		case i >= len(got):
			return nil, false
		case strings.HasPrefix(w, "{"):
			if got[i] == "" {
				return nil, false
			}
			values[strings.Trim(w, "{}")] = got[i]
		case w != got[i]:
			return nil, false
		}
	}
	return values, len(want) == len(got)
}

// find returns the route of a request, and whether the path is known with another method.
func find(routes []route, r *http.Request, path string) (*route, map[string]string, bool) {
	other := false
	for i := range routes {
		values, ok := match(routes[i].pattern, path)
		if !ok {
			continue
		}
		if routes[i].method == r.Method {
			for k, v := range values {
				if u, err := url.PathUnescape(v); err == nil {
					values[k] = u
				}
			}
			return &routes[i], values, false
		}
		other = true
	}
	return nil, nil, other
}
