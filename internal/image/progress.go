package image

import (
	"context"
	"io"
	"sync"
	"time"
)

// serial makes a function of progress safe for many goroutines.
func serial(f func(Progress)) func(Progress) {
	if f == nil {
		return nil
	}
	var mu sync.Mutex
	return func(p Progress) {
		mu.Lock()
		defer mu.Unlock()
		f(p)
	}
}

// pause is how often a stream tells of itself at most.
const pause = 100 * time.Millisecond

// counting tells of the bytes that are read.
type counting struct {
	io.Reader
	n, total int64
	id       string
	progress func(Progress)
	last     time.Time
}

func (c *counting) Read(b []byte) (int, error) {
	n, err := c.Reader.Read(b)
	c.n += int64(n)
	if c.progress != nil && (c.n == c.total || time.Since(c.last) >= pause) {
		c.last = time.Now()
		c.progress(Progress{ID: c.id, Action: "Downloading", Current: c.n, Total: c.total})
	}
	return n, err
}

// until is a reader that ends with a context, between two reads: what comes from outside may be long.
type until struct {
	io.Reader
	ctx context.Context
}

func (u until) Read(b []byte) (int, error) {
	if u.ctx.Err() != nil {
		return 0, context.Cause(u.ctx)
	}
	return u.Reader.Read(b)
}
