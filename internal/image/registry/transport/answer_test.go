package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
)

func answer(status int, body string, header http.Header) *http.Response {
	u, _ := url.Parse("https://r.test/v2/x/manifests/1?sig=secret")
	return &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(strings.NewReader(body)), Request: &http.Request{Method: "GET", URL: u}}
}

func TestStatusError(t *testing.T) {
	for _, c := range []struct {
		status int
		body   string
		kind   errdef.Kind
		text   string
	}{
		{404, `{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown","detail":{"a":1}}]}`, errdef.NotFound, `answer 404: MANIFEST_UNKNOWN "manifest unknown"`},
		{401, ``, errdef.Denied, "answer 401 Unauthorized"},
		{403, `<html>`, errdef.Denied, "answer 403 Forbidden"},
		{405, `{"errors":[{"code":"UNSUPPORTED"}]}`, errdef.Unsupported, `answer 405: UNSUPPORTED ""`},
		{409, ``, errdef.Conflict, "answer 409 Conflict"},
		{429, `{"errors":"no list"}`, errdef.Unavailable, "answer 429 Too Many Requests"},
		{500, `{"errors":[]}`, errdef.Unavailable, "answer 500 Internal Server Error"},
		{504, ``, errdef.Timeout, "answer 504 Gateway Timeout"},
		{416, ``, errdef.Invalid, "answer 416 Requested Range Not Satisfiable"},
		{799, ``, errdef.Unavailable, "answer 799"},
		{400, `{"errors":[{"code":"evil\u001b","message":"\n\u001b[31m"}]}`, errdef.Invalid, `answer 400: "\n\x1b[31m"`},
	} {
		err := StatusError(answer(c.status, c.body, nil))
		if want := "GET https://r.test/v2/x/manifests/1: " + c.text; err.Error() != want || errdef.KindOf(err) != c.kind {
			t.Errorf("%d %q: %v %q\nwant %v %q", c.status, c.body, errdef.KindOf(err), err, c.kind, want)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"0": 0, "7": 7 * time.Second, "4294967295": 4294967295 * time.Second, "Mon, 02 Jan 2006 15:04:05 GMT": 0,
	} {
		if got, said := retryAfter(answer(429, "", http.Header{"Retry-After": {text}})); got != want || !said {
			t.Errorf("%q: %v %v", text, got, said)
		}
	}
	soon := time.Now().Add(time.Minute).UTC().Format(http.TimeFormat)
	if got, said := retryAfter(answer(429, "", http.Header{"Retry-After": {soon}})); !said || got < 50*time.Second || got > time.Minute {
		t.Errorf("%q: %v", soon, got)
	}
	for _, text := range []string{"", "-1", "1.5", "soon", "99999999999999999999", "0x10"} {
		if got, said := retryAfter(answer(429, "", http.Header{"Retry-After": {text}})); said {
			t.Errorf("%q: %v", text, got)
		}
	}
}

func TestDescribe(t *testing.T) {
	at, _ := url.Parse("https://r.test:5000/v2/?sig=secret")
	for name, c := range map[string]struct {
		err  error
		kind errdef.Kind
		text string
		hint string
	}{
		"refused":  {&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}, errdef.Unavailable, "connection refused", "is the registry running"},
		"reset":    {fmt.Errorf("read: %w", syscall.ECONNRESET), errdef.Unavailable, "connection reset", ""},
		"end":      {io.EOF, errdef.Unavailable, "EOF", ""},
		"name":     {&net.OpError{Op: "dial", Err: &net.DNSError{Name: "r.test", Err: "no such host", Server: "10.0.0.1:53"}}, errdef.Unavailable, "look up r.test: no such host", ""},
		"alert":    {&net.OpError{Op: "remote error", Err: errors.New("tls: certificate required")}, errdef.Denied, "certificate required", "/etc/bulkhead/certs.d/r.test:5000"},
		"proxy":    {errors.New(`invalid proxy address "http://u:secret@[": parse`), errdef.Invalid, "no URL", "HTTPS_PROXY"},
		"canceled": {context.Canceled, errdef.Timeout, "canceled", ""},
		"ours":     {errdef.WithHint(errdef.Errorf(errdef.Denied, "no"), "way out"), errdef.Denied, "no", "way out"},
		"other":    {errors.New("something"), errdef.Unavailable, "something", ""},
	} {
		err := describe("GET", at, c.err)
		if errdef.KindOf(err) != c.kind || !strings.HasPrefix(err.Error(), "GET https://r.test:5000/v2: ") || !strings.Contains(err.Error(), c.text) ||
			!strings.Contains(errdef.Hint(err), c.hint) || strings.Contains(err.Error()+errdef.Hint(err), "secret") {
			t.Errorf("%s: %v %v; %s", name, errdef.KindOf(err), err, errdef.Hint(err))
		}
	}
}

func TestReadAll(t *testing.T) {
	for size, ok := range map[int]bool{0: true, 10: true, 11: false, 1000: false} {
		r := answer(200, strings.Repeat("x", size), nil)
		r.ContentLength = -1
		data, err := ReadAll(r, 10)
		if (err == nil) != ok || ok && len(data) != size || !ok && !errdef.Is(err, errdef.Invalid) {
			t.Errorf("%d bytes: %d, %v", size, len(data), err)
		}
	}
}

// TestDrip has a body that comes, and too slowly: by the time that was waited, not by the clock.
func TestDrip(t *testing.T) {
	at, _ := url.Parse("https://r.test/v2/")
	reader, writer := io.Pipe()
	ctx, w := watched(t.Context(), time.Minute)
	w.pause()
	go func() {
		for ctx.Err() == nil {
			time.Sleep(10 * time.Millisecond)
			if _, err := writer.Write([]byte("x")); err != nil {
				return
			}
		}
		writer.CloseWithError(context.Cause(ctx))
	}()
	body := &receiving{ctx: ctx, body: reader, watch: w, stall: 500 * time.Millisecond, method: "GET", at: at}
	defer body.Close()
	p, n := make([]byte, 100), 0
	for {
		got, err := body.Read(p)
		n += got
		if err != nil {
			if !errdef.Is(err, errdef.Timeout) || !strings.Contains(err.Error(), "less than 16384 bytes in 500ms") {
				t.Errorf("%v", err)
			}
			break
		}
		if n > 2000 {
			t.Fatal("it goes on for ever")
		}
	}
}
