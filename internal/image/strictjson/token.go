package strictjson

import (
	"bytes"
	"encoding/json"
	"iter"
	"strings"
)

// text reads a string and returns it with its quotes.
func (s *scanner) text() ([]byte, error) {
	begin := s.at
	for s.at++; s.at < len(s.data); s.at++ {
		switch c := s.data[s.at]; {
		case c == '"':
			s.at++
			return s.data[begin:s.at], nil
		case c < ' ':
			return nil, wrong("byte %d: a control character in a string", s.at)
		case c == '\\':
			if err := s.escape(); err != nil {
				return nil, err
			}
		}
	}
	return nil, s.unexpected("the end of a string")
}

// escape reads what follows a backslash and stops on its last byte.
func (s *scanner) escape() error {
	if s.at++; s.at == len(s.data) {
		return s.unexpected("an escape")
	}
	if s.data[s.at] != 'u' {
		if strings.IndexByte(`"\/bfnrt`, s.data[s.at]) < 0 {
			return s.unexpected("an escape")
		}
		return nil
	}
	for range 4 {
		if s.at++; s.at == len(s.data) || !isHex(s.data[s.at]) {
			return s.unexpected("a hexadecimal digit")
		}
	}
	return nil
}

func isHex(c byte) bool { return isDigit(c) || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F' }

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// number reads what RFC 8259, section 6, has.
func (s *scanner) number() error {
	if s.data[s.at] == '-' {
		s.at++
	}
	if s.at < len(s.data) && s.data[s.at] == '0' {
		s.at++
	} else if err := s.digits(); err != nil {
		return err
	}
	if s.at < len(s.data) && s.data[s.at] == '.' {
		s.at++
		if err := s.digits(); err != nil {
			return err
		}
	}
	if s.at < len(s.data) && (s.data[s.at] == 'e' || s.data[s.at] == 'E') {
		s.at++
		if s.at < len(s.data) && (s.data[s.at] == '+' || s.data[s.at] == '-') {
			s.at++
		}
		return s.digits()
	}
	return nil
}

func (s *scanner) digits() error {
	begin := s.at
	for s.at < len(s.data) && isDigit(s.data[s.at]) {
		s.at++
	}
	if s.at == begin {
		return s.unexpected("a digit")
	}
	return nil
}

func (s *scanner) word(want string) error {
	if len(s.data)-s.at < len(want) || string(s.data[s.at:s.at+len(want)]) != want {
		return s.unexpected(want)
	}
	s.at += len(want)
	return nil
}

// unquote decodes a string that text accepted. Without an escape it is no copy.
func unquote(raw []byte) []byte {
	inner := raw[1 : len(raw)-1]
	if bytes.IndexByte(inner, '\\') < 0 {
		return inner
	}
	var s string
	_ = json.Unmarshal(raw, &s) // text has read it: there is nothing left that could be wrong
	return []byte(s)
}

// Object yields the keys and the raw values of an object that Check accepted, in their order; nothing for any other value.
func Object(data []byte) iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		s := scanner{data: data}
		if s.peek() != '{' {
			return
		}
		for s.at++; s.peek() == '"' || s.peek() == ','; {
			if s.peek() == ',' {
				s.at++
				continue
			}
			raw, err := s.text()
			if err != nil || s.peek() != ':' {
				return
			}
			s.at++
			if !yield(string(unquote(raw)), s.skip()) {
				return
			}
		}
	}
}

// Array yields the raw values of an array that Check accepted, in their order; nothing for any other value.
func Array(data []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		s := scanner{data: data}
		if s.peek() != '[' {
			return
		}
		s.at++
		for c := s.peek(); c != ']' && c != 0; c = s.peek() {
			if c == ',' {
				s.at++
				continue
			}
			if !yield(s.skip()) {
				return
			}
		}
	}
}

// skip returns the value that comes next; that it is one has been checked.
func (s *scanner) skip() []byte {
	s.space()
	begin, depth := s.at, 0
	for s.at < len(s.data) {
		switch s.data[s.at] {
		case '"':
			if _, err := s.text(); err != nil {
				return s.data[begin:s.at]
			}
			if depth == 0 {
				return s.data[begin:s.at]
			}
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 { // the end of what a number or a word stands in
				return s.data[begin:s.at]
			}
			if depth--; depth == 0 {
				s.at++
				return s.data[begin:s.at]
			}
		case ',', ' ', '\t', '\n', '\r':
			if depth == 0 {
				return s.data[begin:s.at]
			}
		}
		s.at++
	}
	return s.data[begin:s.at]
}
