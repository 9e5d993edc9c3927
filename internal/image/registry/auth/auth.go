// Package auth proves to registries who we are, and to nobody else.
//
//	a := auth.New(transport, credentials.Lookup)
//	resp, err := a.Do(ctx, auth.Target{Endpoint: e, Repository: "team/app", Actions: "pull"}, request)
//	credential, err := a.Login(ctx, endpoint, credential)         // tried; with a token in place of the password where the registry gives one
//
// Nothing is sent before it is asked for. An answer 401 brings the challenge: Basic gets the password, Bearer a token that the realm of the challenge
// gives for it (distribution, "Token Authentication Specification"; with an identity token "OAuth2 Token Authentication"), or for nobody where there is no
// credential. What a host has asked for once is done at once the next time; a token is used until it ends, for its scope only.
//
// The scope is what we need, whatever the challenge says: `repository:NAME:pull`, with push when something is sent. Only words in it that name no repository are
// taken over.
//
// Security: a realm is held to endpoint.Set.Check: HTTPS unless the registry itself has none. The protocol lets a registry choose who gets the password for it; a
// password for another registry is never looked up. The realm must not send the password on. Secrets go over plain HTTP only to hosts that are
// named (endpoint.Set.CheckSecret). Answers of the realm have maxTokenAnswer bytes at most, a token has maxToken and no character that could end a header.
package auth

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/image/credential"
	"github.com/bulkhead-engine/bulkhead/internal/image/registry/endpoint"
	"github.com/bulkhead-engine/bulkhead/internal/image/registry/transport"
)

// Lookup finds the credential of a repository; credential.Set.Lookup is one.
type Lookup func(ctx context.Context, domain, path string) (credential.Credential, string, error)

// A Target is what a request is for.
type Target struct {
	Endpoint   endpoint.Endpoint
	Repository string   // as the user names it; "" for the registry itself
	Actions    string   // pull, or pull,push
	From       []string // other repositories to pull from, for a mount
}

// scopes are what is asked of a realm (distribution, "Token Scope Documentation").
func (t Target) scopes() []string {
	if t.Repository == "" {
		return nil
	}
	out := []string{"repository:" + t.Endpoint.Repository(t.Repository) + ":" + t.Actions}
	for _, from := range t.From {
		out = append(out, "repository:"+from+":pull")
	}
	return out
}

// An Authorizer remembers what hosts ask for, and tokens. It may be used from many goroutines.
type Authorizer struct {
	transport *transport.Transport
	lookup    Lookup

	mu     sync.Mutex
	asked  map[string]challenge // by host: what it asked for last
	grants map[string]*grant    // by host and scopes
}

// A grant is what lets requests with one scope in. Its lock is a channel so that a wait for it can end.
type grant struct {
	lock   chan struct{}
	header string
	secret bool
	until  time.Time // the zero time: for ever
}

// New makes an Authorizer. A nil lookup is anonymous everywhere.
func New(t *transport.Transport, lookup Lookup) *Authorizer {
	if lookup == nil {
		lookup = func(context.Context, string, string) (credential.Credential, string, error) {
			return credential.Credential{}, "", nil
		}
	}
	return &Authorizer{transport: t, lookup: lookup, asked: map[string]challenge{}, grants: map[string]*grant{}}
}

// Do sends the request, with what the host wants to see. An answer 401 is an error of kind Denied, with a hint.
func (a *Authorizer) Do(ctx context.Context, target Target, r transport.Request) (*http.Response, error) {
	if r.Chosen != nil && !endpoint.SameOrigin(r.Chosen, r.URL) { // a place of the registry's choice: nothing of ours goes there
		r.Authorization = ""
		return a.transport.Do(ctx, r)
	}
	g := a.grant(target)
	header, secret, err := a.current(ctx, target, g)
	if err != nil {
		return nil, err
	}
	r.Authorization, r.Secret = header, secret
	resp, err := a.transport.Do(ctx, r)
	if err != nil || resp.StatusCode != http.StatusUnauthorized || !endpoint.SameOrigin(a.actual(target, r), resp.Request.URL) {
		return resp, err
	}
	said := transport.StatusError(resp)
	header, secret, err = a.renew(ctx, target, g, header, resp)
	if err != nil {
		return nil, err
	}
	if header != "" {
		r.Authorization, r.Secret = header, secret
		resp, err = a.transport.Do(ctx, r)
		if err != nil || resp.StatusCode != http.StatusUnauthorized && resp.StatusCode != http.StatusForbidden {
			return resp, err
		}
		said = transport.StatusError(resp)
	}
	return nil, denied(target, said, secret)
}

