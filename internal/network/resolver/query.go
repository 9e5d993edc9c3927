package resolver

import (
	"encoding/binary"
	"net/netip"
)

// A query is what a client asks: one question, and what it says of itself.
type query struct {
	id       uint16
	flags    uint16
	name     string // as readName gives it
	typ      uint16
	class    uint16
	question []byte // as it was written
	edns     bool
	size     int  // bytes that fit into an answer by UDP
	wantsDO  bool // wants DNSSEC's records
	stream   bool // came by TCP
	client   netip.AddrPort
}

// maxExtra bounds the additional records of a query: OPT, and perhaps a signature, which is not passed on.
const maxExtra = 4

// readQuery reads what a client has sent. A message that wants no answer, because it is none or is itself one, is not ok; with another code than codeOK, that is the answer.
func readQuery(msg []byte) (q *query, code int, ok bool) {
	if len(msg) < headerLen || binary.BigEndian.Uint16(msg[2:])&flagQR != 0 {
		return nil, 0, false
	}
	q = &query{id: binary.BigEndian.Uint16(msg), flags: binary.BigEndian.Uint16(msg[2:]), size: plainSize}
	if q.flags&opcodeMask != 0 {
		return q, codeNotImpl, true
	}
	questions, answers := binary.BigEndian.Uint16(msg[4:]), binary.BigEndian.Uint16(msg[6:])
	authorities, extra := binary.BigEndian.Uint16(msg[8:]), binary.BigEndian.Uint16(msg[10:])
	if questions != 1 {
		return q, codeFormat, true
	}
	name, off, err := readName(msg, headerLen)
	if err != nil || off+4 > len(msg) {
		return q, codeFormat, true
	}
	q.name, q.typ, q.class = name, binary.BigEndian.Uint16(msg[off:]), binary.BigEndian.Uint16(msg[off+2:])
	off += 4
	q.question = append([]byte(nil), msg[headerLen:off]...)
	if q.typ >= typeTKEY && q.typ <= typeMailA || q.typ == typeOPT { // transfers, and what is no type of data
		return q, codeNotImpl, true
	}
	if answers != 0 || authorities != 0 || extra > maxExtra {
		return q, codeFormat, true
	}
	return q, q.readExtra(msg, off, int(extra)), true
}

// readExtra reads the additional records: RFC 6891, section 6.1.
func (q *query) readExtra(msg []byte, off, count int) int {
	code := codeOK
	for range count {
		r, end, err := readRecord(msg, off)
		if err != nil {
			return codeFormat
		}
		off = end
		if r.typ != typeOPT {
			continue
		}
		if q.edns || r.name != "" {
			return codeFormat
		}
		q.edns, q.size, q.wantsDO = true, min(max(int(r.class), plainSize), maxDatagram), r.ttl&flagDO != 0
		if r.ttl>>16&0xff != 0 {
			code = codeVersion
		}
	}
	if off != len(msg) {
		return codeFormat
	}
	return code
}

// limit is how many bytes an answer may have.
func (q *query) limit() int {
	if q.stream {
		return maxMessage
	}
	return q.size
}

// An answer is one that is made here.
type answer struct {
	code  int
	flags uint16 // besides those that every answer has
	ede   int    // 0: none
	text  string // with ede
	ttl   uint32
	addrs []netip.Addr
	names []string // for PTR
}

// reply writes an answer. What does not fit is left out, and the answer marked as cut, so that the client comes again by TCP.
func (q *query) reply(a answer) []byte {
	tail := q.option(a)
	b := q.head(a.code, a.flags)
	count := 0
	put := func(typ uint16, data []byte) bool {
		if len(b)+12+len(data)+len(tail) > q.limit() || count == 0xffff {
			binary.BigEndian.PutUint16(b[2:], binary.BigEndian.Uint16(b[2:])|flagTC)
			return false
		}
		b = binary.BigEndian.AppendUint16(b, questionName)
		b = binary.BigEndian.AppendUint16(b, typ)
		b = binary.BigEndian.AppendUint16(b, classIN)
		b = binary.BigEndian.AppendUint32(b, a.ttl)
		b = binary.BigEndian.AppendUint16(b, uint16(len(data)))
		b = append(b, data...)
		count++
		return true
	}
	for _, addr := range a.addrs {
		typ := uint16(typeAAAA)
		if addr.Is4() {
			typ = typeA
		}
		if !put(typ, addr.AsSlice()) {
			break
		}
	}
	for _, name := range a.names {
		data, err := putName(nil, name)
		if err == nil && !put(typePTR, data) {
			break
		}
	}
	binary.BigEndian.PutUint16(b[6:], uint16(count))
	if tail != nil {
		binary.BigEndian.PutUint16(b[10:], 1)
	}
	return append(b, tail...)
}

// head is the header and the question of an answer.
func (q *query) head(code int, flags uint16) []byte {
	b := make([]byte, headerLen, headerLen+len(q.question)+64)
	binary.BigEndian.PutUint16(b, q.id)
	binary.BigEndian.PutUint16(b[2:], flagQR|flagRA|q.flags&(flagRD|flagCD|opcodeMask)|flags|uint16(code)&rcodeMask)
	if q.question != nil {
		binary.BigEndian.PutUint16(b[4:], 1)
	}
	return append(b, q.question...)
}

