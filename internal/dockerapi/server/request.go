package server

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/engine/option"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
)

// MaxBody bounds a body of JSON, in bytes.
const MaxBody = 8 << 20

const (
	bodyTime   = 30 * time.Second // for a body of JSON
	streamTime = 10 * time.Minute // between two pieces of a long body
)

// KindHeader carries the kind of an error (errdef.Kind) to clients of ours, and Agent is how these name themselves.
const (
	KindHeader = "Bulkhead-Error-Kind"
	Agent      = "bulkhead/"
)

// A request is one request and its answer.
type request struct {
	*http.Request
	w        http.ResponseWriter
	version  string
	values   map[string]string // of the path
	parsed   url.Values
	answered bool // a status was sent, or the connection is hijacked
}

// value returns a part of the path.
func (r *request) value(name string) string { return r.values[name] }

// query returns a parameter. The body is not looked at, as http.Request.FormValue would.
func (r *request) query(name string) string { return r.params().Get(name) }

func (r *request) params() url.Values {
	if r.parsed == nil {
		r.parsed = r.URL.Query()
	}
	return r.parsed
}

// flag reads a boolean parameter, as Docker does: anything but "", 0, no, false and none.
func (r *request) flag(name string) bool {
	switch strings.ToLower(strings.TrimSpace(r.query(name))) {
	case "", "0", "no", "false", "none":
		return false
	}
	return true
}

// number reads a parameter; without it, it is otherwise.
func (r *request) number(name string, otherwise int) (int, error) {
	text := r.query(name)
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0, errdef.Errorf(errdef.Invalid, "parameter %s: %.64q is no number", name, text)
	}
	return n, nil
}

// filters reads the parameter filters, in its old form ({"key":["value"]}) and its new ({"key":{"value":true}}).
func (r *request) filters() (option.Filters, error) {
	text := r.query("filters")
	if text == "" {
		return nil, nil
	}
	var raw map[string]json.RawMessage
	if err := json.Unmarshal([]byte(text), &raw); err != nil {
		return nil, errdef.Errorf(errdef.Invalid, "parameter filters: %w", err)
	}
	out := option.Filters{}
	for key, data := range raw {
		var list []string
		if json.Unmarshal(data, &list) != nil {
			var set map[string]bool
			if err := json.Unmarshal(data, &set); err != nil {
				return nil, errdef.Errorf(errdef.Invalid, "parameter filters: %.64q: %w", key, err)
			}
			for v, on := range set {
				if on {
					list = append(list, v)
				}
			}
		}
		out[key] = list
	}
	return out, nil
}

// body decodes a body of JSON. An empty one is the zero value if it may be.
func (r *request) body(to any, may bool) error {
	if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind != "application/json" && r.ContentLength != 0 {
		return errdef.Errorf(errdef.Invalid, "unsupported Content-Type header (%.128s): must be 'application/json'", r.Header.Get("Content-Type"))
	}
	control := http.NewResponseController(r.w)
	_ = control.SetReadDeadline(time.Now().Add(bodyTime))
	defer func() { _ = control.SetReadDeadline(time.Time{}) }()
	data, err := io.ReadAll(http.MaxBytesReader(r.w, r.Body, MaxBody))
	var big *http.MaxBytesError
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return errdef.Errorf(errdef.Timeout, "the body did not come in %s", bodyTime)
	case errors.As(err, &big):
		return errdef.Errorf(errdef.Invalid, "the body is larger than %d bytes", MaxBody)
	case err != nil:
		return errdef.Errorf(errdef.Invalid, "invalid JSON: %w", err)
	}
	return decode(data, to, may)
}

// decode reads one value. A NUL in a string is refused whatever the string is for: no name, path, argument or variable can have one, and who cuts there reads another text.
func decode(data []byte, to any, may bool) error {
	d := json.NewDecoder(bytes.NewReader(data))
	switch err := d.Decode(to); {
	case errors.Is(err, io.EOF) && may:
		return nil
	case errors.Is(err, io.EOF):
		return errdef.Errorf(errdef.Invalid, "invalid JSON: got EOF while reading request body")
	case err != nil:
		return errdef.Errorf(errdef.Invalid, "invalid JSON: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errdef.Errorf(errdef.Invalid, "invalid JSON: unexpected content after JSON")
	}
	for i := 0; i < len(data); i++ {
		if data[i] != '\\' {
			continue
		}
		if bytes.HasPrefix(data[i:], []byte(`\u0000`)) {
			return errdef.Errorf(errdef.Invalid, "a string of the body has a NUL character")
		}
		i++ // of a pair
	}
	return nil
}

// patient reads a body that may be long, and takes the client for gone when nothing comes for some minutes.
func (r *request) patient() io.Reader {
	return &patience{r: r, control: http.NewResponseController(r.w)}
}

type patience struct {
	r       *request
	control *http.ResponseController
}

func (p *patience) Read(b []byte) (int, error) {
	_ = p.control.SetReadDeadline(time.Now().Add(streamTime))
	n, err := p.r.Body.Read(b)
	_ = p.control.SetReadDeadline(time.Time{})
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = errdef.Errorf(errdef.Timeout, "nothing of the body has come for %s", streamTime)
	}
	return n, err
}

// json answers with a value.
func (r *request) json(status int, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	r.w.Header().Set("Content-Type", "application/json")
	r.answered = true
	r.w.WriteHeader(status)
	_, _ = r.w.Write(append(data, '\n'))
	return nil
}

// ok answers without a body.
func (r *request) ok(status int) error {
	r.answered = true
	r.w.WriteHeader(status)
	return nil
}

// statusOf is the HTTP status of each kind of error.
func statusOf(kind errdef.Kind) int {
	switch kind {
	case errdef.Invalid:
		return http.StatusBadRequest
	case errdef.NotFound:
		return http.StatusNotFound
	case errdef.Exists, errdef.Conflict:
		return http.StatusConflict
	case errdef.Unsupported:
		return http.StatusNotImplemented
	case errdef.Denied:
		return http.StatusForbidden
	case errdef.Unavailable:
		return http.StatusServiceUnavailable
	case errdef.Timeout:
		return http.StatusGatewayTimeout
	}
	return http.StatusInternalServerError
}

// ours reports whether the client is of this module: it gets hints apart, and errors with their kind.
func (r *request) ours() bool { return strings.HasPrefix(r.UserAgent(), Agent) }

// fail answers with an error, if nothing was answered yet.
func (r *request) fail(err error) { r.status(statusOf(errdef.KindOf(err)), err) }

func (r *request) status(status int, err error) {
	if r.answered {
		return
	}
	body := struct {
		Message string `json:"message"`
		Hint    string `json:"hint,omitempty"`
	}{Message: err.Error()}
	if !r.ours() { // whose clients look for these words as Docker writes them
		for _, words := range []string{"no such ", "conflict. "} {
			if rest, ok := strings.CutPrefix(body.Message, words); ok {
				body.Message = strings.ToUpper(words[:1]) + words[1:] + rest
			}
		}
	}
	if hint := errdef.Hint(err); hint != "" {
		if r.ours() {
			body.Hint = hint
		} else {
			body.Message += "\nhint: " + hint
		}
	}
	r.w.Header().Set(KindHeader, errdef.KindOf(err).String())
	_ = r.json(status, body)
}