// denied adds the way out.
func denied(target Target, said error, had bool) error {
	if had {
		return errdef.WithHint(errdef.WithKind(errdef.Denied, said), "what is stored for "+target.Endpoint.Domain+" does not let in here: `bulkhead login "+target.Endpoint.Domain+"` with another user, or look at the name")
	}
	return errdef.WithHint(errdef.WithKind(errdef.Denied, said), "`bulkhead login "+target.Endpoint.Domain+"`, or look at the name: many registries say the same of what does not exist")
}

// Forget drops all tokens and passwords: what is stored has changed.
func (a *Authorizer) Forget() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.grants = map[string]*grant{}
}

func (a *Authorizer) grant(target Target) *grant {
	key := target.Endpoint.Host + " " + target.Repository + " " + strings.Join(target.scopes(), " ")
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.grants) > 4096 { // a long-lived program that meets many repositories: begin anew
		a.grants = map[string]*grant{}
	}
	g := a.grants[key]
	if g == nil {
		g = &grant{lock: make(chan struct{}, 1)}
		a.grants[key] = g
	}
	return g
}

func (g *grant) acquire(ctx context.Context) error {
	select {
	case g.lock <- struct{}{}:
		return nil
	case <-ctx.Done():
		return errdef.Errorf(errdef.Timeout, "wait for a token: %w", context.Cause(ctx))
	}
}

func (g *grant) release() { <-g.lock }

// current returns the header to begin with: what was granted, or what the host is known to want.
func (a *Authorizer) current(ctx context.Context, target Target, g *grant) (string, bool, error) {
	if err := g.acquire(ctx); err != nil {
		return "", false, err
	}
	defer g.release()
	if g.header != "" && (g.until.IsZero() || time.Now().Before(g.until)) {
		return g.header, g.secret, nil
	}
	g.header, g.secret = "", false
	a.mu.Lock()
	c, known := a.asked[target.Endpoint.Host]
	a.mu.Unlock()
	if !known {
		return "", false, nil
	}
	return a.fill(ctx, target, g, c)
}

// renew gets a new grant after an answer 401 to a request with the header used. An empty header: there is none to be had.
func (a *Authorizer) renew(ctx context.Context, target Target, g *grant, used string, resp *http.Response) (string, bool, error) {
	c, ok := choose(challenges(resp.Header))
	if !ok {
		return "", used != "", nil
	}
	if err := g.acquire(ctx); err != nil {
		return "", false, err
	}
	defer g.release()
	a.mu.Lock()
	a.asked[target.Endpoint.Host] = c
	a.mu.Unlock()
	if g.header != "" && g.header != used { // somebody else has renewed it meanwhile
		return g.header, g.secret, nil
	}
	had := g.secret
	g.header, g.secret = "", false
	header, secret, err := a.fill(ctx, target, g, c)
	if header == used && c.scheme == "basic" {
		return "", had, err // it was tried
	}
	return header, secret, err
}

// choose takes Bearer before Basic: a token is less to lose than a password.
func choose(all []challenge) (challenge, bool) {
	for _, scheme := range []string{"bearer", "basic"} {
		for _, c := range all {
			if c.scheme == scheme {
				return c, true
			}
		}
	}
	return challenge{}, false
}

// fill answers the challenge. The grant is locked.
func (a *Authorizer) fill(ctx context.Context, target Target, g *grant, c challenge) (string, bool, error) {
	cred, _, err := a.lookup(ctx, target.Endpoint.Domain, target.Endpoint.Repository(target.Repository))
	if err != nil {
		return "", false, err
	}
	if c.scheme == "basic" {
		if cred.Anonymous() {
			return "", false, nil
		}
		if cred.IdentityToken != "" {
			return "", false, errdef.WithHint(errdef.Errorf(errdef.Denied, "%s wants a password, and an identity token is stored", target.Endpoint.Domain), "`bulkhead login "+target.Endpoint.Domain+"`")
		}
		g.header, g.secret, g.until = basic(cred), true, time.Time{}
		return g.header, true, nil
	}
	token, err := a.fetch(ctx, a.base(target.Endpoint), c, question{scopes: withWords(target.scopes(), c), credential: cred})
	if err != nil {
		var refused *refusal
		if errors.As(err, &refused) {
			err = denied(target, err, !cred.Anonymous())
		}
		return "", false, err
	}
	g.header, g.secret, g.until = "Bearer "+token.text, !cred.Anonymous(), token.until
	return g.header, g.secret, nil
}

// withWords adds the words of a challenge's scope that name no repository, as public.ecr.aws has.
func withWords(scopes []string, c challenge) []string {
	for _, word := range strings.Fields(c.parameters["scope"]) {
		if !strings.Contains(word, ":") && len(scopes) < maxParameters {
			scopes = append(scopes, word)
		}
	}
	return scopes
}

func basic(c credential.Credential) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(c.Username+":"+c.Password))
}
