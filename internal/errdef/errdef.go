// Package errdef names the kinds of errors that Bulkhead's packages return.
//
// A kind says what class of thing went wrong, so that one place each can map it to an exit code or an HTTP status; the text says
// which step failed on which object; a hint, kept apart from the text, says what the user can do about it. An error without a
// kind is Internal.
//
//	err := errdef.Errorf(errdef.NotFound, "container %q: does not exist", id)
//	err = errdef.WithHint(err, "`bulkhead-runtime list` shows the containers under this root")
//
// The package knows nothing of the rest of Bulkhead and imports nothing of it. Texts that carry bytes of the container (names, paths)
// are quoted with %q by the caller, so that a control character never reaches a terminal.
package errdef

import (
	"errors"
	"fmt"
)

// Kind is the class of an error. The zero value is Internal.
type Kind uint8

// The kinds. They follow the classes that Docker's API and containerd tell apart.
const (
	Internal    Kind = iota // a fault of ours or of the kernel; the default
	Invalid                 // the input is wrong: a field, a flag, a combination
	NotFound                // the object does not exist
	Exists                  // the object exists already
	Conflict                // the object is in a state that forbids the step
	Unsupported             // this kernel, machine or build cannot do it
	Denied                  // the caller may not do it
	Unavailable             // it cannot be reached now
	Timeout                 // a deadline passed
)

var kindNames = [...]string{
	"internal", "invalid", "not found", "exists", "conflict", "unsupported", "denied", "unavailable", "timeout",
}

// String returns the kind in words, for logs.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return "internal"
}

// ParseKind is the inverse of String; what it does not know is Internal.
func ParseKind(s string) Kind {
	for i, name := range kindNames {
		if name == s {
			return Kind(i)
		}
	}
	return Internal
}

type kindError struct {
	kind Kind
	err  error
}

func (e *kindError) Error() string { return e.err.Error() }
func (e *kindError) Unwrap() error { return e.err }

type hintError struct {
	hint string
	err  error
}

func (e *hintError) Error() string { return e.err.Error() }
func (e *hintError) Unwrap() error { return e.err }

// Errorf formats an error as fmt.Errorf does, %w included, and gives it a kind.
func Errorf(kind Kind, format string, args ...any) error {
	return &kindError{kind, fmt.Errorf(format, args...)}
}

// WithKind gives err a kind, over any that it has. A nil err stays nil.
func WithKind(kind Kind, err error) error {
	if err == nil {
		return nil
	}
	return &kindError{kind, err}
}

// WithHint attaches the way out to err. A nil err stays nil.
func WithHint(err error, hint string) error {
	if err == nil {
		return nil
	}
	return &hintError{hint, err}
}

// KindOf returns the outermost kind in err's chain, Internal if there is none.
func KindOf(err error) Kind {
	var e *kindError
	if errors.As(err, &e) {
		return e.kind
	}
	return Internal
}

// Hint returns the outermost hint in err's chain, "" if there is none.
func Hint(err error) string {
	var e *hintError
	if errors.As(err, &e) {
		return e.hint
	}
	return ""
}

// Is reports whether err is of the kind.
func Is(err error, kind Kind) bool { return err != nil && KindOf(err) == kind }
