package option

import "strings"

// ValidName reports whether a container, a network or a volume may have the name, by Docker's rule: letters, digits, and after the first of these . _ and -; with least and
// most the bytes that it may have.
func ValidName(s string, least, most int) bool {
	for i := range len(s) {
		c := s[i]
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		if !letter && (i == 0 || !strings.ContainsRune("_.-", rune(c))) {
			return false
		}
	}
	return len(s) >= least && len(s) <= most
}