// option is the OPT record of an answer; nil if the client sent none, RFC 6891, section 7.
func (q *query) option(a answer) []byte {
	if !q.edns {
		return nil
	}
	var data []byte
	if a.ede != 0 {
		data = binary.BigEndian.AppendUint16(data, optionEDE)
		data = binary.BigEndian.AppendUint16(data, uint16(2+len(a.text)))
		data = binary.BigEndian.AppendUint16(data, uint16(a.ede))
		data = append(data, a.text...)
	}
	var bits uint16
	if q.wantsDO {
		bits = flagDO
	}
	return putOption(nil, uint8(a.code>>4), bits, data)
}

func putOption(b []byte, code uint8, bits uint16, data []byte) []byte {
	b = append(b, 0)
	b = binary.BigEndian.AppendUint16(b, typeOPT)
	b = binary.BigEndian.AppendUint16(b, maxOutside)
	b = append(b, code, 0)
	b = binary.BigEndian.AppendUint16(b, bits)
	b = binary.BigEndian.AppendUint16(b, uint16(len(data)))
	return append(b, data...)
}

// cut is an answer from outside that does not fit: its head, marked, and the client comes again by TCP.
func (q *query) cut(code int, flags uint16) []byte {
	return q.reply(answer{code: code, flags: flags | flagTC})
}

// outward is the query as it is sent outside. It is made anew: nothing of the client's own bytes leaves the machine but the name, in lower case, the
// type, and the bits that DNSSEC needs. Options of EDNS are between neighbours (RFC 6891, section 6.1.1), and a name's letters of either case could carry words.
func (q *query) outward(id uint16, edns bool) []byte {
	b := make([]byte, headerLen, headerLen+len(q.question)+16)
	binary.BigEndian.PutUint16(b, id)
	binary.BigEndian.PutUint16(b[2:], flagRD|q.flags&(flagAD|flagCD))
	binary.BigEndian.PutUint16(b[4:], 1)
	b = append(b, q.question...)
	for i := headerLen; b[i] != 0; {
		label := b[i+1 : i+1+int(b[i])]
		for k, c := range label {
			if c >= 'A' && c <= 'Z' {
				label[k] = c + 'a' - 'A'
			}
		}
		i += 1 + len(label)
	}
	if !edns || !q.edns {
		return b
	}
	binary.BigEndian.PutUint16(b[10:], 1)
	var bits uint16
	if q.wantsDO {
		bits = flagDO
	}
	return putOption(b, 0, bits, nil)
}

// A response is an answer from outside that was read through, and is what was asked for.
type response struct {
	msg    []byte
	code   int
	cut    bool
	answer []record
	other  []record // authority and additional
}

// readResponse reads an answer to what q.outward has sent. It is not ok if it is no answer to that; a peer that sends such things is not listened to,
// as if they were not there.
func (q *query) readResponse(msg []byte, id uint16) (*response, bool) {
	if len(msg) < headerLen || binary.BigEndian.Uint16(msg) != id {
		return nil, false
	}
	flags := binary.BigEndian.Uint16(msg[2:])
	if flags&flagQR == 0 || flags&opcodeMask != 0 {
		return nil, false
	}
	r := &response{msg: msg, code: int(flags & rcodeMask), cut: flags&flagTC != 0}
	questions := binary.BigEndian.Uint16(msg[4:])
	if questions == 0 && (r.code == codeFormat || r.code == codeNotImpl) && len(msg) == headerLen {
		return r, true // from one that does not understand EDNS, or anything at all
	}
	name, off, err := readName(msg, headerLen)
	if questions != 1 || err != nil || off+4 > len(msg) || name != q.name || off+4-headerLen != len(q.question) {
		return nil, false
	}
	if binary.BigEndian.Uint16(msg[off:]) != q.typ || binary.BigEndian.Uint16(msg[off+2:]) != q.class {
		return nil, false
	}
	if r.readAll(off+4) != nil {
		return r, r.cut // what was cut may end anywhere; nothing of it is used
	}
	return r, true
}

func (r *response) readAll(off int) error {
	var all []record
	counts := [3]int{}
	for i := range counts {
		counts[i] = int(binary.BigEndian.Uint16(r.msg[6+2*i:]))
		for range counts[i] {
			rec, end, err := readRecord(r.msg, off)
			if err != nil {
				return err
			}
			off = end
			all = append(all, rec)
			if rec.typ == typeOPT {
				r.code |= int(rec.ttl>>24) << 4
			}
		}
	}
	if off != len(r.msg) {
		return errTrailer
	}
	r.answer, r.other = all[:counts[0]], all[counts[0]:]
	return nil
}

// forClient makes of an answer the client's: its id, its spelling of the name, its flags; cut if it does not fit.
func (r *response) forClient(q *query) []byte {
	flags := binary.BigEndian.Uint16(r.msg[2:])
	if len(r.msg) == headerLen {
		return q.reply(answer{code: r.code})
	}
	if len(r.msg) > q.limit() || r.cut {
		return q.cut(r.code, flags&(flagAD|flagAA))
	}
	b := r.msg
	binary.BigEndian.PutUint16(b, q.id)
	binary.BigEndian.PutUint16(b[2:], flags&^(flagRD|flagCD)|flagRA|q.flags&(flagRD|flagCD))
	copy(b[headerLen:], q.question)
	return b
}
