package api

import (
	"bytes"
	"strings"
	"sync"
)

// shown is what a command has printed so far.
type shown struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *shown) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *shown) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func (s *shown) has(text string) func() bool {
	return func() bool { return strings.Contains(s.String(), text) }
}
