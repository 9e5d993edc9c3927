package tarstream

import (
	"bytes"
	"strings"
)

// Types of entries.
const (
	File    = '0'
	Link    = '1'
	Symlink = '2'
	Char    = '3'
	Block   = '4'
	Dir     = '5'
	FIFO    = '6'
)

// Types that Next deals with itself.
const (
	oldFile    = 0
	contiguous = '7'
	paxLocal   = 'x'
	paxGlobal  = 'g'
	gnuName    = 'L'
	gnuLink    = 'K'
	gnuSparse  = 'S'
)

// A Header is one entry. Strings are the archive's bytes.
type Header struct {
	Name, Link   string
	Type         byte // one of the constants, or what nobody knows
	Mode         int64
	UID, GID     int64
	Size         int64 // of the file when it is there: a sparse file's with its holes
	Seconds      int64 // mtime
	Nanoseconds  int64 // 0 to 999,999,999
	Major, Minor int64
	Xattrs       []Xattr
	Sparse       []Span // nil: the stored bytes are the whole file
	Stored       int64  // bytes in the archive
}

// IsSparse reports whether the stored bytes go where Sparse says.
func (h *Header) IsSparse() bool { return h.Sparse != nil }

// An Xattr is an extended attribute (SCHILY.xattr.NAME).
type Xattr struct{ Name, Value string }

// A Span is a piece of a sparse file that is stored.
type Span struct{ Offset, Length int64 }

// Offsets of fields in a header block (tar(5), pax(1)).
const (
	blockSize  = 512
	atMode     = 100
	atUID      = 108
	atGID      = 116
	atSize     = 124
	atMtime    = 136
	atChecksum = 148
	atType     = 156
	atLink     = 157
	atMagic    = 257
	atMajor    = 329
	atMinor    = 337
	atPrefix   = 345
	atStarEnd  = 508
	atAtime    = 345 // GNU
	atSparse   = 386 // old GNU: four entries, "is extended", real size
	atExtended = 482
	atRealSize = 483
)

// format is the dialect of a header block.
type format int

const (
	v7 format = iota
	ustar
	star
	gnu
)

func formatOf(b []byte) format {
	magic := string(b[atMagic : atMagic+8])
	switch {
	case magic[:6] == "ustar\x00" && string(b[atStarEnd:]) == "tar\x00":
		return star
	case magic[:6] == "ustar\x00":
		return ustar
	case magic == "ustar  \x00":
		return gnu
	}
	return v7
}

// checksumOK compares the sum of the block with the field; some old programs summed signed bytes.
func checksumOK(b []byte) bool {
	want, ok := octal(b[atChecksum : atChecksum+8])
	if !ok {
		return false
	}
	var unsigned, signed int64
	for i, c := range b[:blockSize] {
		if i >= atChecksum && i < atChecksum+8 {
			c = ' '
		}
		unsigned += int64(c)
		signed += int64(int8(c))
	}
	return want == unsigned || want == signed
}

// parse reads the fields of a block into h and says which field is wrong, "" for none.
func (h *Header) parse(b []byte) (wrong string) {
	f := formatOf(b)
	h.Type = b[atType]
	h.Name, h.Link = text(b[:atMode]), text(b[atLink:atMagic])
	for _, n := range []struct {
		to       *int64
		at, size int
		name     string
	}{
		{&h.Mode, atMode, 8, "mode"},
		{&h.UID, atUID, 8, "uid"},
		{&h.GID, atGID, 8, "gid"},
		{&h.Stored, atSize, 12, "size"},
		{&h.Seconds, atMtime, 12, "mtime"},
		{&h.Major, atMajor, 8, "device major"},
		{&h.Minor, atMinor, 8, "device minor"},
	} {
		if f == v7 && n.at >= atMajor {
			continue
		}
		v, ok := number(b[n.at : n.at+n.size])
		if !ok {
			return n.name
		}
		*n.to = v
	}
	if prefix := prefixOf(b, f); prefix != "" {
		h.Name = prefix + "/" + h.Name
	}
	h.Size = h.Stored
	return ""
}

// prefixOf returns the first part of a long name. GNU has times there; some programs wrote a prefix with GNU's magic all the same, which
// shows by its not being numbers.
func prefixOf(b []byte, f format) string {
	switch f {
	case ustar:
		return text(b[atPrefix : atPrefix+155])
	case star:
		return text(b[atPrefix : atPrefix+131])
	case gnu:
		for _, at := range []int{atAtime, atAtime + 12} {
			if b[at] == 0 {
				continue
			}
			if _, ok := number(b[at : at+12]); !ok {
				if p := text(b[atPrefix : atPrefix+155]); isASCII(p) {
					return p
				}
			}
		}
	}
	return ""
}

func isASCII(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r >= 0x80 }) < 0
}

// text reads a field that a NUL ends, if there is one.
func text(b []byte) string {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return string(b)
}

// number reads a numeric field: octal digits, or two's complement in base 256 when the first bit is set.
func number(b []byte) (int64, bool) {
	if b[0]&0x80 == 0 {
		return octal(b)
	}
	var invert byte
	if b[0]&0x40 != 0 {
		invert = 0xff
	}
	var v uint64
	for i, c := range b {
		c ^= invert
		if i == 0 {
			c &= 0x7f
		}
		if v>>56 != 0 {
			return 0, false
		}
		v = v<<8 | uint64(c)
	}
	if v>>63 != 0 {
		return 0, false
	}
	if invert != 0 {
		return ^int64(v), true
	}
	return int64(v), true
}

func octal(b []byte) (int64, bool) {
	s := text(bytes.Trim(b, " \x00"))
	var v int64
	for _, c := range []byte(s) {
		if c < '0' || c > '7' || v>>60 != 0 {
			return 0, false
		}
		v = v<<3 | int64(c-'0')
	}
	return v, true
}
