package image

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// A raw is one header block with whatever is in it; zero fields are those of an empty file of root's.
type raw struct {
	name, link string
	typ        byte
	mode       int64
	uid, gid   int64
	size       int64
	mtime      int64
	major      int64
	minor      int64
	body       string
	sizeBytes  string // in place of size
	nobody     bool   // the body is missing
}

// block makes the header of a ustar archive, PAX-style: names must be short.
func (r raw) block() []byte {
	b := make([]byte, 512)
	copy(b, r.name)
	mode := r.mode
	if mode == 0 {
		mode = 0o755
	}
	number(b[100:108], mode)
	number(b[108:116], r.uid)
	number(b[116:124], r.gid)
	size := r.size
	if size == 0 {
		size = int64(len(r.body))
	}
	number(b[124:136], size)
	if r.sizeBytes != "" {
		copy(b[124:136], r.sizeBytes)
	}
	number(b[136:148], r.mtime)
	b[156] = r.typ
	if r.typ == 0 {
		b[156] = '0'
	}
	copy(b[157:257], r.link)
	copy(b[257:], "ustar\x0000")
	number(b[329:337], r.major)
	number(b[337:345], r.minor)
	seal(b)
	return b
}

// seal computes the checksum.
func seal(b []byte) {
	copy(b[148:156], "        ")
	sum := 0
	for _, c := range b[:512] {
		sum += int(c)
	}
	copy(b[148:156], fmt.Sprintf("%06o\x00 ", sum))
}

func number(b []byte, v int64) {
	s := fmt.Sprintf("%0*o", len(b)-1, v)
	if v >= 0 && len(s) < len(b) {
		copy(b, s)
		return
	}
	for i := len(b) - 1; i >= 0; i-- { // base 256
		b[i] = byte(v)
		v >>= 8
	}
	b[0] |= 0x80
}

func (r raw) bytes() []byte {
	b := r.block()
	if r.nobody {
		return b
	}
	return append(b, pad(r.body)...)
}

func pad(s string) []byte {
	return append([]byte(s), make([]byte, -len(s)&511)...)
}

// pax makes an extended header of "key=value" records.
func pax(records ...string) raw {
	var b strings.Builder
	for _, r := range records {
		n := len(r) + 3
		for len(fmt.Sprint(n))+len(r)+2 != n {
			n++
		}
		fmt.Fprintf(&b, "%d %s\n", n, r)
	}
	return raw{name: "pax", typ: 'x', body: b.String()}
}

// long makes an entry with a name, and a link, of any length.
func long(r raw) []raw {
	p := pax("path=" + r.name)
	if r.link != "" {
		p = pax("path="+r.name, "linkpath="+r.link)
	}
	r.name, r.link = "long", "long"
	if r.typ == 0 || r.typ == '0' || r.typ == '5' {
		r.link = ""
	}
	return []raw{p, r}
}

func tarOf(entries ...raw) []byte {
	var b bytes.Buffer
	for _, e := range entries {
		b.Write(e.bytes())
	}
	b.Write(make([]byte, 1024))
	return b.Bytes()
}

func gzipOf(t *testing.T, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func zstdOf(t *testing.T, data []byte) []byte {
	t.Helper()
	z, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	return z.EncodeAll(data, nil)
}

// zeros writes n zeros.
func zeros(w io.Writer, n int64) error {
	b := make([]byte, 1<<20)
	for n > 0 {
		m, err := w.Write(b[:min(n, int64(len(b)))])
		if err != nil {
			return err
		}
		n -= int64(m)
	}
	return nil
}
