package cli

import (
	"context"
	"net"
	"net/http"
	"path/filepath"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/dockerapi/client"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
)

// An Engine is what the commands speak to: one inside this process, or another's socket.
type Engine interface {
	Dial(ctx context.Context) (net.Conn, error)
	Close() error
}

// An Opener opens the engine inside this process, whose directories are absolute.
type Opener func(root, run string, warn func(error)) (Engine, error)

// engine returns a client of the engine that the command line means.
func (p *program) engine() (*client.Client, error) {
	if p.api != nil {
		return p.api, nil
	}
	there, err := p.global.target()
	if err != nil {
		return nil, &statusError{exitUsage, err}
	}
	if there != nil {
		p.debug("engine at " + there.Address)
		p.ssh = strings.HasPrefix(there.Address, "ssh://")
		p.dial = there.Dial
		p.api = client.New(client.Options{Dial: there.Dial, Prefix: there.Prefix, Product: Version})
		return p.api, nil
	}
	root, err := p.global.engineRoot()
	if err != nil {
		return nil, err
	}
	run, err := p.global.engineRun()
	if err != nil { // a user without a place for what runs: images need none, and containers say so
		run = filepath.Join(root, "run")
	}
	p.debug("engine below " + root + " and " + run)
	if p.inside, err = p.open(root, run, func(err error) { p.warn(err.Error()) }); err != nil {
		return nil, err
	}
	p.dial = p.inside.Dial
	p.api = client.New(client.Options{Dial: p.dial, Product: Version})
	return p.api, nil
}

// oneEngine refuses to start a container with its streams here where each connection is an engine of its own: the one that starts a program of a few milliseconds knows
// nothing of the one that is attached to it. A daemon behind ssh is one for all connections.
func (p *program) oneEngine(ctx context.Context, api *client.Client) error {
	if !p.ssh {
		return nil
	}
	answer, err := api.Stream(ctx, client.Request{Method: http.MethodGet, Path: "/_ping"})
	if err != nil {
		return err
	}
	_ = answer.Body.Close()
	if !strings.HasPrefix(answer.Header.Get("Server"), "Bulkhead/") {
		return nil
	}
	err = errdef.Errorf(errdef.Unsupported, "a container cannot be started in the foreground over ssh yet: its output could be missed")
	return errdef.WithHint(err, "ssh HOST bulkhead run ..., or run -d, then logs -f or attach")
}
