package ocijson

import (
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
)

// Limits of a document.
const (
	MaxDepth    = 64      // objects and arrays inside each other; a config.json has 7
	MaxElements = 1 << 18 // elements of all arrays and maps together
)

// Decoder reads one JSON document from its start to its end. The first error sticks: after it every call does nothing, so that
// generated code need not check. A Decoder is made and checked by [Unmarshal].
type Decoder struct {
	src      string
	pos      int
	depth    int
	elements int
	err      *Error
	path     [MaxDepth]step // of the value being read: the first depth entries
	scratch  []string       // reused by ReadStrings
}

// Unmarshal sets *v to what read makes of the document data, or, on an error, leaves it zero. The error is of kind
// [errdef.Invalid] and has an [*Error] in its chain.
func Unmarshal[T any](data []byte, v *T, read func(*Decoder, *T)) error {
	var zero T
	*v = zero
	d := &Decoder{src: string(data)}
	if d.peek() == 'n' && d.null() {
		d.fail(classNull, 0, "want an object, found null")
	}
	read(d, v)
	if d.err == nil && d.peek() != 0 || d.pos < len(d.src) {
		d.fail(classSyntax, d.pos, "something follows the end of the document")
	}
	if d.err != nil {
		*v = zero
		return errdef.WithKind(errdef.Invalid, d.err)
	}
	return nil
}

// fail records the first error, found at offset at.
func (d *Decoder) fail(c class, at int, reason string) {
	if d.err != nil {
		return
	}
	before := d.src[:at]
	d.err = &Error{
		Path:   pathString(d.path[:d.depth]),
		Reason: reason,
		Line:   1 + strings.Count(before, "\n"),
		Column: at - strings.LastIndexByte(before, '\n'),
		Offset: at,
		class:  c,
	}
}

// peek skips space and returns the next byte without taking it; 0 at the end. A zero byte in the document is no JSON either, and
// every caller treats it so.
func (d *Decoder) peek() byte {
	for d.pos < len(d.src) {
		switch c := d.src[d.pos]; c {
		case ' ', '\n', '\t', '\r':
			d.pos++
		default:
			return c
		}
	}
	return 0
}

// open takes the bracket that opens an object or array, or a null in its place, and reports whether there are members to read.
func (d *Decoder) open(bracket byte, want string) bool {
	if d.err != nil {
		return false
	}
	switch d.peek() {
	case bracket:
		return d.enter()
	case 'n':
		d.null()
	default:
		d.mismatch(want)
	}
	return false
}

// enter takes a bracket and goes one level down.
func (d *Decoder) enter() bool {
	if d.depth == MaxDepth {
		d.fail(classDepth, d.pos, "values are nested too deep")
		return false
	}
	d.path[d.depth] = step{"", nowhere}
	d.depth++
	d.pos++
	return true
}

// leave takes a bracket and goes one level up.
func (d *Decoder) leave() bool {
	d.depth--
	d.pos++
	return false
}

// member goes to the next member of the object or array that was opened, past the comma, or past the bracket that closes it, and
// reports whether there is one.
func (d *Decoder) member(first bool, bracket byte) bool {
	if d.err != nil {
		return false
	}
	c := d.peek()
	if c == bracket {
		return d.leave()
	}
	if first {
		return true
	}
	if c != ',' {
		d.unexpected("want ',' or '" + string(rune(bracket)) + "'")
		return false
	}
	d.pos++
	if d.peek() == bracket {
		d.fail(classSyntax, d.pos, "a comma stands before the closing '"+string(rune(bracket))+"'")
		return false
	}
	return true
}

