package registry

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/image/credential"
	"github.com/bulkhead-engine/bulkhead/internal/image/registry"
	"github.com/bulkhead-engine/bulkhead/internal/image/registry/endpoint"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// What alice has, and the line of htpasswd for it (bcrypt, as distribution wants it).
const (
	alice = "alice:$2y$05$abcdefghijklmnopqrstuuHNbAKRhpaujgo33bRWs.NLUTJO3lOy2\n"
	horse = "correct horse"
)

// credentials opens a file of its own, in which nothing is.
func credentials(t *testing.T) (*credential.Set, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "auth.json")
	if err := os.WriteFile(path, []byte(`{}`), 0o600); err != nil {
		t.Fatal(err)
	}
	set, err := credential.Open(credential.Options{AuthFile: path})
	if err != nil {
		t.Fatal(err)
	}
	return set, path
}

// TestPassword logs in to a registry with passwords and TLS, and uses what that left, as skopeo does.
func TestPassword(t *testing.T) {
	both(t, func(t *testing.T, kind string) {
		ca := newAuthority(t)
		users := filepath.Join(t.TempDir(), "htpasswd")
		if err := os.WriteFile(users, []byte(alice), 0o600); err != nil {
			t.Fatal(err)
		}
		s := start(t, kind, tlsLines(ca.issue("server")), "auth:\n  htpasswd:\n    realm: of-this-test\n    path: "+users+"\n")
		certs := certsDir(t, s.host, map[string]string{"ca.crt": ca.file})
		set, path := credentials(t)
		c := client(t, registry.Options{Credentials: set, Endpoints: endpoint.Options{CertDirs: []string{certs}}})
		here := openStore(t)
		desc := image(t, here, forms["oci"], 400, 5000)
		ref := parse(t, s.host+"/secret/app:1")

		err := c.Push(t.Context(), ref, desc, here, registry.PushOptions{})
		if !errdef.Is(err, errdef.Denied) || !strings.Contains(errdef.Hint(err), "bulkhead login "+s.host) {
			t.Errorf("without login: %v; %s", err, errdef.Hint(err))
		}
		_, err = c.Login(t.Context(), s.host, "alice", strings.NewReader("wrong\n"))
		if !errdef.Is(err, errdef.Denied) || strings.Contains(err.Error(), "wrong") {
			t.Errorf("a wrong password: %v", err)
		}
		if data, _ := os.ReadFile(path); string(data) != `{}` {
			t.Errorf("a wrong password is kept: %s", data)
		}
		report, err := c.Login(t.Context(), s.host, "alice", strings.NewReader(horse+"\n"))
		if err != nil || !report.Tried || report.Where != path || report.Registry != s.host || len(report.Warnings) != 0 {
			t.Fatalf("%+v, %v", report, err)
		}
		if err := c.Push(t.Context(), ref, desc, here, registry.PushOptions{}); err != nil {
			t.Fatal(err)
		}
		there := openStore(t)
		if got, err := pull(t.Context(), c, ref, there); err != nil || got.Digest != desc.Digest {
			t.Errorf("%v, %v", got.Digest, err)
		}
		skopeo(t, "inspect", "--raw", "--authfile", path, "--cert-dir", filepath.Join(certs, s.host), "docker://"+ref.String())

		// The other way: skopeo logs in, we use it.
		theirs := filepath.Join(t.TempDir(), "auth.json")
		skopeo(t, "login", "--authfile", theirs, "--cert-dir", filepath.Join(certs, s.host), "-u", "alice", "-p", horse, s.host)
		other, err := credential.Open(credential.Options{AuthFile: theirs})
		if err != nil {
			t.Fatal(err)
		}
		c2 := client(t, registry.Options{Credentials: other, Endpoints: endpoint.Options{CertDirs: []string{certs}}})
		if _, err := c2.Head(t.Context(), ref); err != nil {
			t.Errorf("with skopeo's login: %v", err)
		}
		if from, err := c.Logout(t.Context(), s.host); err != nil || len(from) != 1 || from[0] != path {
			t.Errorf("%q, %v", from, err)
		}
		if _, err := c.Head(t.Context(), ref); !errdef.Is(err, errdef.Denied) {
			t.Errorf("after logout: %v", err)
		}
	})
}

// An issuer gives tokens that a registry believes: a small server as "Token Authentication Specification" describes it.
type issuer struct {
	host string
	key  *ecdsa.PrivateKey
	cert []byte // DER
	file string

	mu    sync.Mutex
	life  time.Duration
	asked []string // who asked for what
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	ca := newAuthority(t)
	i := &issuer{key: ca.key, cert: ca.cert.Raw, file: ca.file, life: time.Minute}
	i.host = serveHTTP(t, i)
	return i
}

