package registry

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/image/manifest"
	"github.com/bulkhead-engine/bulkhead/internal/image/reference"
	"github.com/bulkhead-engine/bulkhead/internal/image/registry/auth"
	"github.com/bulkhead-engine/bulkhead/internal/image/registry/endpoint"
	"github.com/bulkhead-engine/bulkhead/internal/image/registry/transport"
)

// Bounds of a list.
const (
	maxPages = 1000
	maxTags  = 100_000
)

// Tags returns the tags of a repository, as the registry sorts them.
func (c *Client) Tags(ctx context.Context, ref reference.Reference) ([]string, error) {
	var tags []string
	err := c.pages(ctx, ref, call{method: http.MethodGet, rest: "tags/list", query: "n=1000"}, func(data []byte) error {
		var page struct {
			Tags []string `json:"tags"`
		}
		if err := json.Unmarshal(data, &page); err != nil {
			return errdef.Errorf(errdef.Invalid, "the list is no JSON of the form that is known")
		}
		for _, tag := range page.Tags {
			if err := reference.CheckTag(tag); err != nil {
				return errdef.Errorf(errdef.Invalid, "the registry lists what is no tag: %w", err)
			}
		}
		tags = append(tags, page.Tags...)
		if len(tags) > maxTags {
			return errdef.Errorf(errdef.Invalid, "more than %d tags: %w", maxTags, errTooMany)
		}
		return nil
	})
	return tags, about(err, "tags of "+ref.Repository())
}

// pages fetches a list page by page from the registry itself, where Link leads (RFC 8288).
func (c *Client) pages(ctx context.Context, ref reference.Reference, q call, take func(data []byte) error) error {
	e := c.set.Registry(ref.Domain)
	u := e.URL(ref.Path, q.rest)
	u.RawQuery = q.query
	target := auth.Target{Endpoint: e, Repository: ref.Path, Actions: "pull"}
	visited := map[string]bool{}
	for range maxPages {
		visited[u.RequestURI()] = true
		resp, err := c.auth.Do(ctx, target, transport.Request{Method: q.method, URL: u, Header: q.header})
		if err != nil {
			return err
		}
		if err := expect(resp, http.StatusOK); err != nil {
			return err
		}
		at, links := resp.Request.URL, resp.Header.Values("Link")
		data, err := transport.ReadAll(resp, manifest.MaxManifest)
		if err != nil {
			return err
		}
		if err := take(data); err != nil {
			return err
		}
		next, err := nextPage(at, links)
		if next == nil || err != nil {
			return err
		}
		if visited[next.RequestURI()] {
			return errdef.Errorf(errdef.Invalid, "the pages go in a circle")
		}
		u = next
	}
	return errdef.Errorf(errdef.Invalid, "more than %d pages: %w", maxPages, errTooMany)
}

// nextPage returns where the next page is, nil if there is none. It must be at the same server.
func nextPage(at *url.URL, links []string) (*url.URL, error) {
	for _, line := range links {
		for _, link := range strings.Split(line, ",") {
			target, parameters, _ := strings.Cut(link, ";")
			target = strings.TrimSpace(target)
			if !isNext(parameters) || len(target) < 2 || target[0] != '<' || target[len(target)-1] != '>' {
				continue
			}
			next, err := at.Parse(target[1 : len(target)-1])
			if err != nil {
				return nil, errdef.Errorf(errdef.Invalid, "the address of the next page is no URL")
			}
			if !endpoint.SameOrigin(at, next) || next.User != nil || !strings.HasPrefix(next.Path, "/v2/") {
				return nil, errdef.Errorf(errdef.Denied, "the next page is elsewhere, at %q", shorten(next.Host))
			}
			next.Fragment, next.RawFragment = "", ""
			return next, nil
		}
	}
	return nil, nil
}

func isNext(parameters string) bool {
	for _, p := range strings.Split(parameters, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(p), "=")
		if strings.EqualFold(name, "rel") && strings.Trim(value, `"`) == "next" {
			return true
		}
	}
	return false
}
