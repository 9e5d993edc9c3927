package cli

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"

	"github.com/bulkhead-engine/bulkhead/internal/dockerapi/client"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/moby/moby/api/types/container"
)

// A session is a container whose streams are here.
type session struct {
	conversation
	id            string
	remove, proxy bool
	written       string // the keys for detaching, as written
	sized         bool   // it knows how large the terminal is
}

// query are the parameters of attaching.
func (s *session) query() url.Values {
	q := url.Values{"stream": {"1"}}
	for name, on := range map[string]bool{"stdin": s.stdin, "stdout": s.stdout, "stderr": s.err} {
		if on {
			q.Set(name, "1")
		}
	}
	if s.written != "" {
		q.Set("detachKeys", s.written)
	}
	return q
}

// foreground starts a container with its streams here, and ends with its exit status.
func (p *program) foreground(ctx context.Context, api *client.Client, s *session) error {
	conn, err := api.Hijack(ctx, containerPath(s.id, "attach"), s.query(), nil)
	if err != nil {
		return p.startFailed(ctx, api, s, err)
	}
	defer conn.Close()
	last, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	ended, err := expectEnd(last, api, s.id, s.remove)
	if err != nil {
		return p.startFailed(ctx, api, s, err)
	}
	carrying, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	carried := make(chan error, 1)
	go func() { carried <- p.carry(carrying, conn, s.conversation) }()
	if err := api.Post(ctx, containerPath(s.id, "start"), nil, nil, nil); err != nil {
		stop(err)
		<-carried // the terminal is as it was
		return p.startFailed(ctx, api, s, err)
	}
	if s.proxy && !s.tty {
		defer p.passSignals(api, s.id)()
	}
	if s.tty {
		defer p.followSize(api, containerPath(s.id, ""), !s.sized, false)()
	}
	return p.untilEnd(ctx, s, carried, ended, stop)
}

// startFailed removes what --rm promised to remove, and gives the error Docker's exit status.
func (p *program) startFailed(ctx context.Context, api *client.Client, s *session, err error) error {
	if s.remove {
		if e := p.discard(ctx, api, s.id); e != nil {
			p.warn(e.Error())
		}
	}
	if ctx.Err() != nil {
		return err
	}
	return &statusError{programStatus(err), err}
}

// untilEnd waits for the end of the streams and of the program.
func (p *program) untilEnd(ctx context.Context, s *session, carried <-chan error, ended <-chan ending, stop context.CancelCauseFunc) error {
	select {
	case err := <-carried:
		switch {
		case errors.Is(err, errDetached):
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil:
			p.debug("streams: " + err.Error())
		}
		select {
		case e := <-ended:
			return e.err()
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	case e := <-ended:
		if !s.stdout && !s.err {
			stop(nil)
		}
		<-carried // what it printed last
		return e.err()
	}
}

// An ending is how a container ended.
type ending struct {
	code    int64
	problem error
}

func (e ending) err() error {
	switch {
	case e.problem != nil:
		return &statusError{exitEngine, e.problem}
	case e.code != 0:
		return &statusError{status: int(e.code)}
	}
	return nil
}

// waitFor asks for the end of a container. When it returns, no end is missed.
func waitFor(ctx context.Context, api *client.Client, name string, condition container.WaitCondition) (*http.Response, error) {
	return api.Stream(ctx, client.Request{Method: http.MethodPost, Path: containerPath(name, "wait"), Query: url.Values{"condition": {string(condition)}}})
}

// endOf reads the answer.
func endOf(answer *http.Response, name string) ending {
	defer answer.Body.Close()
	var w container.WaitResponse
	err := json.NewDecoder(io.LimitReader(answer.Body, 1<<20)).Decode(&w)
	switch {
	case err != nil:
		err = errdef.Errorf(errdef.Unavailable, "wait for %.12q: %w", name, err)
	case w.Error != nil && w.Error.Message != "":
		err = errdef.Errorf(errdef.Internal, "wait for %.12q: %s", name, w.Error.Message)
	}
	return ending{w.StatusCode, err}
}

// expectEnd asks for the next end of a container, which need not run yet, or for its removal.
func expectEnd(ctx context.Context, api *client.Client, id string, removed bool) (<-chan ending, error) {
	condition := container.WaitConditionNextExit
	if removed {
		condition = container.WaitConditionRemoved
	}
	answer, err := waitFor(ctx, api, id, condition)
	if err != nil {
		return nil, err
	}
	ended := make(chan ending, 1)
	go func() { ended <- endOf(answer, id) }()
	return ended, nil
}