// lines are the registry's configuration.
func (i *issuer) lines() string {
	return fmt.Sprintf("auth:\n  token:\n    realm: http://%s/token\n    service: a test\n    issuer: issuer of a test\n    rootcertbundle: %s\n", i.host, i.file)
}

// ServeHTTP is http.Handler's. Everybody may pull public/*; alice may do all with private/*.
func (i *issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		http.Error(w, "no form", http.StatusBadRequest)
		return
	}
	user, password, basic := r.BasicAuth()
	who := "nobody"
	switch {
	case basic && (user != "alice" || password != horse):
		http.Error(w, `{"details":"incorrect username or password"}`, http.StatusUnauthorized)
		return
	case basic:
		who = "alice"
	case r.Method == http.MethodPost && r.PostForm.Get("grant_type") == "refresh_token" && r.PostForm.Get("refresh_token") == "identity-of-alice":
		who = "alice by identity"
	case r.Method == http.MethodPost:
		http.Error(w, `{"details":"incorrect token"}`, http.StatusUnauthorized)
		return
	}
	scopes := r.Form["scope"]
	if r.Method == http.MethodPost {
		scopes = strings.Fields(r.PostForm.Get("scope"))
	}
	i.mu.Lock()
	i.asked = append(i.asked, who+" "+strings.Join(scopes, " "))
	life := i.life
	i.mu.Unlock()
	answer := map[string]any{"token": i.token(who, scopes, life), "expires_in": int(life.Seconds())}
	if r.Method == http.MethodPost {
		answer = map[string]any{"access_token": answer["token"], "expires_in": answer["expires_in"]}
	}
	if r.Form.Get("offline_token") == "true" && r.Form.Get("client_id") != "" {
		answer["refresh_token"] = "identity-of-alice"
	}
	_ = json.NewEncoder(w).Encode(answer)
}

// token signs what the user may do of what was asked (RFC 7519, ES256).
func (i *issuer) token(who string, scopes []string, life time.Duration) string {
	access := []map[string]any{}
	for _, scope := range scopes {
		part := strings.Split(scope, ":")
		if len(part) != 3 {
			continue
		}
		allowed := []string{}
		for _, action := range strings.Split(part[2], ",") {
			if who != "nobody" && strings.HasPrefix(part[1], "private/") || strings.HasPrefix(part[1], "public/") && action == "pull" {
				allowed = append(allowed, action)
			}
		}
		access = append(access, map[string]any{"type": part[0], "name": part[1], "actions": allowed})
	}
	now := time.Now()
	encode := func(v any) string {
		data, _ := json.Marshal(v)
		return base64.RawURLEncoding.EncodeToString(data)
	}
	signed := encode(map[string]any{"typ": "JWT", "alg": "ES256", "x5c": []string{base64.StdEncoding.EncodeToString(i.cert)}}) + "." +
		encode(map[string]any{
			"iss": "issuer of a test", "sub": who, "aud": "a test", "jti": fmt.Sprint(now.UnixNano()),
			"iat": now.Unix(), "nbf": now.Add(-time.Minute).Unix(), "exp": now.Add(life).Unix(), "access": access,
		})
	hash := sha256.Sum256([]byte(signed))
	r, s, err := ecdsa.Sign(rand.Reader, i.key, hash[:])
	if err != nil {
		return ""
	}
	signature := append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	return signed + "." + base64.RawURLEncoding.EncodeToString(signature)
}

// take returns what was asked since the last time.
func (i *issuer) take() []string {
	i.mu.Lock()
	defer i.mu.Unlock()
	asked := i.asked
	i.asked = nil
	return asked
}

