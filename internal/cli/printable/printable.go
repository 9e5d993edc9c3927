// Package printable makes text of others fit for a terminal.
//
// Labels, environments, histories and names of files belong to whoever made an image, and a terminal obeys what is written to it: ESC ] 52 sets the clipboard,
// ESC [ 2 J wipes what was there, U+202E turns a line around. Here such characters become what they are written as in Go:
//
//	printable.Line("a\x1b[31mb\n")        // `a\x1b[31mb\n`: for a cell of a table, a part of a line
//	printable.Text("a\x1b[31mb\n")        // `a\x1b[31mb` and the end of the line: for whole output
//	printable.JSON(data)                  // the same document, with \u009b for U+009B
//	w := printable.NewWriter(os.Stdout)   // Text for a stream
//
// What is escaped: the control characters of ASCII and of Latin 1 (ECMA-48, 5.3), the separators U+2028 and U+2029, the characters that change the direction of
// text (Unicode's UAX 9, 2; CVE-2021-42574), and bytes that are no UTF-8, which a terminal may take for controls. A backslash stays a backslash: what is shown
// is for eyes, not for parsers; those take JSON.
package printable

import (
	"io"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// hostile reports whether a terminal may act on the character instead of showing it.
func hostile(r rune) bool {
	switch {
	case r < ' ' || r >= 0x7f && r < 0xa0:
		return true
	case r < 0x61c:
		return false
	case r == 0x61c || r == 0x200e || r == 0x200f || r >= 0x2028 && r <= 0x202e || r >= 0x2066 && r <= 0x2069:
		return true
	}
	return !unicode.In(r, unicode.L, unicode.M, unicode.N, unicode.P, unicode.S, unicode.Zs) && r != 0x200c && r != 0x200d
}

// Line returns s as a part of one line.
func Line(s string) string { return escape(s, "") }

// Text returns s with its lines and its tabs.
func Text(s string) string { return escape(s, "\n\t") }

func escape(s, but string) string {
	i := 0
	for i < len(s) && (s[i] >= ' ' && s[i] < 0x7f || strings.IndexByte(but, s[i]) >= 0) {
		i++
	}
	if i == len(s) {
		return s
	}
	out := append(make([]byte, 0, len(s)+8), s[:i]...)
	for i < len(s) {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			out = append(out, '\\', 'x', digits[s[i]>>4], digits[s[i]&15])
		case hostile(r) && !strings.ContainsRune(but, r):
			quoted := strconv.AppendQuoteRuneToASCII(nil, r)
			out = append(out, quoted[1:len(quoted)-1]...)
		default:
			out = append(out, s[i:i+n]...)
		}
		i += n
	}
	return string(out)
}

const digits = "0123456789abcdef"

// JSON returns a JSON document in which no hostile character stands but as an escape. White space between values stays.
func JSON(data []byte) []byte {
	out := make([]byte, 0, len(data))
	for i := 0; i < len(data); {
		r, n := utf8.DecodeRune(data[i:])
		if r >= 0x7f && (r == utf8.RuneError && n == 1 || hostile(r)) {
			out = appendUTF16(out, r)
		} else {
			out = append(out, data[i:i+n]...)
		}
		i += n
	}
	return out
}

// appendUTF16 appends a character as JSON escapes it (RFC 8259, 7).
func appendUTF16(dst []byte, r rune) []byte {
	unit := func(u rune) {
		dst = append(dst, '\\', 'u', digits[u>>12&15], digits[u>>8&15], digits[u>>4&15], digits[u&15])
	}
	if r > 0xffff {
		r -= 0x10000
		unit(0xd800 + r>>10)
		unit(0xdc00 + r&0x3ff)
		return dst
	}
	unit(r)
	return dst
}

// A Writer passes on what is written to it as Text. A character may come in parts.
type Writer struct {
	w    io.Writer
	rest []byte // the beginning of a character
}

// NewWriter returns a Writer to w. Flush it at the end.
func NewWriter(w io.Writer) *Writer { return &Writer{w: w} }

// Write is io.Writer's.
func (w *Writer) Write(p []byte) (int, error) {
	data := append(w.rest, p...)
	end := len(data)
	for i := max(0, end-utf8.UTFMax+1); i < end; i++ {
		if utf8.RuneStart(data[i]) && !utf8.FullRune(data[i:]) {
			end = i
			break
		}
	}
	w.rest = append([]byte(nil), data[end:]...)
	if _, err := io.WriteString(w.w, Text(string(data[:end]))); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Flush passes on what has no end.
func (w *Writer) Flush() error {
	rest := w.rest
	w.rest = nil
	_, err := io.WriteString(w.w, Text(string(rest)))
	return err
}
