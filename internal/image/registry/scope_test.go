package registry_test

import (
	"bytes"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
)

// TestScope has a registry that wants a token for more than it was asked for: it gets what we need, and words that name no repository.
func TestScope(t *testing.T) {
	var mu sync.Mutex
	var scopes [][]string
	l := newLair(t, func(l *lair, w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/token":
			mu.Lock()
			scopes = append(scopes, r.URL.Query()["scope"])
			mu.Unlock()
			if r.Header.Get("Authorization") != l.basic() || r.URL.Query().Get("service") != "s" || r.URL.Query().Get("account") != "user" || r.URL.Query().Get("kept") != "1" {
				t.Errorf("the realm is asked %s with %q", r.URL, r.Header.Get("Authorization"))
			}
			send(w, 200, `{"token":"good"}`)
		case r.Header.Get("Authorization") != "Bearer good":
			send(w, 401, "", "WWW-Authenticate", `Bearer realm="http://`+l.host+`/token?kept=1",service="s",scope="repository:victim/private:pull,push,delete registry:catalog:* aws"`)
		case r.Method == http.MethodHead:
			send(w, 404, "")
		case r.Method == http.MethodPost:
			send(w, 202, "", "Location", "/upload/1?state=a%2Bb")
		case r.Method == http.MethodPut:
			if !strings.HasPrefix(r.URL.RawQuery, "state=a%2Bb&digest=sha256%3A") {
				t.Errorf("the query of the place is changed: %s", r.URL.RawQuery)
			}
			send(w, 201, "")
		default:
			send(w, 200, string(l.manifest), "Content-Type", ociManifest)
		}
	})
	if err := resolve(l); err != nil {
		t.Fatal(err)
	}
	if err := resolve(l); err != nil {
		t.Fatal(err)
	}
	if _, err := l.client.PushBlob(t.Context(), l.ref, l.blob, bytes.NewReader(l.content)); err != nil {
		t.Fatal(err)
	}
	want := [][]string{{"repository:x:pull", "aws"}, {"repository:x:pull,push", "aws"}}
	if !slices.EqualFunc(scopes, want, slices.Equal) {
		t.Errorf("got %q, want %q", scopes, want)
	}
	if l.requests != 2+1+1+4 { // the first time 401, a token, the manifest; then the manifest; then a token, and the blob in three
		t.Errorf("%d requests", l.requests)
	}
}
