package option

import "errors"

// notStarted marks an error.
type notStarted struct{ error }

func (e notStarted) Unwrap() error { return e.error }

// NotStarted marks the error of a program that could not be started: the request was understood, and what it names is there. A nil error stays nil.
func NotStarted(err error) error {
	if err == nil {
		return nil
	}
	return notStarted{err}
}

// IsNotStarted reports whether an error is of a program that could not be started.
func IsNotStarted(err error) bool {
	var e notStarted
	return errors.As(err, &e)
}
