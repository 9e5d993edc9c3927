package cli

import (
	"context"
	"io"
	"os"
)

// readable returns what reads a file until ctx ends. A pipe may have nothing for hours: then the read is left behind, and ends with the process.
func readable(ctx context.Context, f *os.File) io.Reader {
	if st, err := f.Stat(); err == nil && st.Mode().IsRegular() {
		return regular{ctx, f}
	}
	r := &piped{ctx: ctx, full: make(chan chunk), empty: make(chan []byte, 2)}
	for range cap(r.empty) {
		r.empty <- make([]byte, 256<<10)
	}
	go r.fill(f)
	return r
}

type regular struct {
	ctx context.Context
	io.Reader
}

func (r regular) Read(b []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.Reader.Read(b)
}

type chunk struct {
	data, whole []byte
	err         error
}

// piped reads ahead by one chunk.
type piped struct {
	ctx   context.Context
	full  chan chunk
	empty chan []byte
	now   chunk
}

func (r *piped) fill(f *os.File) {
	for {
		var b []byte
		select {
		case b = <-r.empty:
		case <-r.ctx.Done():
			return
		}
		n, err := f.Read(b)
		select {
		case r.full <- chunk{b[:n], b, err}:
		case <-r.ctx.Done():
			return
		}
		if err != nil {
			return
		}
	}
}

// Read is io.Reader's.
func (r *piped) Read(b []byte) (int, error) {
	for len(r.now.data) == 0 {
		if r.now.err != nil {
			return 0, r.now.err
		}
		if r.now.whole != nil {
			r.empty <- r.now.whole
		}
		select {
		case r.now = <-r.full:
		case <-r.ctx.Done():
			return 0, r.ctx.Err()
		}
	}
	n := copy(b, r.now.data)
	r.now.data = r.now.data[n:]
	return n, nil
}
