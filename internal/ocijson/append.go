package ocijson

import (
	"math"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"
)

// The Append functions add the JSON of v to dst and return the longer slice.

const hexDigits = "0123456789abcdef"

// AppendKey appends the name of a member, and a comma before it if it is not the first. name needs no escapes: it is a constant
// of generated code.
func AppendKey(dst []byte, name string) []byte {
	dst = appendComma(dst)
	dst = append(dst, '"')
	dst = append(dst, name...)
	return append(dst, '"', ':')
}

// appendComma separates members; a bracket at the end of dst was just opened, as no value ends in one.
func appendComma(dst []byte) []byte {
	if c := dst[len(dst)-1]; c != '{' && c != '[' {
		dst = append(dst, ',')
	}
	return dst
}

// AppendString appends a string. Control characters (C0, DEL and C1) are escaped, so that the text is safe to show, as are the line
// separators U+2028 and U+2029; what is not UTF-8 becomes U+FFFD.
func AppendString[T ~string](dst []byte, v T) []byte {
	s := string(v)
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= 0x20 && c < 0x7f && c != '"' && c != '\\' {
			i++
			continue
		}
		r, n := rune(c), 1
		if c >= utf8.RuneSelf {
			r, n = utf8.DecodeRuneInString(s[i:])
		}
		if r > 0x9f && r != 0x2028 && r != 0x2029 && (r != utf8.RuneError || n > 1) {
			i += n
			continue
		}
		dst = append(dst, s[start:i]...)
		dst = appendEscape(dst, r)
		i += n
		start = i
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"')
}

func appendEscape(dst []byte, r rune) []byte {
	switch r {
	case '"', '\\':
		return append(dst, '\\', byte(r))
	case '\n':
		return append(dst, '\\', 'n')
	case '\r':
		return append(dst, '\\', 'r')
	case '\t':
		return append(dst, '\\', 't')
	}
	return append(dst, '\\', 'u', hexDigits[r>>12&15], hexDigits[r>>8&15], hexDigits[r>>4&15], hexDigits[r&15])
}

// AppendBool appends true or false.
func AppendBool[T ~bool](dst []byte, v T) []byte { return strconv.AppendBool(dst, bool(v)) }

// AppendInt appends an integer.
func AppendInt[T Signed](dst []byte, v T) []byte { return strconv.AppendInt(dst, int64(v), 10) }

// AppendUint appends an integer.
func AppendUint[T Unsigned](dst []byte, v T) []byte { return strconv.AppendUint(dst, uint64(v), 10) }

// AppendFloat appends a number; null for one that JSON cannot write (infinite, not a number).
func AppendFloat[T ~float64](dst []byte, v T) []byte {
	f := float64(v)
	if math.IsInf(f, 0) || math.IsNaN(f) {
		return AppendNull(dst)
	}
	format := byte('f')
	if a := math.Abs(f); a != 0 && (a < 1e-6 || a >= 1e21) {
		format = 'e'
	}
	dst = strconv.AppendFloat(dst, f, format, -1, 64)
	if n := len(dst); format == 'e' && dst[n-4] == 'e' && dst[n-2] == '0' { // e-09: encoding/json writes e-9
		dst[n-2] = dst[n-1]
		dst = dst[:n-1]
	}
	return dst
}

// AppendTime appends a time in the form of RFC 3339, with nanoseconds.
func AppendTime(dst []byte, v time.Time) []byte {
	dst = append(dst, '"')
	dst = v.AppendFormat(dst, time.RFC3339Nano)
	return append(dst, '"')
}

// AppendNull appends null.
func AppendNull(dst []byte) []byte { return append(dst, "null"...) }

// AppendStrings appends an array of strings; null for a nil slice.
func AppendStrings[T ~string](dst []byte, v []T) []byte {
	if v == nil {
		return AppendNull(dst)
	}
	dst = append(dst, '[')
	for _, s := range v {
		dst = AppendString(appendComma(dst), s)
	}
	return append(dst, ']')
}

// AppendSlice appends an array; null for a nil slice.
func AppendSlice[T any](dst []byte, v []T, element func([]byte, *T) []byte) []byte {
	if v == nil {
		return AppendNull(dst)
	}
	dst = append(dst, '[')
	for i := range v {
		dst = element(appendComma(dst), &v[i])
	}
	return append(dst, ']')
}

// AppendMap appends an object, its names in order; null for a nil map.
func AppendMap[T any](dst []byte, v map[string]T, element func([]byte, *T) []byte) []byte {
	if v == nil {
		return AppendNull(dst)
	}
	names := make([]string, 0, len(v))
	for name := range v {
		names = append(names, name)
	}
	slices.Sort(names)
	dst = append(dst, '{')
	for _, name := range names {
		dst = AppendString(appendComma(dst), name)
		e := v[name]
		dst = element(append(dst, ':'), &e)
	}
	return append(dst, '}')
}

// AppendPtr appends what v points to; null for nil.
func AppendPtr[T any](dst []byte, v *T, element func([]byte, *T) []byte) []byte {
	if v == nil {
		return AppendNull(dst)
	}
	return element(dst, v)
}

// AppendAny appends a value made by ReadAny, and null for anything of another type.
func AppendAny(dst []byte, v any) []byte {
	switch v := v.(type) {
	case bool:
		return AppendBool(dst, v)
	case float64:
		return AppendFloat(dst, v)
	case string:
		return AppendString(dst, v)
	case []any:
		return AppendSlice(dst, v, func(dst []byte, e *any) []byte { return AppendAny(dst, *e) })
	case map[string]any:
		return AppendMap(dst, v, func(dst []byte, e *any) []byte { return AppendAny(dst, *e) })
	}
	return AppendNull(dst)
}

// AppendIndent appends src, which must be JSON as the functions above write it, laid out over lines with indent per level, as
// `runc spec` and `runc state` print. Empty arrays and objects stay on their line.
func AppendIndent(dst, src []byte, indent string) []byte {
	level := 0
	line := func() {
		dst = append(dst, '\n')
		for range level {
			dst = append(dst, indent...)
		}
	}
	for i := 0; i < len(src); i++ {
		switch c := src[i]; c {
		case '"':
			end := stringEnd(src, i)
			dst = append(dst, src[i:end]...)
			i = end - 1
		case '{', '[':
			dst = append(dst, c)
			if i+1 < len(src) && src[i+1] == c+2 { // } and ] stand two after { and [ in ASCII
				dst = append(dst, c+2)
				i++
				continue
			}
			level++
			line()
		case '}', ']':
			level--
			line()
			dst = append(dst, c)
		case ',':
			dst = append(dst, c)
			line()
		case ':':
			dst = append(dst, c, ' ')
		default:
			dst = append(dst, c)
		}
	}
	return dst
}

// stringEnd returns the offset after the closing quote of the string that opens at i.
func stringEnd(src []byte, i int) int {
	for i++; i < len(src); i++ {
		switch src[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(src)
}
