package resolver

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"strconv"
	"strings"
)

// Sizes and codes of RFC 1035, section 4.1, and RFC 6891.
const (
	headerLen  = 12
	maxName    = 255 // bytes of a name, RFC 1035, section 2.3.4
	maxLabel   = 63
	maxMessage = 65535
	plainSize  = 512 // of a UDP message without EDNS

	flagQR = 1 << 15
	flagAA = 1 << 10
	flagTC = 1 << 9
	flagRD = 1 << 8
	flagRA = 1 << 7
	flagAD = 1 << 5
	flagCD = 1 << 4

	codeOK       = 0
	codeFormat   = 1
	codeServer   = 2
	codeName     = 3 // NXDOMAIN
	codeNotImpl  = 4
	codeRefused  = 5
	codeVersion  = 16 // BADVERS
	opcodeMask   = 0xf << 11
	rcodeMask    = 0xf
	classIN      = 1
	typeA        = 1
	typeNS       = 2
	typeCNAME    = 5
	typeSOA      = 6
	typePTR      = 12
	typeMX       = 15
	typeAAAA     = 28
	typeSRV      = 33
	typeDNAME    = 39
	typeOPT      = 41
	typeSVCB     = 64
	typeHTTPS    = 65
	typeTKEY     = 249
	typeTSIG     = 250
	typeIXFR     = 251
	typeMailA    = 254
	typeANY      = 255
	optionEDE    = 15 // RFC 8914
	edeBlocked   = 15
	edeNoReach   = 22 // no reachable authority
	flagDO       = 1 << 15
	pointerBits  = 0xc0
	questionName = 0xc000 | headerLen // a pointer to the name of the question
)

var (
	errShort   = errors.New("message ends too early")
	errName    = errors.New("name is malformed")
	errTrailer = errors.New("bytes after the last record")
)

// appendLabel writes a label as text: lower case; what is no letter, digit, hyphen or underscore as \DDD, so that no text of a
// well-formed name can be made from other labels (a dot within a label, a control character).
func appendLabel(b, label []byte) []byte {
	for _, c := range label {
		switch {
		case c >= 'A' && c <= 'Z':
			b = append(b, c+'a'-'A')
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '-', c == '_', c == '*', c == '/':
			b = append(b, c)
		default:
			b = append(b, '\\', '0'+c/100, '0'+c/10%10, '0'+c%10)
		}
	}
	return b
}

// readName reads the name at off: as text, in lower case and without the last dot, and where it ends. A pointer leads to an earlier place than
// where the name, or the part of it that it ends, began, so that every name ends; and never into the header.
func readName(msg []byte, off int) (string, int, error) {
	var text [maxName * 4]byte
	name, end, err := appendName(text[:0], msg, off)
	return string(name), end, err
}

func appendName(b, msg []byte, off int) (name []byte, end int, err error) {
	limit, size, jumped := off, 0, false
	for {
		if off >= len(msg) {
			return nil, 0, errShort
		}
		n := int(msg[off])
		switch n & pointerBits {
		case 0:
			if off+1+n > len(msg) {
				return nil, 0, errShort
			}
			if size += 1 + n; size > maxName {
				return nil, 0, errName
			}
			if n == 0 {
				if !jumped {
					end = off + 1
				}
				return b, end, nil
			}
			if len(b) > 0 {
				b = append(b, '.')
			}
			b = appendLabel(b, msg[off+1:off+1+n])
			off += 1 + n
		case pointerBits:
			if off+2 > len(msg) {
				return nil, 0, errShort
			}
			to := (n&^pointerBits)<<8 | int(msg[off+1])
			if !jumped {
				end, jumped = off+2, true
			}
			if to >= limit || to < headerLen {
				return nil, 0, errName
			}
			off, limit = to, to
		default:
			return nil, 0, errName
		}
	}
}

// putName appends a name that is given as text. The bytes of labels stand for themselves.
func putName(b []byte, name string) ([]byte, error) {
	start := len(b)
	for name != "" {
		label, rest, _ := strings.Cut(name, ".")
		if label == "" || len(label) > maxLabel {
			return nil, errName
		}
		b = append(append(b, byte(len(label))), label...)
		name = rest
	}
	if b = append(b, 0); len(b)-start > maxName {
		return nil, errName
	}
	return b, nil
}

// A record is a resource record of a message.
type record struct {
	name    string
	typ     uint16
	class   uint16
	ttl     uint32
	ttlAt   int // where the TTL stands
	data    int // where the data begins
	dataLen int
}

// readRecord reads the record at off. Names within the data of the types that may be compressed (RFC 3597, section 4) are followed too, so
// that what is passed on leads nobody astray.
func readRecord(msg []byte, off int) (r record, end int, err error) {
	if r.name, off, err = readName(msg, off); err != nil {
		return r, 0, err
	}
	if off+10 > len(msg) {
		return r, 0, errShort
	}
	r.typ, r.class = binary.BigEndian.Uint16(msg[off:]), binary.BigEndian.Uint16(msg[off+2:])
	r.ttl, r.ttlAt = binary.BigEndian.Uint32(msg[off+4:]), off+4
	r.dataLen, r.data = int(binary.BigEndian.Uint16(msg[off+8:])), off+10
	if end = r.data + r.dataLen; end > len(msg) {
		return r, 0, errShort
	}
	return r, end, r.check(msg[:end])
}

func (r *record) check(msg []byte) error {
	skip, names, rest := 0, 0, 0 // bytes before the names, names, bytes after them
	switch r.typ {
	case typeA:
		rest = 4
	case typeAAAA:
		rest = 16
	case typeNS, typeCNAME, typePTR, typeDNAME:
		names = 1
	case typeSOA:
		names, rest = 2, 20
	case typeMX:
		skip, names = 2, 1
	case typeSRV:
		skip, names = 6, 1
	default:
		return nil
	}
	if r.class != classIN {
		return nil
	}
	off := r.data + skip
	for range names {
		var err error
		if _, off, err = readName(msg, off); err != nil {
			return err
		}
	}
	if off+rest != len(msg) {
		return errShort
	}
	return nil
}

// target returns the name that the data of a CNAME, DNAME or PTR is.
func (r *record) target(msg []byte) string {
	name, _, _ := readName(msg[:r.data+r.dataLen], r.data)
	return name
}

// addr returns the address of an A or AAAA record.
func (r *record) addr(msg []byte) (netip.Addr, bool) {
	if r.class != classIN || r.typ != typeA && r.typ != typeAAAA {
		return netip.Addr{}, false
	}
	return netip.AddrFromSlice(msg[r.data : r.data+r.dataLen])
}

// arpa returns the address that a name below in-addr.arpa or ip6.arpa stands for.
func arpa(name string) (netip.Addr, bool) {
	if rest, ok := strings.CutSuffix(name, ".in-addr.arpa"); ok {
		labels := strings.Split(rest, ".")
		if len(labels) != 4 {
			return netip.Addr{}, false
		}
		a, err := netip.ParseAddr(labels[3] + "." + labels[2] + "." + labels[1] + "." + labels[0])
		return a, err == nil
	}
	rest, ok := strings.CutSuffix(name, ".ip6.arpa")
	if !ok || len(rest) != 63 {
		return netip.Addr{}, false
	}
	var b [16]byte
	for i := range 32 {
		n, err := strconv.ParseUint(rest[2*i:2*i+1], 16, 4)
		if err != nil || 2*i+1 < len(rest) && rest[2*i+1] != '.' {
			return netip.Addr{}, false
		}
		b[15-i/2] |= byte(n) << (4 * (i % 2))
	}
	return netip.AddrFrom16(b), true
}
