package cli

import (
	"context"
	"net"
	"path/filepath"

	"github.com/bulkhead-engine/bulkhead/internal/dockerapi/client"
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