// key goes to the next member of an object and returns its name and where it stands.
func (d *Decoder) key(first bool) (name string, at int, ok bool) {
	if !d.member(first, '}') {
		return "", 0, false
	}
	if d.peek() != '"' {
		d.unexpected("want a name in quotes")
		return "", 0, false
	}
	at = d.pos
	name, ok = d.text()
	if !ok {
		return "", 0, false
	}
	if d.peek() != ':' {
		d.unexpected("want ':' after " + quote(name))
		return "", 0, false
	}
	d.pos++
	d.path[d.depth-1] = step{name, isKey}
	return name, at, true
}

// element goes to element i of the array that was opened.
func (d *Decoder) element(i int) bool {
	if !d.member(i == 0, ']') {
		return false
	}
	d.path[d.depth-1] = step{"", i}
	return d.count()
}

// count counts an element of an array or map.
func (d *Decoder) count() bool {
	d.elements++
	if d.elements > MaxElements {
		d.fail(classCount, d.pos, "the document has too many elements")
		return false
	}
	return true
}

// Fields goes through an object whose names are known.
type Fields struct {
	I int // index of the field, set by Next

	d     *Decoder
	names []string
	seen  uint64
	open  bool
	first bool
}

// Object opens the object that comes next. names, at most 64, are the fields that Next stops at. A null has no fields.
func (d *Decoder) Object(names []string) Fields {
	return Fields{I: -1, d: d, names: names, open: d.open('{', "an object"), first: true}
}

// Next goes to the next known field; its value must be read before the next call. A name counts as known also in other case of its ASCII
// letters. Fields that are not known are skipped.
func (f *Fields) Next() bool {
	for f.open {
		name, at, ok := f.d.key(f.first)
		f.first = false
		if !ok {
			break
		}
		i := f.find(name)
		if i < 0 {
			i = f.findFolded(name)
		}
		if i < 0 {
			f.unknown(name, at)
			continue
		}
		if f.seen&(1<<i) != 0 {
			f.twice(name, at, i)
			break
		}
		f.seen |= 1 << i
		f.I = i
		return true
	}
	f.open = false
	return false
}

// find looks a name up, first after the field before: documents are mostly written in the order of the struct.
func (f *Fields) find(name string) int {
	for i := f.I + 1; i < len(f.names); i++ {
		if f.names[i] == name {
			return i
		}
	}
	for i := 0; i <= f.I && i < len(f.names); i++ {
		if f.names[i] == name {
			return i
		}
	}
	return -1
}

// findFolded looks up a name that is not written as it should be: as encoding/json does, but folds the case of ASCII letters alone.
func (f *Fields) findFolded(name string) int {
	for i, known := range f.names {
		if sameFolded(known, name) {
			return i
		}
	}
	return -1
}

// sameFolded reports whether two names are the same but for the case of ASCII letters.
func sameFolded(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// twice refuses a field that stands a second time, in whatever case.
func (f *Fields) twice(name string, at, i int) {
	reason := "the field stands twice"
	if name != f.names[i] {
		reason += ", " + f.names[i] + " in different case being the same"
	}
	f.d.fail(classDuplicate, at, reason)
}

// unknown skips a field that is not known, unless it becomes a known one when Unicode folds case: encoding/json takes such a name for the
// field (the Kelvin sign for a k), and nobody means it.
func (f *Fields) unknown(name string, at int) {
	for _, known := range f.names {
		if strings.EqualFold(known, name) {
			f.d.fail(classCase, at, "the name looks like "+known+" and is written with other letters")
			return
		}
	}
	f.d.Skip()
}

// Skip reads any value and drops it.
func (d *Decoder) Skip() {
	if d.err != nil {
		return
	}
	switch c := d.peek(); c {
	case '{':
		if !d.enter() {
			return
		}
		for first := true; ; first = false {
			if _, _, ok := d.key(first); !ok {
				return
			}
			d.Skip()
		}
	case '[':
		if !d.enter() {
			return
		}
		for first := true; d.member(first, ']'); first = false {
			d.Skip()
		}
	case '"':
		d.text()
	case 't', 'f':
		d.boolean()
	case 'n':
		d.null()
	default:
		d.number()
	}
}
