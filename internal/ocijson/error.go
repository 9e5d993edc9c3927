package ocijson

import (
	"strconv"
	"strings"
)

// class says why a document was refused, so that tests can tell the documented differences from encoding/json from mistakes.
type class uint8

const (
	classSyntax    class = iota // not JSON
	classType                   // JSON, but not what the field holds
	classRange                  // an integer that does not fit
	classDuplicate              // a field or key that stands twice
	classCase                   // a name that Unicode's case folding makes a known one, and ASCII's does not
	classUnicode                // not UTF-8, or half a surrogate pair
	classDepth                  // nested too deep
	classCount                  // too many elements
	classNull                   // the whole document is null
)

// Error says what is wrong with a document, and where.
type Error struct {
	Path   string // the field, as in linux.resources.devices[3].access; "" for the document itself
	Reason string // what is wrong, as in: want an integer, found a string
	Line   int    // from 1
	Column int    // from 1, in bytes
	Offset int    // from 0, in bytes

	class class
}

// Error returns the field, the reason and the place in one sentence.
func (e *Error) Error() string {
	where := " (line " + strconv.Itoa(e.Line) + ", column " + strconv.Itoa(e.Column) + ")"
	if e.Path == "" {
		return e.Reason + where
	}
	return e.Path + ": " + e.Reason + where
}

// quoteLimit is how many bytes of the document an error repeats of one name or value.
const quoteLimit = 64

// quote makes bytes of the document fit for a message.
func quote(s string) string {
	if len(s) <= quoteLimit {
		return strconv.QuoteToASCII(s)
	}
	return strconv.QuoteToASCII(s[:quoteLimit]) + "..."
}

// step is one component of the path to the value being read.
type step struct {
	key   string
	index int // of an array's element, or isKey, or nowhere
}

const (
	isKey   = -1
	nowhere = -2 // the bracket is open and no member is reached
)

// pathString joins steps: names with dots, anything that is not a plain name in brackets and quotes.
func pathString(steps []step) string {
	var b strings.Builder
	for _, s := range steps {
		switch {
		case s.index >= 0:
			b.WriteString("[" + strconv.Itoa(s.index) + "]")
		case s.index == nowhere:
		case !plainName(s.key):
			b.WriteString("[" + quote(s.key) + "]")
		case b.Len() > 0:
			b.WriteString("." + s.key)
		default:
			b.WriteString(s.key)
		}
	}
	return b.String()
}

func plainName(s string) bool {
	if s == "" || len(s) > quoteLimit {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if c != '_' && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return true
}
