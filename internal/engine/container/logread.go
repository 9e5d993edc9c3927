package container

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"slices"
	"strconv"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"golang.org/x/sys/unix"
)

const (
	maxLogLine  = 1 << 20 // bytes of an entry: 16 KiB of output, each byte six, and what was asked to be kept with it
	maxLogFiles = 1000
	logBlock    = 64 << 10
)

// A logReader reads the lines of a log over all its files: the rotated ones, from the oldest, and the current one, which it follows when that is rotated.
type logReader struct {
	path string
	rest []*logSource // to be read after now
	now  *logSource   // nil: there is no file yet
}

// A logSource is one file. Its descriptor stays good whatever the monitor does with the name.
type logSource struct {
	f      *os.File
	info   os.FileInfo
	packed *gzip.Reader // nil: as it is
	r      *bufio.Reader
	half   []byte // of a line whose end is not there yet
	over   bool   // the line is too long, and left out
	read   int64
	turned bool // it is the current file no more
}

// openLog opens a log; tail is how many lines from its end are wanted, negative for all.
func openLog(path string, tail int) (*logReader, error) {
	list, err := openLogFiles(path)
	if err != nil {
		return nil, err
	}
	r := &logReader{path: path, rest: list}
	if tail >= 0 {
		err = r.skip(tail)
	}
	if err != nil {
		r.close()
		return nil, err
	}
	r.step()
	return r, nil
}

// openLogFiles opens all files of a log, the oldest first. They are opened from the newest on: if one is rotated meanwhile it is met again, and left out, and none is missed.
func openLogFiles(path string) ([]*logSource, error) {
	var out []*logSource
	fail := func(err error) ([]*logSource, error) {
		for _, s := range out {
			s.close()
		}
		return nil, err
	}
	for n := range maxLogFiles {
		name := path
		if n > 0 {
			name += "." + strconv.Itoa(n)
		}
		s, err := openSource(name)
		if n > 0 && errdef.Is(err, errdef.NotFound) {
			s, err = openSource(name + ".gz")
		}
		if errdef.Is(err, errdef.NotFound) {
			if n == 0 {
				continue // between two names, or it never ran
			}
			break
		}
		if err != nil {
			return fail(err)
		}
		if slices.ContainsFunc(out, func(o *logSource) bool { return sameFile(o.info, s.info) }) {
			s.close()
			continue
		}
		out = append(out, s)
	}
	slices.Reverse(out)
	return out, nil
}

func openSource(name string) (*logSource, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if os.IsNotExist(err) {
		return nil, errdef.Errorf(errdef.NotFound, "log: %w", err)
	}
	if err != nil {
		return nil, errdef.Errorf(errdef.Unavailable, "log: %w", err)
	}
	s := &logSource{f: f}
	if s.info, err = f.Stat(); err == nil && !s.info.Mode().IsRegular() {
		err = errdef.Errorf(errdef.Invalid, "is no file")
	}
	if err == nil {
		err = s.rewind(0)
	}
	if err != nil {
		_ = f.Close()
		return nil, errdef.Errorf(errdef.Unavailable, "log: %s: %w", name, err)
	}
	return s, nil
}

// rewind begins anew at a place of the file; of one that is packed, that is its start.
func (s *logSource) rewind(at int64) error {
	if _, err := s.f.Seek(at, io.SeekStart); err != nil {
		return err
	}
	s.read, s.half, s.over = at, nil, false
	var from io.Reader = s.f
	if len(s.f.Name()) > 3 && s.f.Name()[len(s.f.Name())-3:] == ".gz" {
		var err error
		if s.packed, err = gzip.NewReader(s.f); err != nil {
			return err
		}
		from = s.packed
	}
	s.r = bufio.NewReaderSize(from, logBlock)
	return nil
}

func (s *logSource) close() { _ = s.f.Close() }

// line returns the next line, or io.EOF, after which more may come.
func (s *logSource) line() ([]byte, error) {
	for {
		part, err := s.r.ReadSlice('\n')
		s.read += int64(len(part))
		if len(s.half)+len(part) > maxLogLine {
			s.over, s.half = true, s.half[:0]
		}
		switch {
		case err == bufio.ErrBufferFull:
			if !s.over {
				s.half = append(s.half, part...)
			}
		case err != nil:
			if !s.over {
				s.half = append(s.half, part...)
			}
			return nil, err
		case s.over:
			s.over = false
		case len(s.half) > 0:
			whole := append(s.half, part...)
			s.half = nil
			return whole, nil
		default:
			return part, nil
		}
	}
}

