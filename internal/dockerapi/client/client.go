// Package client speaks Docker's Engine API to a server, over whatever its dial function connects to: the engine inside the same process, a socket, TLS.
//
//	c := client.New(client.Options{Dial: dial, Version: "0.1.0"})
//	var list []container.Summary
//	err := c.Get(ctx, "/containers/json", url.Values{"all": {"1"}}, &list)
//
// It is thin: the caller names path, parameters and the types of github.com/moby/moby/api, and the reference of the API says which. (That module's own client costs a
// program 1.5 MB and a third of its start-up for tracing and regular expressions: ADR 11.) What it adds: errors come back with the kind and the hint that the
// server gave them, or the kind that the status stands for; streams of JSON messages, hijacked connections and the frames of output are read here.
//
// A Client keeps connections for reuse and may be used by many at once. Contexts bound every call; what is hijacked or streamed ends when closed.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
)

const (
	maxError   = 1 << 20  // bytes of an error's body
	maxAnswer  = 64 << 20 // bytes of an answer of JSON
	kindHeader = "Bulkhead-Error-Kind"
)

// Options say whom a client speaks to.
type Options struct {
	Dial    func(ctx context.Context) (net.Conn, error)
	Host    string // of the Host header; "": docker
	Prefix  string // of every path, as /v1.51; "": none, the server's newest version
	Product string // version of the program
	Header  http.Header
}

// A Client is one.
type Client struct {
	o    Options
	http http.Client
}

// New makes a client. Nothing is dialled yet.
func New(o Options) *Client {
	if o.Host == "" {
		o.Host = "docker"
	}
	c := &Client{o: o}
	c.http.Transport = &http.Transport{
		DialContext:        func(ctx context.Context, _, _ string) (net.Conn, error) { return o.Dial(ctx) },
		DisableCompression: true, MaxIdleConnsPerHost: 6,
	}
	c.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return c
}

// Close ends the connections that wait for reuse.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Get asks for JSON.
func (c *Client) Get(ctx context.Context, path string, query url.Values, to any) error {
	return c.do(ctx, Request{Method: http.MethodGet, Path: path, Query: query}, nil, to)
}

// Post sends JSON (nil: no body) and reads JSON (nil: none is wanted).
func (c *Client) Post(ctx context.Context, path string, query url.Values, body, to any) error {
	return c.do(ctx, Request{Method: http.MethodPost, Path: path, Query: query}, body, to)
}

// Delete removes something.
func (c *Client) Delete(ctx context.Context, path string, query url.Values, to any) error {
	return c.do(ctx, Request{Method: http.MethodDelete, Path: path, Query: query}, nil, to)
}

// do sends JSON, if any, and reads JSON, if it is wanted.
func (c *Client) do(ctx context.Context, q Request, body, to any) error {
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return errdef.Errorf(errdef.Invalid, "request %s: %w", q.Path, err)
		}
		q.Body, q.Header = bytes.NewReader(data), http.Header{"Content-Type": {"application/json"}}
	}
	answer, err := c.Stream(ctx, q)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if to == nil {
		_, _ = io.Copy(io.Discard, io.LimitReader(answer.Body, maxError)) // the connection can be used again
		return nil
	}
	if err := json.NewDecoder(io.LimitReader(answer.Body, maxAnswer)).Decode(to); err != nil {
		return errdef.Errorf(errdef.Internal, "answer to %s: %w", q.Path, err)
	}
	return nil
}

// A Request is one whose body or answer is no JSON.
type Request struct {
	Method, Path string
	Query        url.Values
	Header       http.Header
	Body         io.Reader // nil: none
}

// Stream sends a request and returns the answer, whose body the caller closes. A status of 400 and more is an error.
func (c *Client) Stream(ctx context.Context, q Request) (*http.Response, error) {
	r, err := c.request(ctx, q)
	if err != nil {
		return nil, err
	}
	answer, err := c.http.Do(r)
	if err != nil {
		return nil, c.failed(ctx, err)
	}
	if answer.StatusCode >= 400 {
		defer answer.Body.Close()
		return nil, errorOf(answer)
	}
	return answer, nil
}

func (c *Client) request(ctx context.Context, q Request) (*http.Request, error) {
	u := "http://" + c.o.Host + c.o.Prefix + q.Path
	if len(q.Query) > 0 {
		u += "?" + q.Query.Encode()
	}
	r, err := http.NewRequestWithContext(ctx, q.Method, u, q.Body)
	if err != nil {
		return nil, errdef.Errorf(errdef.Invalid, "request %s: %w", q.Path, err)
	}
	for _, h := range []http.Header{c.o.Header, q.Header} {
		for k, v := range h {
			r.Header[k] = v
		}
	}
	r.Header.Set("User-Agent", "bulkhead/"+c.o.Product+" (linux)")
	return r, nil
}

// failed makes the error of a call that got no answer.
func (c *Client) failed(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return errdef.WithKind(errdef.Timeout, cause)
	}
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	if errdef.KindOf(err) != errdef.Internal {
		return err
	}
	return errdef.Errorf(errdef.Unavailable, "engine: %w", err)
}

// errorOf reads the error of an answer.
func errorOf(answer *http.Response) error {
	data, _ := io.ReadAll(io.LimitReader(answer.Body, maxError))
	var body struct{ Message, Hint string }
	if json.Unmarshal(data, &body) != nil || body.Message == "" {
		body.Message = strings.TrimSpace(string(data))
		if body.Message == "" {
			body.Message = "the engine answers " + answer.Status
		}
	}
	kind := kindOf(answer.StatusCode)
	if name := answer.Header.Get(kindHeader); name != "" {
		kind = errdef.ParseKind(name)
	}
	err := errdef.Errorf(kind, "%s", body.Message)
	if body.Hint != "" {
		err = errdef.WithHint(err, body.Hint)
	}
	return err
}

func kindOf(status int) errdef.Kind {
	switch status {
	case http.StatusBadRequest, http.StatusMethodNotAllowed, http.StatusRequestEntityTooLarge:
		return errdef.Invalid
	case http.StatusNotFound:
		return errdef.NotFound
	case http.StatusConflict:
		return errdef.Conflict
	case http.StatusNotImplemented:
		return errdef.Unsupported
	case http.StatusForbidden, http.StatusUnauthorized:
		return errdef.Denied
	case http.StatusServiceUnavailable:
		return errdef.Unavailable
	case http.StatusGatewayTimeout, http.StatusRequestTimeout:
		return errdef.Timeout
	}
	return errdef.Internal
}
