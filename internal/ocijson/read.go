package ocijson

import (
	"strconv"
	"time"
)

// Signed is any signed integer type.
type Signed interface {
	~int | ~int8 | ~int16 | ~int32 | ~int64
}

// Unsigned is any unsigned integer type.
type Unsigned interface {
	~uint | ~uint8 | ~uint16 | ~uint32 | ~uint64
}

// The Read functions set *v to the value that comes next. A null leaves *v as it is, or makes it nil where it can be.

// absent reports whether there is nothing to read: an error before, or a null.
func (d *Decoder) absent() bool {
	if d.err != nil {
		return true
	}
	if d.peek() == 'n' {
		d.null()
		return true
	}
	return false
}

// ReadString reads a string.
func ReadString[T ~string](d *Decoder, v *T) {
	if d.absent() {
		return
	}
	if d.peek() != '"' {
		d.mismatch("a string")
		return
	}
	if s, ok := d.text(); ok {
		*v = T(s)
	}
}

// ReadBool reads true or false.
func ReadBool[T ~bool](d *Decoder, v *T) {
	if d.absent() {
		return
	}
	if c := d.peek(); c != 't' && c != 'f' {
		d.mismatch("true or false")
		return
	}
	*v = T(d.boolean())
}

// ReadInt reads an integer that fits T.
func ReadInt[T Signed](d *Decoder, v *T) {
	if d.absent() {
		return
	}
	text, ok := d.integer()
	if !ok {
		return
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || int64(T(n)) != n {
		high := int64(1)<<(width(func(i int) bool { return T(1)<<i != 0 })-1) - 1
		d.outOfRange(text, -high-1, uint64(high))
		return
	}
	*v = T(n)
}

// ReadUint reads an integer that fits T. As for encoding/json, -0 does not.
func ReadUint[T Unsigned](d *Decoder, v *T) {
	if d.absent() {
		return
	}
	text, ok := d.integer()
	if !ok {
		return
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil || uint64(T(n)) != n {
		d.outOfRange(text, 0, uint64(^T(0)))
		return
	}
	*v = T(n)
}

// width returns how many bits can be set.
func width(set func(int) bool) int {
	n := 0
	for set(n) {
		n++
	}
	return n
}

// ReadFloat reads a number.
func ReadFloat[T ~float64](d *Decoder, v *T) {
	if d.absent() {
		return
	}
	if c := d.peek(); c != '-' && (c < '0' || c > '9') {
		d.mismatch("a number")
		return
	}
	text, _, ok := d.number()
	if !ok {
		return
	}
	n, err := strconv.ParseFloat(text, 64)
	if err != nil {
		d.fail(classRange, d.pos-len(text), "the number "+quote(text)+" does not fit")
		return
	}
	*v = T(n)
}

// ReadTime reads a time in the form of RFC 3339.
func ReadTime(d *Decoder, v *time.Time) {
	if d.absent() {
		return
	}
	at := d.pos
	var s string
	ReadString(d, &s)
	if d.err != nil {
		return
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		d.fail(classType, at, "want a time in the form of RFC 3339, found "+quote(s))
		return
	}
	*v = t
}

// ReadPtr reads what a pointer points to.
func ReadPtr[T any](d *Decoder, v **T, read func(*Decoder, *T)) {
	if d.absent() {
		return
	}
	*v = new(T)
	read(d, *v)
}

// ReadSlice reads an array. [] gives a slice that is empty and not nil.
func ReadSlice[T any](d *Decoder, v *[]T, read func(*Decoder, *T)) {
	if !d.open('[', "an array") {
		return
	}
	s := []T{}
	for d.element(len(s)) {
		if s = append(s, *new(T)); len(s) == 1 {
			s = append(make([]T, 0, 8), s...)
		}
		read(d, &s[len(s)-1])
	}
	*v = s
}

// ReadStrings reads an array of strings with a single allocation.
func ReadStrings[T ~string](d *Decoder, v *[]T) {
	if !d.open('[', "an array") {
		return
	}
	all := d.scratch[:0]
	for d.element(len(all)) {
		var s string
		ReadString(d, &s)
		all = append(all, s)
	}
	d.scratch = all
	s := make([]T, len(all))
	for i := range all {
		s[i] = T(all[i])
	}
	*v = s
}

// ReadMap reads an object with free names. {} gives a map that is empty and not nil; a name that stands twice is refused.
func ReadMap[T any](d *Decoder, v *map[string]T, read func(*Decoder, *T)) {
	if !d.open('{', "an object") {
		return
	}
	m := map[string]T{}
	for first := true; ; first = false {
		name, at, ok := d.key(first)
		if !ok || !d.count() {
			break
		}
		if _, twice := m[name]; twice {
			d.fail(classDuplicate, at, "the name stands twice")
			break
		}
		var e T
		read(d, &e)
		m[name] = e
	}
	*v = m
}

// ReadAny reads any value into what encoding/json would make of it: nil, bool, float64, string, []any or map[string]any. It is for
// fields whose form the specification leaves open (windows.credentialSpec).
func ReadAny(d *Decoder, v *any) {
	if d.absent() {
		return
	}
	switch c := d.peek(); c {
	case '{':
		var m map[string]any
		ReadMap(d, &m, ReadAny)
		*v = m
	case '[':
		var s []any
		ReadSlice(d, &s, ReadAny)
		*v = s
	case '"':
		s, _ := d.text()
		*v = s
	case 't', 'f':
		*v = d.boolean()
	default:
		var n float64
		ReadFloat(d, &n)
		*v = n
	}
}