// next returns the next line of the log, or io.EOF when there is none for now. It is good until the next call.
func (r *logReader) next() ([]byte, error) {
	for {
		if r.now == nil {
			if r.step(); r.now == nil {
				return nil, io.EOF
			}
		}
		line, err := r.now.line()
		if err == nil {
			return line, nil
		}
		if err != io.EOF {
			if r.now.packed == nil {
				return nil, errdef.Errorf(errdef.Unavailable, "log: %w", err)
			}
			// a packed file that is broken: what is left of the log is in the others
		}
		if !r.step() {
			return nil, io.EOF
		}
	}
}

// step goes on to where more may be read; false if there is nothing yet.
func (r *logReader) step() bool {
	if len(r.rest) == 0 {
		info, err := os.Stat(r.path)
		if err != nil {
			return false // between two names, or there is none yet
		}
		if r.now != nil && sameFile(info, r.now.info) {
			return info.Size() < r.now.read && r.now.rewind(0) == nil // truncated: from its start
		}
		if r.now != nil && !r.now.turned {
			r.now.turned = true // what came between the last read and the rotation
			return true
		}
		if !r.follow() {
			return false
		}
	}
	if r.now != nil {
		r.now.close()
	}
	r.now, r.rest = r.rest[0], r.rest[1:]
	return true
}

// follow finds the files that come after the one that was read.
func (r *logReader) follow() bool {
	list, err := openLogFiles(r.path)
	if err != nil {
		return false
	}
	at := -1
	if r.now != nil {
		if at = slices.IndexFunc(list, func(s *logSource) bool { return sameFile(s.info, r.now.info) }); at < 0 {
			at = len(list) - 2 // it is packed by now: only the current one is new
		}
	}
	for i, s := range list {
		if i <= at {
			s.close()
			continue
		}
		r.rest = append(r.rest, s)
	}
	return len(r.rest) > 0
}

// skip leaves out all but the last lines.
func (r *logReader) skip(tail int) error {
	for i := len(r.rest) - 1; i >= 0; i-- {
		left, err := r.rest[i].tail(tail)
		if err != nil {
			return errdef.Errorf(errdef.Unavailable, "log: %w", err)
		}
		if tail = left; tail > 0 {
			continue
		}
		for _, s := range r.rest[:i] {
			s.close()
		}
		r.rest = r.rest[i:]
		return nil
	}
	return nil
}

// tail goes to where the last n lines begin, and returns how many are missing.
func (s *logSource) tail(n int) (missing int, err error) {
	if s.packed != nil {
		return s.tailPacked(n)
	}
	end := s.info.Size()
	if n == 0 {
		return 0, s.rewind(end)
	}
	buf := make([]byte, logBlock)
	lines := 0
	for at := end; at > 0; {
		size := min(int64(len(buf)), at)
		at -= size
		if _, err := s.f.ReadAt(buf[:size], at); err != nil {
			return n, err
		}
		for i := int(size) - 1; i >= 0; i-- {
			i = bytes.LastIndexByte(buf[:i+1], '\n')
			if i < 0 {
				break
			}
			if at+int64(i) == end-1 {
				continue // the end of the last line
			}
			if lines++; lines == n {
				return 0, s.rewind(at + int64(i) + 1)
			}
		}
	}
	if end > 0 {
		lines++
	}
	return n - lines, s.rewind(0)
}

// tailPacked counts first.
func (s *logSource) tailPacked(n int) (missing int, err error) {
	count := func() (lines int) {
		for {
			if _, err := s.line(); err != nil {
				return lines
			}
			lines++
		}
	}
	all := count()
	if err := s.rewind(0); err != nil {
		return n, err
	}
	for range all - n {
		if _, err := s.line(); err != nil {
			break
		}
	}
	return max(n-all, 0), nil
}

func (r *logReader) close() {
	for _, s := range append(r.rest, r.now) {
		if s != nil {
			s.close()
		}
	}
}
