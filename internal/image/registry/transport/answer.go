package transport

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
)

// maxErrorBody is how much of an answer above 399 is read.
const maxErrorBody = 64 << 10

// ReadAll reads a whole answer of at most most bytes and closes it.
func ReadAll(resp *http.Response, most int64) ([]byte, error) {
	defer resp.Body.Close()
	if resp.ContentLength > most {
		return nil, tooLong(resp, most)
	}
	if body, ok := resp.Body.(*receiving); ok {
		defer body.within(wholeFactor * body.stall)()
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, most+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > most {
		return nil, tooLong(resp, most)
	}
	return data, nil
}

func tooLong(resp *http.Response, most int64) error {
	return errdef.Errorf(errdef.Invalid, "%s: the answer has more than %d bytes", clean(resp.Request.URL), most)
}

// again reports whether a status may be another one at the next try.
func again(status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusBadGateway,
		http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// retryAfter reads seconds or a date (RFC 9110, 10.2.3).
func retryAfter(resp *http.Response) (time.Duration, bool) {
	text := resp.Header.Get("Retry-After")
	if n, err := strconv.ParseUint(text, 10, 32); err == nil {
		return time.Duration(n) * time.Second, true
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(time.Until(at), 0), true
	}
	return 0, false
}

// jitter keeps many clients from coming back at once.
func jitter(d time.Duration) time.Duration {
	return d/2 + time.Duration(rand.Int64N(int64(d/2)+1))
}

// discard reads a short rest, so that the connection can be used again.
func discard(resp *http.Response) {
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxErrorBody))
	resp.Body.Close()
}

// StatusError is what an answer above 399 says, and closes it. Texts of the server are quoted.
func StatusError(resp *http.Response) error {
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody))
	resp.Body.Close()
	text := fmt.Sprintf("%s %s: answer %d", resp.Request.Method, clean(resp.Request.URL), resp.StatusCode)
	if said := saying(body); said != "" {
		text += ": " + said
	} else if word := http.StatusText(resp.StatusCode); word != "" {
		text += " " + word
	}
	err := errdef.WithKind(kindOf(resp.StatusCode), errors.New(text))
	if resp.StatusCode == http.StatusTooManyRequests {
		return errdef.WithHint(err, "the registry limits how much is asked: wait, or log in, which often allows more")
	}
	return err
}

func kindOf(status int) errdef.Kind {
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusProxyAuthRequired:
		return errdef.Denied
	case http.StatusNotFound:
		return errdef.NotFound
	case http.StatusConflict:
		return errdef.Conflict
	case http.StatusMethodNotAllowed, http.StatusNotImplemented:
		return errdef.Unsupported
	case http.StatusRequestTimeout, http.StatusGatewayTimeout:
		return errdef.Timeout
	}
	if status >= 500 || status == http.StatusTooManyRequests {
		return errdef.Unavailable
	}
	return errdef.Invalid
}

// saying returns the code and message of the first error in a registry's answer (distribution-spec, "Error Codes"), quoted.
func saying(body []byte) string {
	var answer struct {
		Errors []struct {
			Code    string `json:"code"`
			Message string `json:"message"`
		} `json:"errors"`
	}
	if json.Unmarshal(body, &answer) != nil || len(answer.Errors) == 0 {
		return ""
	}
	first := answer.Errors[0]
	return strings.TrimSpace(fmt.Sprintf("%s %q", codeOnly(first.Code), shorten(first.Message)))
}

// codeOnly lets upper case words with underscores pass, which codes are.
func codeOnly(s string) string {
	for i := range len(s) {
		if c := s[i]; !(c >= 'A' && c <= 'Z' || c == '_') || i > 40 {
			return ""
		}
	}
	return s
}

// clean is a URL for people: no query, no user.
func clean(u *url.URL) string {
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: path.Clean("/" + shorten(u.Path))}).String()
}

func shorten(s string) string {
	const most = 200
	if len(s) > most {
		return s[:most] + "..."
	}
	return s
}

// describe gives an error of the network its sentence, its kind and its hint.
func describe(method string, at *url.URL, err error) error {
	wrap := func(kind errdef.Kind, hint string) error {
		err := errdef.Errorf(kind, "%s %s: %w", method, clean(at), err)
		if hint == "" {
			return err
		}
		return errdef.WithHint(err, hint)
	}
	var authority x509.UnknownAuthorityError
	var hostname x509.HostnameError
	var invalid x509.CertificateInvalidError
	var record tls.RecordHeaderError
	var dns *net.DNSError
	var op *net.OpError
	switch {
	case errors.As(err, &authority):
		return wrap(errdef.Denied, "if the registry's CA is your own, put its certificate in /etc/bulkhead/certs.d/"+at.Host+"/ca.crt")
	case errors.As(err, &hostname), errors.As(err, &invalid):
		return wrap(errdef.Denied, "the registry needs another certificate; with `insecure` by name, "+at.Host+" is not verified at all")
	case errors.As(err, &record) && string(record.RecordHeader[:]) == "HTTP/":
		err = errors.New("it speaks plain HTTP, and is not insecure by name")
		return wrap(errdef.Denied, "list "+at.Host+" as an insecure registry, or give it a certificate")
	case errors.As(err, &op) && op.Op == "remote error": // crypto/tls: an alert of the server
		return wrap(errdef.Denied, "if it wants a client certificate, put client.cert and client.key in /etc/bulkhead/certs.d/"+at.Host)
	case strings.Contains(err.Error(), "invalid proxy address"): // its text has the address, with a password perhaps
		err = errors.New("the proxy that the environment names is no URL")
		return wrap(errdef.Invalid, "look at HTTPS_PROXY and HTTP_PROXY")
	case strings.Contains(err.Error(), "malformed "), strings.Contains(err.Error(), "response headers exceeded"):
		err = errors.New("the answer is no HTTP that is understood, or its header is too large")
		return wrap(errdef.Invalid, "")
	case errors.As(err, &dns):
		err = fmt.Errorf("look up %s: %s", dns.Name, dns.Err)
		return wrap(errdef.Unavailable, "")
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return wrap(errdef.Timeout, "")
	case errdef.KindOf(err) != errdef.Internal:
		return errdef.Errorf(errdef.KindOf(err), "%s %s: %w", method, clean(at), err)
	case errors.Is(err, syscall.ECONNREFUSED):
		return wrap(errdef.Unavailable, "is the registry running, and the port the right one?")
	case errors.As(err, &op), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET):
		return wrap(errdef.Unavailable, "")
	}
	return wrap(errdef.Unavailable, "")
}
