package tarstream

import (
	"strconv"
	"strings"
)

const xattrPrefix = "SCHILY.xattr."

// pax are the records of an extended header that mean something here.
type pax struct {
	values map[string]string
	xattrs []Xattr
	spans  []Span // GNU.sparse 0.0 repeats its records
	start  int64  // GNU.sparse.offset, whose numbytes has not come yet
	open   bool
}

// parsePAX reads "LENGTH KEY=VALUE\n" records. wrong says what is not as it should be, "" if all is.
func parsePAX(data string, maxSpans int) (p *pax, wrong string) {
	p = &pax{values: map[string]string{}}
	for data != "" {
		digits, rest, ok := strings.Cut(data, " ")
		n, err := strconv.ParseInt(digits, 10, 64)
		if !ok || err != nil || len(digits) > 10 || n < 5 || n > int64(len(data)) || n <= int64(len(digits)+1) {
			return nil, "the length of a record"
		}
		record := rest[:n-int64(len(digits))-1]
		data = data[n:]
		if record[len(record)-1] != '\n' {
			return nil, "the end of a record"
		}
		key, value, ok := strings.Cut(record[:len(record)-1], "=")
		if !ok || key == "" || strings.IndexByte(key, 0) >= 0 {
			return nil, "the key of a record"
		}
		if wrong := p.add(key, value, maxSpans); wrong != "" {
			return nil, wrong
		}
	}
	return p, ""
}

func (p *pax) add(key, value string, maxSpans int) (wrong string) {
	switch key {
	case "path", "linkpath", "uname", "gname":
		if strings.IndexByte(value, 0) >= 0 {
			return "a NUL byte in the record " + key
		}
	case "GNU.sparse.offset", "GNU.sparse.numbytes":
		return p.fragment(key, value, maxSpans)
	}
	if name, ok := strings.CutPrefix(key, xattrPrefix); ok {
		if name == "" {
			return "an extended attribute without a name"
		}
		p.setXattr(name, value)
		return ""
	}
	p.values[key] = value
	return ""
}

// setXattr keeps the last value of a name.
func (p *pax) setXattr(name, value string) {
	for i := range p.xattrs {
		if p.xattrs[i].Name == name {
			p.xattrs[i].Value = value
			return
		}
	}
	p.xattrs = append(p.xattrs, Xattr{name, value})
}

// fragment takes one half of a fragment of a sparse file.
func (p *pax) fragment(key, value string, maxSpans int) (wrong string) {
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil || (key == "GNU.sparse.offset") == p.open {
		return "the record " + key
	}
	if key == "GNU.sparse.offset" {
		p.start, p.open = n, true
		return ""
	}
	if len(p.spans) == maxSpans {
		return "too many fragments of a sparse file"
	}
	p.spans = append(p.spans, Span{p.start, n})
	p.open = false
	return ""
}

// apply lets the records override the fields of the block. An empty value leaves the block's.
func (p *pax) apply(h *Header) (wrong string) {
	for key, to := range map[string]*string{"path": &h.Name, "linkpath": &h.Link} {
		if v := p.values[key]; v != "" {
			*to = v
		}
	}
	for key, to := range map[string]*int64{"uid": &h.UID, "gid": &h.GID, "size": &h.Stored} {
		v := p.values[key]
		if v == "" {
			continue
		}
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil {
			return "the record " + key
		}
		*to = n
	}
	if v := p.values["mtime"]; v != "" {
		var ok bool
		if h.Seconds, h.Nanoseconds, ok = decimal(v); !ok {
			return "the record mtime"
		}
	}
	h.Size, h.Xattrs = h.Stored, p.xattrs
	return ""
}

// decimal reads seconds with a fraction, "-1.5" for instance, of which nanoseconds stay; those count up from the whole second below.
func decimal(s string) (seconds, nanoseconds int64, ok bool) {
	whole, fraction, _ := strings.Cut(s, ".")
	seconds, err := strconv.ParseInt(whole, 10, 64)
	if err != nil {
		return 0, 0, false
	}
	if strings.Trim(fraction, "0123456789") != "" {
		return 0, 0, false
	}
	digits := (fraction + "000000000")[:9]
	if nanoseconds, err = strconv.ParseInt(digits, 10, 64); err != nil {
		return 0, 0, false
	}
	if strings.HasPrefix(whole, "-") && nanoseconds > 0 {
		if seconds == -1<<63 {
			return 0, 0, false
		}
		seconds, nanoseconds = seconds-1, 1e9-nanoseconds
	}
	return seconds, nanoseconds, true
}
