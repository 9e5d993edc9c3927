package wire

import (
	"encoding/binary"
	"math"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
)

// MaxMessage bounds a packet, bytes.
const MaxMessage = 64 << 10

// Kind says what a message is.
type Kind byte

// Kinds of messages: from the engine, from the worker, and answers to the latter.
const (
	Unpack Kind = iota + 1 // Name: the directory to fill, Text: media type; one descriptor: the stream
	Remove                 // Name: the tree to remove
	Diff                   // Name: the upper directory, List: lower directories, the uppermost first; one descriptor: where to
	Cancel                 // Target: the request to give up

	Ready  // the worker is there
	Done   // Result
	Failed // Number: the error's kind, Text, Hint
	Node   // Name: the path below the request's directory; Number: mode, Device
	Opaque // Name: as above
	List   // List: more of Result.Implied

	Answer // Number: errno of a Node or an Opaque, 0 for none
)

// A Message is one packet. Which fields mean something its kind says.
type Message struct {
	Kind   Kind
	ID     uint32 // of the request that it belongs to
	Target uint32
	Number int64
	Device uint64
	Name   string
	Text   string
	Hint   string
	List   []string
	Flags  uint32
	Limits Limits
	Result Result
}

// Flags of a request.
const (
	UserXattr = 1 << iota // opaque directories are marked in the user namespace of attributes: for an overlay of a user namespace
	Devices               // the engine makes device nodes
	Squash                // what belongs to ids that are not mapped becomes root's, and is counted
)

// numbers are the fields of fixed size, in order.
func (m *Message) numbers() []any {
	l, r := &m.Limits, &m.Result
	return []any{
		&m.ID, &m.Target, &m.Number, &m.Device, &m.Flags,
		&l.Entries, &l.Bytes, &l.FileBytes, &l.Ratio, &l.FreeBytes, &l.Path, &l.Depth, &l.XattrBytes, &l.Xattrs, &l.Headers, &l.Window, &l.Time,
		&r.Bytes, &r.Read, &r.Entries, &r.Skipped.Devices, &r.Skipped.Xattrs, &r.Skipped.Owners, &r.Skipped.Meta, &r.Peak, &r.Opaque,
	}
}

func (m *Message) strings() []*string {
	return []*string{&m.Name, &m.Text, &m.Hint, &m.Result.DiffID}
}

// Encode returns the packet. An error of kind Invalid says that it would be too long.
func (m *Message) Encode() ([]byte, error) {
	b := []byte{byte(m.Kind)}
	for _, f := range m.numbers() {
		var v uint64
		switch f := f.(type) {
		case *uint32:
			v = uint64(*f)
		case *int64:
			v = uint64(*f)
		case *uint64:
			v = *f
		case *int:
			v = uint64(*f)
		case *time.Duration:
			v = uint64(*f)
		case *bool:
			if *f {
				v = 1
			}
		}
		b = binary.LittleEndian.AppendUint64(b, v)
	}
	for _, s := range m.strings() {
		b = appendString(b, *s)
	}
	b = binary.LittleEndian.AppendUint32(b, uint32(len(m.List)))
	for _, s := range m.List {
		b = appendString(b, s)
	}
	if len(b) > MaxMessage {
		return nil, errdef.Errorf(errdef.Invalid, "a message of %d bytes to or from the unpacking process; the bound is %d", len(b), MaxMessage)
	}
	return b, nil
}

func appendString(b []byte, s string) []byte {
	return append(binary.LittleEndian.AppendUint32(b, uint32(len(s))), s...)
}

// Decode reads a packet.
func Decode(b []byte) (*Message, error) {
	d := decoder{b: b}
	m := &Message{Kind: Kind(d.byte())}
	for _, f := range m.numbers() {
		v := d.uint64()
		switch f := f.(type) {
		case *uint32:
			if v > math.MaxUint32 {
				d.bad = true
			}
			*f = uint32(v)
		case *int64:
			*f = int64(v)
		case *uint64:
			*f = v
		case *int:
			*f = int(v)
		case *time.Duration:
			*f = time.Duration(v)
		case *bool:
			*f = v != 0
		}
	}
	for _, s := range m.strings() {
		*s = d.string()
	}
	n := d.uint32()
	for i := uint32(0); i < n && !d.bad; i++ {
		m.List = append(m.List, d.string())
	}
	if d.bad || len(d.b) != 0 || m.Kind < Unpack || m.Kind > Answer {
		return nil, errdef.Errorf(errdef.Invalid, "a message to or from the unpacking process is malformed")
	}
	return m, nil
}

type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) next(n int) []byte {
	if d.bad || n < 0 || n > len(d.b) {
		d.bad = true
		return make([]byte, 8)
	}
	b := d.b[:n]
	d.b = d.b[n:]
	return b
}

func (d *decoder) byte() byte     { return d.next(1)[0] }
func (d *decoder) uint32() uint32 { return binary.LittleEndian.Uint32(d.next(4)) }
func (d *decoder) uint64() uint64 { return binary.LittleEndian.Uint64(d.next(8)) }

func (d *decoder) string() string {
	n := d.uint32()
	if uint64(n) > uint64(len(d.b)) {
		d.bad = true
		return ""
	}
	return string(d.next(int(n)))
}
