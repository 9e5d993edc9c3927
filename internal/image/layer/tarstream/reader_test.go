package tarstream

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
)

// pieces gives data in pieces of n bytes, so that blocks straddle them.
type pieces struct {
	data []byte
	n    int
}

func (p *pieces) Chunk() ([]byte, error) {
	if len(p.data) == 0 {
		return nil, io.EOF
	}
	b := p.data[:min(p.n, len(p.data))]
	p.data = p.data[len(b):]
	return b, nil
}

// one is an entry as both readers see it.
type one struct {
	name, link    string
	typ           byte
	mode          int64
	uid, gid      int64
	size, seconds int64
	data          string
}

const most = 1 << 20 // of data that is compared

func ours(data []byte, n int) (list []one, err error) {
	r := NewReader(&pieces{data, n}, Limits{})
	for {
		h, err := r.Next()
		if err == io.EOF {
			return list, nil
		}
		if err != nil {
			return list, err
		}
		e := one{h.Name, h.Link, h.Type, h.Mode, h.UID, h.GID, h.Size, h.Seconds, ""}
		if h.Size > most {
			return list, errdef.Errorf(errdef.Invalid, "too large to compare")
		}
		file := make([]byte, h.Size)
		spans := h.Sparse
		if !h.IsSparse() {
			spans = []Span{{0, h.Size}}
		}
		var stored []byte
		for {
			b, err := r.Data()
			if err == io.EOF {
				break
			}
			if err != nil {
				return list, err
			}
			stored = append(stored, b...)
		}
		for _, s := range spans {
			if int64(len(stored)) < s.Length {
				return list, errdef.Errorf(errdef.Invalid, "no data")
			}
			copy(file[s.Offset:s.Offset+s.Length], stored)
			stored = stored[s.Length:]
		}
		e.data = string(file)
		list = append(list, e)
	}
}

func theirs(data []byte) (list []one, err error) {
	r := tar.NewReader(bytes.NewReader(data))
	for {
		h, err := r.Next()
		if err == io.EOF {
			return list, nil
		}
		if err != nil {
			return list, err
		}
		if h.Typeflag == tar.TypeXGlobalHeader {
			continue
		}
		typ := h.Typeflag
		if typ == tar.TypeGNUSparse || typ == tar.TypeCont {
			typ = File
		}
		size := h.Size
		switch typ {
		case Link, Symlink, Char, Block, Dir, FIFO:
			size = 0
		}
		if size > most {
			return list, tar.ErrHeader
		}
		body, err := io.ReadAll(r)
		if err != nil {
			return list, err
		}
		list = append(list, one{h.Name, h.Linkname, typ, h.Mode, int64(h.Uid), int64(h.Gid), size, h.ModTime.Unix(), string(body)})
	}
}

// seal gives every block that looks like a header the checksum that it needs to be read at all.
func seal(data []byte) []byte {
	data = bytes.Clone(data)
	for b := data; len(b) >= blockSize; b = b[blockSize:] {
		if string(b[atMagic:atMagic+5]) != "ustar" {
			continue
		}
		copy(b[atChecksum:], "        ")
		sum := 0
		for _, c := range b[:blockSize] {
			sum += int(c)
		}
		copy(b[atChecksum:], fmt.Sprintf("%06o\x00 ", sum))
	}
	return data
}

// FuzzReader holds the reader against archive/tar: what both take they see alike, however the bytes come in.
func FuzzReader(f *testing.F) {
	for _, format := range []tar.Format{tar.FormatUSTAR, tar.FormatPAX, tar.FormatGNU} {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for _, h := range []tar.Header{
			{Name: "d/", Typeflag: tar.TypeDir, Mode: 0o755}, {Name: "d/f", Typeflag: tar.TypeReg, Size: 3, Uid: 5}, {Name: "l", Linkname: "d/f", Typeflag: tar.TypeSymlink},
		} {
			h.Format, h.ModTime = format, time.Unix(1e9, 0)
			if err := w.WriteHeader(&h); err != nil {
				f.Fatal(err)
			}
			if _, err := w.Write([]byte("abc")[:h.Size]); err != nil {
				f.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes())
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		data = seal(data)
		a, errA := ours(data, 512)
		b, errB := ours(data, 77)
		if len(a) != len(b) || (errA == nil) != (errB == nil) {
			t.Fatalf("in pieces of 512 and of 77 bytes: %d and %d entries, %v, %v", len(a), len(b), errA, errB)
		}
		if errA != nil && !errdef.Is(errA, errdef.Invalid) {
			t.Fatal(errA)
		}
		c, errC := theirs(data)
		if errA != nil || errC != nil {
			return
		}
		if len(a) != len(c) {
			t.Fatalf("%d entries, archive/tar sees %d", len(a), len(c))
		}
		for i := range a {
			if a[i] != b[i] || a[i] != c[i] {
				t.Fatalf("entry %d: %+v, archive/tar sees %+v", i, a[i], c[i])
			}
		}
	})
}
