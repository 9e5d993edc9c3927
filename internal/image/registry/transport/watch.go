package transport

import (
	"context"
	"io"
	"net/url"
	"sync"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
)

// A watch ends an exchange in which nothing goes on.
type watch struct {
	cancel context.CancelCauseFunc
	timer  *time.Timer
	mu     sync.Mutex
	limit  time.Duration
	ended  bool
}

// watched returns a context that ends when the watch's timer does, which runs from now.
func watched(ctx context.Context, limit time.Duration) (context.Context, *watch) {
	ctx, cancel := context.WithCancelCause(ctx)
	w := &watch{cancel: cancel, limit: limit}
	w.timer = time.AfterFunc(limit, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		cancel(errdef.Errorf(errdef.Timeout, "no answer in %v", w.limit))
	})
	return ctx, w
}

// alive says that the server takes what we send, and has another limit from now on if that is not 0.
func (w *watch) alive(limit time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if limit > 0 {
		w.limit = limit
	}
	if !w.ended {
		w.timer.Reset(w.limit)
	}
}

// pause stops the timer: the header is there.
func (w *watch) pause() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended = true
	w.timer.Stop()
}

func (w *watch) end() {
	w.pause()
	w.cancel(nil)
}

// sending is the body of a request; that it is read from shows that the server takes it.
type sending struct {
	io.ReadCloser
	watch *watch
	after time.Duration // until the answer, when all is sent
}

// Read is io.Reader's.
func (s *sending) Read(p []byte) (int, error) {
	s.watch.alive(0)
	n, err := s.ReadCloser.Read(p)
	if err != nil {
		s.watch.alive(s.after)
	}
	return n, err
}

// receiving is the body of an answer. Only the time in its Reads counts.
type receiving struct {
	ctx    context.Context // of the exchange; its cause says what ended it
	body   io.ReadCloser
	watch  *watch
	stall  time.Duration
	method string
	at     *url.URL

	waited time.Duration // since got was 0
	got    int
	timer  *time.Timer
}

// Read is io.Reader's.
func (r *receiving) Read(p []byte) (int, error) {
	left := r.stall - r.waited
	if r.timer == nil {
		r.timer = time.AfterFunc(left, r.stalled)
	} else {
		r.timer.Reset(left)
	}
	start := time.Now()
	n, err := r.body.Read(p)
	stopped := r.timer.Stop()
	r.waited += time.Since(start)
	r.got += n
	if r.got >= MinProgress {
		r.waited, r.got = 0, 0
	} else if err == nil && (r.waited >= r.stall || !stopped) {
		r.stalled()
		err = context.Cause(r.ctx)
	}
	if err != nil && err != io.EOF {
		if cause := context.Cause(r.ctx); cause != nil {
			err = cause
		}
		err = describe(r.method, r.at, err)
	}
	return n, err
}

func (r *receiving) stalled() {
	r.watch.cancel(errdef.Errorf(errdef.Timeout, "less than %d bytes in %v", MinProgress, r.stall))
}

// within bounds the time until all of the body is there, and returns what ends that.
func (r *receiving) within(d time.Duration) (stop func() bool) {
	return time.AfterFunc(d, func() { r.watch.cancel(errdef.Errorf(errdef.Timeout, "not all of the answer in %v", d)) }).Stop
}

// Close is io.Closer's. It drops the connection if the body was not read to its end.
func (r *receiving) Close() error {
	err := r.body.Close()
	r.watch.end()
	return err
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}

// Pause waits before the try-th try of something that broke, longer each time.
func (t *Transport) Pause(ctx context.Context, try int) error {
	return sleep(ctx, jitter(min(t.limits.Pause<<min(try, 16), t.limits.MaxWait)))
}
