package server

import (
	"net/http"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/engine/option"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"golang.org/x/sys/unix"
)

// started is what became of a start. A program that is not there is no missing container: Docker answers 400, and its clients find in the words which exit status that is, for
// which those of 20.10 know no directory. Clients of ours read the kind.
func (r *request) started(err error) error {
	if !option.IsNotStarted(err) || !errdef.Is(err, errdef.NotFound) && !errdef.Is(err, errdef.Denied) {
		return err
	}
	if !r.ours() && errdef.Is(err, errdef.Denied) && !strings.Contains(err.Error(), unix.EACCES.Error()) {
		err = errdef.WithHint(errdef.Errorf(errdef.Denied, "%w: %w", err, unix.EACCES), errdef.Hint(err))
	}
	r.status(http.StatusBadRequest, err)
	return err
}
