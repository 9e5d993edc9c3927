// Package strictjson reads JSON that somebody else wrote as if every byte of it were hostile.
//
// encoding/json is lenient where an attacker wants it: of two equal keys the last one wins, a key that differs in case is taken for the
// field, bytes that are no UTF-8 are replaced, and memory grows with what comes. Two readers of one document then see two documents
// (CVE-2021-41190 is one of that kind). Check refuses all that before anything is decoded:
//
//	err := strictjson.Check(data, strictjson.Limits{Bytes: 4 << 20, Depth: 16, Values: 100_000})
//	err := strictjson.Decode(data, limits, &manifest)            // Check, then encoding/json
//	for key, value := range strictjson.Object(data) { ... }      // the members as they stand, for data that Check accepted
//
// A document that passes has one value and nothing behind it, is UTF-8, has no object with a key twice, is no deeper and has no more
// values than allowed. Names are keys whose spelling must be exact: `Layers` is refused where a reader knows `layers`. Errors are of kind
// Invalid and give the offset in bytes.
//
// It is no decoder of its own: what it accepts, encoding/json accepts too (the fuzz target holds it to that).
package strictjson

import (
	"bytes"
	"encoding/json"
	"strings"
	"unicode/utf8"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
)

// Limits bound a document. Zero means none of it: the zero Limits refuse everything.
type Limits struct {
	Bytes  int      // of the document
	Depth  int      // of nested objects and arrays
	Values int      // of objects, arrays, strings, numbers and words in all; keys are not counted
	Names  []string // keys that may be spelled in no other case
	Free   []string // keys whose objects have names of their own in them, which Names do not concern
}

// manyKeys is the number of keys from which on an object gets a map to find a double one.
const manyKeys = 16

// Check reports what is wrong with the document.
func Check(data []byte, l Limits) error {
	if len(data) > l.Bytes {
		return wrong("JSON of %d bytes, at most %d", len(data), l.Bytes)
	}
	if !utf8.Valid(data) {
		return wrong("JSON that is no UTF-8")
	}
	s := scanner{data: data, limits: l}
	if len(l.Names) > 0 {
		s.names = make(map[string]string, 2*len(l.Names))
		for _, name := range l.Names {
			s.names[fold(name)] = name
			s.names[name] = name
		}
	}
	if err := s.value(0, false); err != nil {
		return err
	}
	s.space()
	if s.at < len(data) {
		return wrong("byte %d: something after the end of the JSON", s.at)
	}
	return nil
}

// Decode checks the document and stores it in out as encoding/json does.
func Decode(data []byte, l Limits, out any) error {
	if err := Check(data, l); err != nil {
		return err
	}
	if err := json.Unmarshal(data, out); err != nil {
		return errdef.WithKind(errdef.Invalid, err)
	}
	return nil
}

func wrong(format string, args ...any) error { return errdef.Errorf(errdef.Invalid, format, args...) }

type scanner struct {
	data   []byte
	at     int
	values int
	limits Limits
	names  map[string]string // as it must be, and folded -> as it must be
}

func (s *scanner) space() {
	for s.at < len(s.data) {
		switch s.data[s.at] {
		case ' ', '\t', '\n', '\r':
			s.at++
		default:
			return
		}
	}
}

// peek returns the next byte that is no space, 0 at the end: no value begins with it.
func (s *scanner) peek() byte {
	s.space()
	if s.at == len(s.data) {
		return 0
	}
	return s.data[s.at]
}

func (s *scanner) unexpected(want string) error {
	if s.at >= len(s.data) {
		return wrong("byte %d: the JSON ends where %s should stand", s.at, want)
	}
	return wrong("byte %d: %q where %s should stand", s.at, s.data[s.at:min(s.at+1, len(s.data))], want)
}

// value reads one value. The recursion is bounded by Depth.
func (s *scanner) value(depth int, free bool) error {
	c := s.peek()
	if s.values++; s.values > s.limits.Values {
		return wrong("byte %d: more than %d values", s.at, s.limits.Values)
	}
	if (c == '{' || c == '[') && depth == s.limits.Depth {
		return wrong("byte %d: nested deeper than %d", s.at, s.limits.Depth)
	}
	switch {
	case c == '{':
		return s.object(depth+1, free)
	case c == '[':
		return s.array(depth+1, free)
	case c == '"':
		_, err := s.text()
		return err
	case c == '-' || c >= '0' && c <= '9':
		return s.number()
	case c == 't':
		return s.word("true")
	case c == 'f':
		return s.word("false")
	case c == 'n':
		return s.word("null")
	}
	return s.unexpected("a value")
}

func (s *scanner) object(depth int, free bool) error {
	s.at++
	var seen keys
	if s.peek() == '}' {
		s.at++
		return nil
	}
	for {
		if s.peek() != '"' {
			return s.unexpected("a key")
		}
		begin := s.at
		raw, err := s.text()
		if err != nil {
			return err
		}
		key := unquote(raw)
		if !seen.add(key) {
			return wrong("byte %d: the key %q stands there twice", begin, shorten(string(key)))
		}
		if want, ok := s.spelling(key); !free && !ok {
			return wrong("byte %d: the key %q is spelled %q", begin, shorten(string(key)), want)
		}
		if s.peek() != ':' {
			return s.unexpected("a colon")
		}
		s.at++
		if err := s.value(depth, free || s.frees(key)); err != nil {
			return err
		}
		switch s.peek() {
		case ',':
			s.at++
		case '}':
			s.at++
			return nil
		default:
			return s.unexpected("a comma or the end of the object")
		}
	}
}

// spelling reports whether the key is no name in another case.
func (s *scanner) spelling(key []byte) (want string, ok bool) {
	if len(s.names) == 0 || s.names[string(key)] == string(key) {
		return "", true
	}
	want, known := s.names[fold(string(key))]
	return want, !known
}

// fold gives two keys the same text if encoding/json takes one for the other: in one direction only, the long s would stay itself.
func fold(key string) string { return strings.ToLower(strings.ToUpper(key)) }

func (s *scanner) frees(key []byte) bool {
	for _, name := range s.limits.Free {
		if name == string(key) {
			return true
		}
	}
	return false
}

func (s *scanner) array(depth int, free bool) error {
	s.at++
	if s.peek() == ']' {
		s.at++
		return nil
	}
	for {
		if err := s.value(depth, free); err != nil {
			return err
		}
		switch s.peek() {
		case ',':
			s.at++
		case ']':
			s.at++
			return nil
		default:
			return s.unexpected("a comma or the end of the array")
		}
	}
}

// keys are those of one object. Most objects have few.
type keys struct {
	few  [manyKeys][]byte
	n    int // of few
	many map[string]struct{}
}

// add reports whether the key is new.
func (k *keys) add(key []byte) bool {
	if k.many != nil {
		_, twice := k.many[string(key)]
		k.many[string(key)] = struct{}{}
		return !twice
	}
	for _, old := range k.few[:k.n] {
		if bytes.Equal(old, key) {
			return false
		}
	}
	if k.n < manyKeys {
		k.few[k.n] = key
		k.n++
		return true
	}
	k.many = make(map[string]struct{}, 4*manyKeys)
	for _, old := range k.few {
		k.many[string(old)] = struct{}{}
	}
	k.many[string(key)] = struct{}{}
	return true
}

// shorten keeps a hostile key from filling the terminal.
func shorten(s string) string {
	const most = 100
	if len(s) <= most {
		return s
	}
	return s[:most] + "..."
}
