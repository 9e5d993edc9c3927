package apparmor

import (
	"fmt"
	"strings"
)

// plain reports whether a byte stands for itself everywhere in a pattern.
func plain(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("/._-+=:%~", c) >= 0
}

// escapable are bytes that a backslash makes plain. Bytes above 127 are plain inside of double quotes.
const escapable = `*?[]{}^,!@$&'()#;|<>"\ `

// quote returns a pattern that matches a path and nothing else. An image has a say in paths, by its volumes.
func quote(path string) string {
	var b strings.Builder
	for i := range len(path) {
		switch c := path[i]; {
		case plain(c) || c > 127:
			b.WriteByte(c)
		case strings.IndexByte(escapable, c) >= 0:
			b.WriteByte('\\')
			b.WriteByte(c)
		default: // control characters
			fmt.Fprintf(&b, `\x%02x`, c)
		}
	}
	return b.String()
}

// charClass returns the inside of a character class of these bytes; false if one of them has no place there.
func charClass(bytes string) (string, bool) {
	var b strings.Builder
	for i := range len(bytes) {
		switch c := bytes[i]; {
		case c == '-':
			b.WriteString(`\-`)
		case plain(c) || c == ' ':
			b.WriteByte(c)
		default:
			return "", false
		}
	}
	return b.String(), true
}