// TestToken lets a registry send us to an issuer of tokens, as nobody, with a password, and with an identity token.
func TestToken(t *testing.T) {
	both(t, func(t *testing.T, kind string) {
		i := newIssuer(t)
		s := start(t, kind, "", i.lines())
		set, path := credentials(t)
		options := registry.Options{Credentials: set, Endpoints: endpoint.Options{Insecure: []string{s.host, i.host}}}
		c := client(t, options)
		here := openStore(t)
		desc := image(t, here, forms["oci"], 410, 5000, 6000)
		ref := parse(t, s.host+"/private/app:1")

		err := c.Push(t.Context(), ref, desc, here, registry.PushOptions{})
		if !errdef.Is(err, errdef.Denied) || !strings.Contains(errdef.Hint(err), "bulkhead login "+s.host) {
			t.Errorf("as nobody: %v; %s", err, errdef.Hint(err))
		}
		if _, err = c.Login(t.Context(), s.host, "alice", strings.NewReader("wrong")); !errdef.Is(err, errdef.Denied) || !strings.Contains(errdef.Hint(err), "password") {
			t.Errorf("a wrong password: %v; %s", err, errdef.Hint(err))
		}
		report, err := c.Login(t.Context(), s.host, "alice", strings.NewReader(horse))
		if err != nil || !report.Tried || !report.Token {
			t.Fatalf("%+v, %v", report, err)
		}
		if data, _ := os.ReadFile(path); strings.Contains(string(data), base64.StdEncoding.EncodeToString([]byte("alice:"+horse))) || !strings.Contains(string(data), "identity-of-alice") {
			t.Errorf("the identity token was to be kept, not the password: %s", data)
		}
		i.take()
		if err := c.Push(t.Context(), ref, desc, here, registry.PushOptions{}); err != nil {
			t.Fatal(err)
		}
		if asked := i.take(); len(asked) != 1 || asked[0] != "alice by identity repository:private/app:pull,push" {
			t.Errorf("tokens of a push: %q", asked)
		}
		for range 2 {
			if got, err := pull(t.Context(), c, ref, openStore(t)); err != nil || got.Digest != desc.Digest {
				t.Errorf("%v, %v", got.Digest, err)
			}
		}
		if asked := i.take(); len(asked) != 1 || asked[0] != "alice by identity repository:private/app:pull" {
			t.Errorf("tokens of two pulls: %q", asked)
		}

		// A password that is not a token, as Docker keeps it where a registry gives none; and a token that ends in the middle.
		text := fmt.Sprintf(`{"auths":{%q:{"auth":%q}}}`, s.host, base64.StdEncoding.EncodeToString([]byte("alice:"+horse)))
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		i.mu.Lock()
		i.life = 2 * time.Second
		i.mu.Unlock()
		c = client(t, options)
		for n := range 3 {
			if _, err := pull(t.Context(), c, ref, openStore(t)); err != nil {
				t.Errorf("pull %d: %v", n, err)
			}
			time.Sleep(1100 * time.Millisecond)
		}
		if asked := i.take(); len(asked) != 3 || asked[2] != "alice repository:private/app:pull" {
			t.Errorf("tokens that end: %q", asked)
		}

		// Everybody may pull what is public.
		if _, _, err := client(t, registry.Options{}).Resolve(t.Context(), parse(t, s.host+"/public/app:1")); !errdef.Is(err, errdef.NotFound) {
			t.Errorf("as nobody, with a token for it: %v", err)
		}
		// The realm is plain HTTP and only the registry is named: no password goes there.
		c = client(t, registry.Options{Credentials: set, Endpoints: endpoint.Options{Insecure: []string{s.host}}})
		if _, _, err := c.Resolve(t.Context(), ref); !errdef.Is(err, errdef.Denied) || !strings.Contains(err.Error(), "over plain HTTP") {
			t.Errorf("a realm that is not named: %v", err)
		}
	})
}

// TestMount takes blobs from another repository of the registry, for which the token has to be good too.
func TestMount(t *testing.T) {
	both(t, func(t *testing.T, kind string) {
		i := newIssuer(t)
		s := count(t, start(t, kind, "", i.lines()))
		set, _ := credentials(t)
		if _, err := set.Store(t.Context(), s.host, credential.Credential{Username: "alice", Password: horse}); err != nil {
			t.Fatal(err)
		}
		c := client(t, registry.Options{Credentials: set, Endpoints: endpoint.Options{Insecure: []string{s.host, i.host}}})
		here := openStore(t)
		desc := image(t, here, forms["oci"], 420, 5000, 6000)
		if err := c.Push(t.Context(), parse(t, s.host+"/private/a:1"), desc, here, registry.PushOptions{}); err != nil {
			t.Fatal(err)
		}
		s.take()
		push := func(to string, from ...string) map[registry.Outcome]int {
			outcomes := map[registry.Outcome]int{}
			err := c.Push(t.Context(), parse(t, s.host+to), desc, here, registry.PushOptions{
				Mount:    func(digest.Digest) []string { return from },
				Progress: func(_ v1.Descriptor, o registry.Outcome) { outcomes[o]++ },
			})
			if err != nil {
				t.Fatal(err)
			}
			return outcomes
		}
		if o := push("/private/b:1", "private/a"); o[registry.Mounted] != 3 || o[registry.Sent] != 1 {
			t.Errorf("%v", o)
		}
		if sent := only(s.take(), "PUT /v2/private/b/blobs/"); len(sent) != 0 {
			t.Errorf("sent in spite of it: %q", sent)
		}
		// From where nothing is, or where we may not look, it is sent.
		if o := push("/private/c:1", "private/nothing", "secret/of-others"); o[registry.Sent] != 4 {
			t.Errorf("%v", o)
		}
		whole := openStore(t)
		if got, err := pull(t.Context(), c, parse(t, s.host+"/private/b:1"), whole); err != nil || got.Digest != desc.Digest {
			t.Errorf("%v %v", got.Digest, err)
		}
	})
}
