package auth

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/image/credential"
	"github.com/bulkhead-engine/bulkhead/internal/image/registry/endpoint"
	"github.com/bulkhead-engine/bulkhead/internal/image/registry/transport"
)

// Bounds and habits of tokens.
const (
	maxTokenAnswer = 256 << 10
	maxToken       = 32 << 10         // below the 64 KiB that servers allow for headers
	defaultLife    = 60 * time.Second // when the answer does not say: "Token Authentication Specification", expires_in
	maxLife        = 24 * time.Hour
	margin         = 10 * time.Second // a token is renewed so long before its end
	clientID       = "bulkhead"
)

// A question is what a realm is asked for.
type question struct {
	scopes     []string
	credential credential.Credential
	offline    bool // ask for an identity token too
}

// A token is what a realm answers.
type token struct {
	text    string
	refresh string // an identity token
	until   time.Time
}

// A refusal is a realm that says no.
type refusal struct{ error }

// Unwrap is for errors.Is and As.
func (r *refusal) Unwrap() error { return r.error }

// base is where the endpoint is, with the scheme that it was found to speak.
func (a *Authorizer) base(e endpoint.Endpoint) *url.URL {
	u := e.URL("", "")
	if u.Scheme == "https" && a.transport.Set.MayBePlain(u.Host) {
		u.Scheme = a.transport.Set.Scheme(u.Host)
	}
	return u
}

// actual is where a request begins, likewise.
func (a *Authorizer) actual(target Target, r transport.Request) *url.URL {
	u := *r.URL
	if u.Host == target.Endpoint.Host {
		u.Scheme = a.base(target.Endpoint).Scheme
	}
	return &u
}

// fetch asks the realm of a challenge of the registry.
func (a *Authorizer) fetch(ctx context.Context, registry *url.URL, c challenge, q question) (token, error) {
	realm, err := a.realm(registry, c)
	if err != nil {
		return token{}, err
	}
	r := transport.Request{Method: http.MethodGet, URL: realm, Chosen: registry, Header: http.Header{}}
	form := realm.Query()
	if service := c.parameters["service"]; service != "" {
		form.Set("service", service)
	}
	switch {
	case q.credential.IdentityToken != "":
		form.Set("grant_type", "refresh_token")
		form.Set("refresh_token", q.credential.IdentityToken)
		form.Set("client_id", clientID)
		form.Set("scope", strings.Join(q.scopes, " "))
		post(&r, form)
	default:
		for _, scope := range q.scopes {
			form.Add("scope", scope)
		}
		if !q.credential.Anonymous() {
			form.Set("account", q.credential.Username)
			r.Authorization, r.Secret = basic(q.credential), true
		}
		if q.offline {
			form.Set("offline_token", "true")
			form.Set("client_id", clientID)
		}
		realm.RawQuery = form.Encode()
	}
	if !q.credential.Anonymous() {
		if err := a.transport.Set.CheckSecret(realm); err != nil {
			return token{}, err
		}
	}
	resp, err := a.transport.Do(ctx, r)
	if err != nil {
		return token{}, err
	}
	if !endpoint.SameOrigin(realm, resp.Request.URL) && !q.credential.Anonymous() {
		resp.Body.Close()
		return token{}, errdef.Errorf(errdef.Denied, "the realm %s of %s sends on to %s, where the password does not go", realm.Host, registry.Host, resp.Request.URL.Host)
	}
	if resp.StatusCode != http.StatusOK {
		err := transport.StatusError(resp)
		if errdef.Is(err, errdef.Denied) || errdef.Is(err, errdef.Invalid) {
			return token{}, &refusal{errdef.WithKind(errdef.Denied, err)}
		}
		return token{}, err
	}
	return read(resp)
}

// realm is where the challenge sends for a token, checked.
func (a *Authorizer) realm(registry *url.URL, c challenge) (*url.URL, error) {
	realm, err := url.Parse(c.parameters["realm"])
	if err != nil || realm.Host == "" {
		return nil, errdef.Errorf(errdef.Invalid, "%s asks for a token of a realm that is no URL", registry.Host)
	}
	realm.Fragment, realm.RawFragment = "", ""
	if err := a.transport.Set.Check(registry, realm); err != nil {
		return nil, errdef.Errorf(errdef.KindOf(err), "realm of tokens refused: %w", err)
	}
	return realm, nil
}

