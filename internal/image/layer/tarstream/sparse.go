package tarstream

import (
	"strconv"
	"strings"
)

// paxSparse reads the map of a sparse file whose PAX header says that it is one.
func (r *Reader) paxSparse(h *Header, p *pax) error {
	if h.Type != File {
		return nil
	}
	v := p.values
	version := v["GNU.sparse.major"] + "." + v["GNU.sparse.minor"]
	var spans []Span
	var err error
	switch {
	case version == "1.0":
		spans, err = r.sparseData(h)
	case version == "0.0" || version == "0.1" || version == "." && (v["GNU.sparse.map"] != "" || len(p.spans) > 0):
		spans, err = p.spans, nil
		if m := v["GNU.sparse.map"]; m != "" {
			spans, err = r.sparseMap(m)
		}
		if n := v["GNU.sparse.numblocks"]; err == nil && n != strconv.Itoa(len(spans)) {
			return r.invalid("the number of fragments of a sparse file is %d and said to be %.20q", len(spans), n)
		}
	default:
		return nil // as archive/tar and GNU tar: without a version that is known it is a plain file
	}
	if err != nil {
		return err
	}
	if name := v["GNU.sparse.name"]; name != "" {
		h.Name = name
	}
	size := v["GNU.sparse.size"]
	if size == "" {
		size = v["GNU.sparse.realsize"]
	}
	if size != "" {
		if h.Size, err = strconv.ParseInt(size, 10, 64); err != nil {
			return r.invalid("the real size %.20q of a sparse file is no number", size)
		}
	}
	return r.setSparse(h, spans)
}

// setSparse checks a map: in order, without overlap, within the file, and of as many bytes as are stored.
func (r *Reader) setSparse(h *Header, spans []Span) error {
	var end, sum int64
	for i, s := range spans {
		if s.Offset < end || s.Length < 0 || s.Offset > h.Size-s.Length || h.Size < 0 {
			return r.invalid("fragment %d of a sparse file, %d bytes at %d, overlaps another or lies outside of its %d bytes", i, s.Length, s.Offset, h.Size)
		}
		end = s.Offset + s.Length
		sum += s.Length
	}
	if sum != r.left {
		return r.invalid("a sparse file stores %d bytes, and its map has %d", r.left, sum)
	}
	h.Sparse, h.Stored = append([]Span{}, spans...), r.left
	return nil
}

// sparseMap reads GNU.sparse.map: offset, length, offset, length.
func (r *Reader) sparseMap(text string) ([]Span, error) {
	fields := strings.Split(text, ",")
	if len(fields)%2 != 0 || len(fields)/2 > r.limits.Fragments {
		return nil, r.invalid("GNU.sparse.map has %d numbers; wanted is an even number up to %d", len(fields), 2*r.limits.Fragments)
	}
	var spans []Span
	for i := 0; i < len(fields); i += 2 {
		offset, err := strconv.ParseInt(fields[i], 10, 64)
		length, err2 := strconv.ParseInt(fields[i+1], 10, 64)
		if err != nil || err2 != nil {
			return nil, r.invalid("GNU.sparse.map: %.20q,%.20q are no numbers", fields[i], fields[i+1])
		}
		spans = append(spans, Span{offset, length})
	}
	return spans, nil
}

// sparseData reads the map of version 1.0, which stands in front of the data: lines of decimal numbers, filled up to a block.
func (r *Reader) sparseData(*Header) ([]Span, error) {
	var line []byte
	var block []byte
	next := func() (int64, error) {
		line = line[:0]
		for {
			if len(block) == 0 {
				if r.left < blockSize {
					return 0, r.invalid("the map of a sparse file ends early")
				}
				b, err := r.take()
				if err != nil {
					return 0, err
				}
				r.left -= blockSize
				block = append([]byte(nil), b...)
			}
			c := block[0]
			block = block[1:]
			if c == '\n' {
				n, err := strconv.ParseInt(string(line), 10, 64)
				if err != nil {
					return 0, r.invalid("the map of a sparse file has %q where a number belongs", line)
				}
				return n, nil
			}
			if line = append(line, c); len(line) > 20 {
				return 0, r.invalid("the map of a sparse file has a number of more than 20 digits")
			}
		}
	}
	count, err := next()
	if err != nil {
		return nil, err
	}
	if count < 0 || count > int64(r.limits.Fragments) {
		return nil, r.invalid("a sparse file of %d fragments; the bound is %d", count, r.limits.Fragments)
	}
	var spans []Span
	for range count {
		var s Span
		if s.Offset, err = next(); err != nil {
			return nil, err
		}
		if s.Length, err = next(); err != nil {
			return nil, err
		}
		spans = append(spans, s)
	}
	return spans, nil
}

// oldSparse reads GNU's own form: four entries in the header, and blocks of 21 behind it.
func (r *Reader) oldSparse(h *Header, head []byte) error {
	size, ok := number(head[atRealSize : atRealSize+12])
	if !ok {
		return r.invalid("the real size of a sparse file is no number")
	}
	more := head[atExtended] != 0
	spans, done, err := r.sparseEntries(nil, head[atSparse:atSparse+4*24])
	for err == nil && more && !done {
		var b []byte
		if b, err = r.take(); err != nil {
			break
		}
		more = b[21*24] != 0
		spans, done, err = r.sparseEntries(spans, b[:21*24])
	}
	if err != nil {
		return err
	}
	h.Type, h.Size = File, size
	return r.setSparse(h, spans)
}

// sparseEntries reads entries of 12 bytes offset and 12 bytes length until an empty one.
func (r *Reader) sparseEntries(spans []Span, b []byte) ([]Span, bool, error) {
	for ; len(b) >= 24; b = b[24:] {
		if b[0] == 0 {
			return spans, true, nil
		}
		offset, ok := number(b[:12])
		length, ok2 := number(b[12:24])
		if !ok || !ok2 {
			return nil, false, r.invalid("the map of a sparse file has something that is no number")
		}
		if len(spans) == r.limits.Fragments {
			return nil, false, r.invalid("a sparse file of more than %d fragments", r.limits.Fragments)
		}
		spans = append(spans, Span{offset, length})
	}
	return spans, false, nil
}
