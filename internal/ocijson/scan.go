package ocijson

import (
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// unexpected fails at the next byte, which is not what the grammar wants.
func (d *Decoder) unexpected(want string) {
	if d.pos >= len(d.src) {
		d.fail(classSyntax, len(d.src), want+", found the end of the document")
		return
	}
	end := d.pos + 1
	for end < len(d.src) && end < d.pos+utf8.UTFMax && !utf8.FullRuneInString(d.src[d.pos:end]) {
		end++
	}
	d.fail(classSyntax, d.pos, want+", found "+quote(d.src[d.pos:end]))
}

// mismatch fails at the next value, which is not of the type that the field has.
func (d *Decoder) mismatch(want string) {
	found := ""
	switch c := d.peek(); {
	case c == '{':
		found = "an object"
	case c == '[':
		found = "an array"
	case c == '"':
		found = "a string"
	case c == 't' || c == 'f':
		found = "a boolean"
	case c == '-' || '0' <= c && c <= '9':
		found = "a number"
	default:
		d.unexpected("want " + want)
		return
	}
	d.fail(classType, d.pos, "want "+want+", found "+found)
}

// literal takes a word.
func (d *Decoder) literal(word string) bool {
	end := d.pos + len(word)
	if end > len(d.src) || d.src[d.pos:end] != word {
		d.unexpected("want " + word)
		return false
	}
	d.pos = end
	return true
}

func (d *Decoder) null() bool { return d.literal("null") }

func (d *Decoder) boolean() bool {
	if d.src[d.pos] == 't' {
		return d.literal("true")
	}
	d.literal("false")
	return false
}

// text takes a string, its opening quote being next.
func (d *Decoder) text() (string, bool) {
	start := d.pos + 1
	ascii := true
	for i := start; i < len(d.src); i++ {
		switch c := d.src[i]; {
		case c == '"':
			s := d.src[start:i]
			if !ascii && !d.checkUTF8(s, start) {
				return "", false
			}
			d.pos = i + 1
			return s, true
		case c == '\\':
			return d.escaped(start, i)
		case c < 0x20:
			d.fail(classSyntax, i, "a control character stands in a string, want it escaped")
			return "", false
		case c >= utf8.RuneSelf:
			ascii = false
		}
	}
	d.fail(classSyntax, len(d.src), "a string is not closed")
	return "", false
}

// escaped goes on with a string that starts at start once it meets a backslash at i.
func (d *Decoder) escaped(start, i int) (string, bool) {
	out := append(make([]byte, 0, i-start+32), d.src[start:i]...)
	for i < len(d.src) {
		switch c := d.src[i]; {
		case c == '"':
			s := string(out)
			if !utf8.ValidString(d.src[start:i]) {
				return "", d.checkUTF8(d.src[start:i], start)
			}
			d.pos = i + 1
			return s, true
		case c == '\\':
			r, n := d.escape(i)
			if n == 0 {
				return "", false
			}
			out = utf8.AppendRune(out, r)
			i += n
		case c < 0x20:
			d.fail(classSyntax, i, "a control character stands in a string, want it escaped")
			return "", false
		default:
			out = append(out, c)
			i++
		}
	}
	d.fail(classSyntax, len(d.src), "a string is not closed")
	return "", false
}

// checkUTF8 fails at the first byte of s, which starts at offset start, that is not UTF-8.
func (d *Decoder) checkUTF8(s string, start int) bool {
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 {
			d.fail(classUnicode, start+i, "a string is not UTF-8")
			return false
		}
		i += n
	}
	return true
}

// escape reads the escape sequence at offset i and returns what it means and how long it is; 0 if it is none.
func (d *Decoder) escape(i int) (rune, int) {
	if i+1 >= len(d.src) {
		d.fail(classSyntax, len(d.src), "a string is not closed")
		return 0, 0
	}
	switch c := d.src[i+1]; c {
	case '"', '\\', '/':
		return rune(c), 2
	case 'b':
		return '\b', 2
	case 'f':
		return '\f', 2
	case 'n':
		return '\n', 2
	case 'r':
		return '\r', 2
	case 't':
		return '\t', 2
	case 'u':
		return d.unicodeEscape(i)
	}
	d.fail(classSyntax, i, "a backslash begins no escape sequence")
	return 0, 0
}

// unicodeEscape reads \uXXXX, or two of them that are a surrogate pair (RFC 8259, section 7).
func (d *Decoder) unicodeEscape(i int) (rune, int) {
	r, ok := d.hex4(i + 2)
	if !ok {
		d.fail(classSyntax, i, "want four hexadecimal digits after \\u")
		return 0, 0
	}
	if !utf16.IsSurrogate(r) {
		return r, 6
	}
	if i+8 <= len(d.src) && d.src[i+6] == '\\' && d.src[i+7] == 'u' {
		if low, ok := d.hex4(i + 8); ok {
			if pair := utf16.DecodeRune(r, low); pair != utf8.RuneError {
				return pair, 12
			}
		}
	}
	d.fail(classUnicode, i, "half a surrogate pair is no character")
	return 0, 0
}

func (d *Decoder) hex4(i int) (rune, bool) {
	if i+4 > len(d.src) {
		return 0, false
	}
	var r rune
	for _, c := range []byte(d.src[i : i+4]) {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

// number takes a number and reports whether it is written as an integer.
func (d *Decoder) number() (text string, integer, ok bool) {
	start := d.pos
	i := start
	if i < len(d.src) && d.src[i] == '-' {
		i++
	}
	whole := d.digits(i)
	switch {
	case whole == i && i == start:
		d.unexpected("want a value")
		return "", false, false
	case whole == i:
		d.fail(classSyntax, i, "want a digit after the minus")
		return "", false, false
	case d.src[i] == '0' && whole > i+1:
		d.fail(classSyntax, start, "a number has a leading zero")
		return "", false, false
	}
	i, integer = whole, true
	if i < len(d.src) && d.src[i] == '.' {
		integer = false
		end := d.digits(i + 1)
		if end == i+1 {
			d.fail(classSyntax, end, "want a digit after the point")
			return "", false, false
		}
		i = end
	}
	if i < len(d.src) && (d.src[i] == 'e' || d.src[i] == 'E') {
		integer = false
		i++
		if i < len(d.src) && (d.src[i] == '+' || d.src[i] == '-') {
			i++
		}
		end := d.digits(i)
		if end == i {
			d.fail(classSyntax, end, "want a digit in the exponent")
			return "", false, false
		}
		i = end
	}
	d.pos = i
	return d.src[start:i], integer, true
}

// digits returns the end of the run of digits that begins at offset i.
func (d *Decoder) digits(i int) int {
	for i < len(d.src) && '0' <= d.src[i] && d.src[i] <= '9' {
		i++
	}
	return i
}

// integer takes a number that is an integer.
func (d *Decoder) integer() (string, bool) {
	if c := d.peek(); c != '-' && (c < '0' || c > '9') {
		d.mismatch("an integer")
		return "", false
	}
	start := d.pos
	text, integer, ok := d.number()
	if ok && !integer {
		d.fail(classType, start, "want an integer, found "+quote(text))
	}
	return text, ok && integer
}

// outOfRange fails for an integer that does not fit between low and high.
func (d *Decoder) outOfRange(text string, low int64, high uint64) {
	d.fail(classRange, d.pos-len(text), "want an integer from "+strconv.FormatInt(low, 10)+" to "+
		strconv.FormatUint(high, 10)+", found "+quote(text))
}