func post(r *transport.Request, form url.Values) {
	u := *r.URL
	u.RawQuery = ""
	data := []byte(form.Encode())
	r.Method, r.URL, r.Secret = http.MethodPost, &u, true
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Size = int64(len(data))
	r.Body = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil }
}

// read takes the token out of an answer.
func read(resp *http.Response) (token, error) {
	realm := resp.Request.URL.Host
	data, err := transport.ReadAll(resp, maxTokenAnswer)
	if err != nil {
		return token{}, errdef.Errorf(errdef.KindOf(err), "token: %w", err)
	}
	var answer struct {
		Token        string `json:"token"`
		AccessToken  string `json:"access_token"`
		RefreshToken string `json:"refresh_token"`
		ExpiresIn    int64  `json:"expires_in"`
	}
	if json.Unmarshal(data, &answer) != nil {
		return token{}, errdef.Errorf(errdef.Invalid, "token: the answer of %s is no JSON of the form that is known", realm)
	}
	t := token{text: answer.Token, refresh: answer.RefreshToken}
	if t.text == "" {
		t.text = answer.AccessToken
	}
	for name, text := range map[string]string{"token": t.text, "refresh_token": t.refresh} {
		if err := checkToken(text); err != nil {
			return token{}, errdef.Errorf(errdef.Invalid, "the %s of %s: %w", name, realm, err)
		}
	}
	if t.text == "" {
		return token{}, errdef.Errorf(errdef.Invalid, "token: there is none in the answer of %s", realm)
	}
	life := defaultLife
	if answer.ExpiresIn > 0 {
		life = min(time.Duration(min(answer.ExpiresIn, int64(maxLife/time.Second)))*time.Second, maxLife)
	}
	t.until = time.Now().Add(max(life-margin, life/2))
	return t, nil
}

// checkToken wants what can stand in a header.
func checkToken(s string) error {
	if len(s) > maxToken {
		return fmt.Errorf("it has %d bytes, at most %d", len(s), maxToken)
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return fmt.Errorf("there is a character in it that no token has")
		}
	}
	return nil
}

// Login tries a credential against a registry, and returns what to store: the credential, or the identity token that the registry gives in its place. tried is false when the
// registry lets everybody in to look, and so has not looked at it.
func (a *Authorizer) Login(ctx context.Context, e endpoint.Endpoint, cred credential.Credential) (keep credential.Credential, tried bool, err error) {
	r := transport.Request{Method: http.MethodGet, URL: e.URL("", "")}
	resp, err := a.transport.Do(ctx, r)
	if err != nil {
		return cred, false, err
	}
	if resp.StatusCode == http.StatusOK {
		resp.Body.Close()
		return cred, false, nil
	}
	c, ok := choose(challenges(resp.Header))
	if resp.StatusCode != http.StatusUnauthorized || !ok {
		return cred, false, transport.StatusError(resp)
	}
	resp.Body.Close()
	r.Secret = true
	switch {
	case c.scheme == "bearer":
		t, err := a.fetch(ctx, a.base(e), c, question{scopes: withWords(nil, c), credential: cred, offline: true})
		if err != nil {
			return cred, true, refusedLogin(e, err)
		}
		r.Authorization = "Bearer " + t.text
		if t.refresh != "" && cred.IdentityToken == "" {
			cred = credential.Credential{Username: cred.Username, IdentityToken: t.refresh}
		}
	case cred.IdentityToken != "":
		return cred, true, errdef.Errorf(errdef.Denied, "%s wants a password, not an identity token", e.Domain)
	default:
		r.Authorization = basic(cred)
	}
	resp, err = a.transport.Do(ctx, r)
	if err != nil {
		return cred, true, err
	}
	if resp.StatusCode != http.StatusOK {
		return cred, true, refusedLogin(e, transport.StatusError(resp))
	}
	resp.Body.Close()
	return cred, true, nil
}

func refusedLogin(e endpoint.Endpoint, err error) error {
	if !errdef.Is(err, errdef.Denied) || errdef.Hint(err) != "" {
		return err
	}
	return errdef.WithHint(errdef.Errorf(errdef.Denied, "%s does not let in: %w", e.Domain, err), "look at the user name and the password; many registries want an access token in place of the password")
}
