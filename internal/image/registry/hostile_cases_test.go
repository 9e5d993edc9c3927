package registry_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/image/manifest"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

const ociManifest = v1.MediaTypeImageManifest

// bodies are answers that are too long, too slow, too short, or another's.
func bodies() []hostile {
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, _ = z.Write(make([]byte, 10<<20))
	_ = z.Close()
	bomb := packed.String()
	return []hostile{
		{"endless manifest", func(_ *lair, w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", ociManifest)
			endless(w, "{")
		}, resolve, errdef.Invalid, "more than 4194304 bytes"},
		{"a manifest announced with 1 TB", func(_ *lair, w http.ResponseWriter, _ *http.Request) {
			raw(w, func(c net.Conn) {
				fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: 1000000000000\r\n\r\n{", ociManifest)
			})
		}, resolve, errdef.Invalid, "more than 4194304 bytes"},
		{"endless blob", func(_ *lair, w http.ResponseWriter, _ *http.Request) { endless(w, "x") }, fetch, errdef.Invalid, "more than the 300000 bytes"},
		{"blob of another size", func(_ *lair, w http.ResponseWriter, _ *http.Request) {
			send(w, 200, "short", "Content-Length", "5")
		}, fetch, errdef.Invalid, "has 5 bytes, 300000 were announced"},
		{"blob of other content", func(l *lair, w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write(make([]byte, len(l.content)))
		}, fetch, errdef.Invalid, "wrong content"},
		{"a blob that always breaks off", func(l *lair, w http.ResponseWriter, _ *http.Request) {
			raw(w, func(c net.Conn) { fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", len(l.content)) })
		}, fetch, errdef.Unavailable, "broke off 6 times"},
		{"a range of another place", func(l *lair, w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Range") == "" {
				raw(w, func(c net.Conn) { fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\nabc", len(l.content)) })
				return
			}
			send(w, 206, "x", "Content-Range", fmt.Sprintf("bytes 1-%d/%d", len(l.content)-1, len(l.content)))
		}, fetch, errdef.Invalid, "asked for the bytes from 3 of 300000"},
		{"slow body of a manifest", func(_ *lair, w http.ResponseWriter, r *http.Request) { drip(w, r) }, resolve, errdef.Timeout, "less than 16384 bytes in 300ms"},
		{"slow body of a blob", func(_ *lair, w http.ResponseWriter, r *http.Request) { drip(w, r) }, fetch, errdef.Timeout, "less than 16384 bytes in 300ms"},
		{"a manifest that comes just fast enough", func(_ *lair, w http.ResponseWriter, r *http.Request) {
			for range 100 {
				if _, err := io.WriteString(w, strings.Repeat(" ", 20_000)); err != nil || r.Context().Err() != nil {
					return
				}
				_ = http.NewResponseController(w).Flush()
				time.Sleep(100 * time.Millisecond)
			}
		}, resolve, errdef.Timeout, "not all of the answer in 1.2s"},
		{"slow header", func(_ *lair, w http.ResponseWriter, r *http.Request) {
			raw(w, func(c net.Conn) {
				for _, b := range []byte("HTTP/1.1 200 OK\r\nX-Slow: " + strings.Repeat("a", 60)) {
					if _, err := c.Write([]byte{b}); err != nil {
						return
					}
					time.Sleep(20 * time.Millisecond)
				}
			})
		}, resolve, errdef.Timeout, "no answer in 1s"},
		{"silence", func(_ *lair, _ http.ResponseWriter, r *http.Request) {
			select {
			case <-r.Context().Done():
			case <-time.After(5 * time.Second):
			}
		}, resolve, errdef.Timeout, "no answer in 1s"},
		{"huge header", func(_ *lair, w http.ResponseWriter, _ *http.Request) {
			send(w, 200, "{}", "X-Huge", strings.Repeat("a", 200_000))
		}, resolve, errdef.Invalid, "its header is too large"},
		{"a storm of 1xx", func(_ *lair, w http.ResponseWriter, _ *http.Request) {
			raw(w, func(c net.Conn) {
				for range 1 << 20 {
					if _, err := io.WriteString(c, "HTTP/1.1 103 Early Hints\r\nLink: </x>; rel=preload\r\n\r\n"); err != nil {
						return
					}
				}
			})
		}, resolve, errdef.Invalid, "its header is too large"},
		{"no HTTP", func(_ *lair, w http.ResponseWriter, _ *http.Request) {
			raw(w, func(c net.Conn) { _, _ = io.WriteString(c, "220 smtp.test ESMTP\r\n") })
		}, resolve, errdef.Invalid, "no HTTP that is understood"},
		{"a bomb in gzip", func(l *lair, w http.ResponseWriter, _ *http.Request) {
			send(w, 200, bomb, "Content-Encoding", "gzip", "Content-Type", ociManifest)
		}, resolve, errdef.Invalid, `content encoding "gzip"`},
		{"a blob in gzip", func(l *lair, w http.ResponseWriter, _ *http.Request) {
			var b bytes.Buffer
			z := gzip.NewWriter(&b)
			_, _ = z.Write(l.content)
			_ = z.Close()
			send(w, 200, b.String(), "Content-Encoding", "gzip")
		}, fetch, errdef.Invalid, `content encoding "gzip"`},
		{"Retry-After of a year", func(_ *lair, w http.ResponseWriter, _ *http.Request) {
			send(w, 429, `{"errors":[{"code":"TOOMANYREQUESTS","message":"go away"}]}`, "Retry-After", "31536000")
		}, resolve, errdef.Unavailable, `TOOMANYREQUESTS "go away": it wants 8760h0m0s to pass`},
		{"Retry-After of a date", func(_ *lair, w http.ResponseWriter, _ *http.Request) {
			send(w, 503, "", "Retry-After", "Fri, 31 Dec 2999 23:59:59 GMT")
		}, resolve, errdef.Unavailable, "to pass before the next try"},
		{"errors of a terminal", func(_ *lair, w http.ResponseWriter, _ *http.Request) {
			send(w, 400, `{"errors":[{"code":"\u001b[2J","message":"\u001b]0;owned\u0007`+strings.Repeat("A", 50_000)+`"}]}`)
		}, resolve, errdef.Invalid, `\x1b]0;owned`},
		{"an error without end", func(_ *lair, w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(404)
			endless(w, "no")
		}, resolve, errdef.NotFound, "answer 404 Not Found"},
	}
}

// redirects lead where nobody should go.
func redirects() []hostile {
	to := func(target string) func(*lair, http.ResponseWriter, *http.Request) {
		return func(l *lair, w http.ResponseWriter, r *http.Request) {
			if authorized(l, w, r) {
				send(w, 307, "", "Location", target)
			}
		}
	}
	return []hostile{
		{"a loop", func(l *lair, w http.ResponseWriter, r *http.Request) {
			send(w, 302, "", "Location", r.URL.String())
		}, fetch, errdef.Invalid, "more than 5 redirects"},
		{"to a file", to("file:///etc/shadow"), fetch, errdef.Denied, `scheme "file"`},
		{"to gopher", to("gopher://127.0.0.1:25/x"), fetch, errdef.Denied, `scheme "gopher"`},
		{"to a unix socket", to("unix:/run/docker.sock"), fetch, errdef.Denied, `scheme "unix"`},
		{"to the metadata of a cloud", to("http://169.254.169.254/latest/meta-data/iam?sig=1"), fetch, errdef.Denied, "169.254.169.254"},
		{"to the metadata, over TLS", to("https://169.254.169.254/latest"), fetch, errdef.Denied, "link-local or reserved address 169.254.169.254"},
		{"to the metadata, as IPv6", to("https://[::ffff:169.254.169.254]/latest"), fetch, errdef.Denied, "link-local or reserved address"},
		{"to nowhere", to("https:///x"), fetch, errdef.Denied, "without a host"},
		{"to a parent of certs.d", to("https://../x"), fetch, errdef.Denied, "without a host"},
		{"with a user", to("https://user:" + password + "@127.0.0.2/x"), fetch, errdef.Denied, "with a user in it"},
		{"to plain HTTP that is not named", to("http://registry.test/x"), fetch, errdef.Denied, "registry.test: it is not insecure by name"},
		{"without a Location", func(l *lair, w http.ResponseWriter, _ *http.Request) { send(w, 302, "") }, fetch, errdef.Invalid, "has no Location"},
		{"with the password elsewhere", func(l *lair, w http.ResponseWriter, r *http.Request) {
			if authorized(l, w, r) {
				send(w, 307, "", "Location", "http://"+l.elsewhere+"/blob?sig=secret", "Set-Cookie", "a="+password)
			}
		}, fetch, errdef.Internal, ""},
		{"with the password to another port", func(l *lair, w http.ResponseWriter, r *http.Request) {
			if authorized(l, w, r) {
				_, port, _ := net.SplitHostPort(l.elsewhere)
				send(w, 307, "", "Location", "http://127.0.0.1:"+port+"/blob")
			}
		}, fetch, errdef.Unavailable, "connection refused"},
		{"a manifest from elsewhere that is none", func(l *lair, w http.ResponseWriter, r *http.Request) {
			if authorized(l, w, r) {
				send(w, 301, "", "Location", "http://"+l.elsewhere+"/x")
			}
		}, resolve, errdef.Invalid, "UTF-8"},
	}
}

// types are documents that are not what they are said to be.
func types() []hostile {
	answer := func(contentType string, body func(l *lair) string, more ...string) func(*lair, http.ResponseWriter, *http.Request) {
		return func(l *lair, w http.ResponseWriter, _ *http.Request) {
			send(w, 200, body(l), append([]string{"Content-Type", contentType}, more...)...)
		}
	}
	good := func(l *lair) string { return string(l.manifest) }
	fixed := func(s string) func(*lair) string { return func(*lair) string { return s } }
	byDigest := func(l *lair) error {
		ref, err := l.ref.WithDigest(digest.FromString("another"))
		if err != nil {
			return err
		}
		_, _, err = l.client.Resolve(l.t.Context(), ref)
		return err
	}
	child := func(mediaType string, size int64) func(l *lair) error {
		return func(l *lair) error {
			_, err := l.client.Manifest(l.t.Context(), l.ref, v1.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(l.manifest), Size: int64(len(l.manifest)) + size})
			return err
		}
	}
	foreign := func(l *lair) string {
		layer := l.blob
		layer.URLs = []string{"http://" + l.elsewhere + "/layer"}
		return string(manifestOf(layer, ociManifest))
	}
	return []hostile{
		{"an index that says manifest", answer(v1.MediaTypeImageIndex, good), resolve, errdef.Invalid, "the document says"},
		{"a manifest with manifests", answer(ociManifest, fixed(`{"schemaVersion":2,"config":{},"layers":[],"manifests":[]}`)), resolve, errdef.Invalid, "an index and a manifest at once"},
		{"schema 1", answer("application/vnd.docker.distribution.manifest.v1+prettyjws", fixed(`{"schemaVersion":1,"fsLayers":[]}`)), resolve, errdef.Unsupported, "schema 1"},
		{"schema 1 in a new coat", answer(ociManifest, fixed(`{"schemaVersion":1,"config":{},"layers":[]}`)), resolve, errdef.Unsupported, "schema 1"},
		{"a web page", answer("text/html", fixed("<html>")), resolve, errdef.Invalid, "where a value should stand"},
		{"a key twice", answer(ociManifest, fixed(`{"schemaVersion":2,"schemaVersion":2,"config":{},"layers":[]}`)), resolve, errdef.Invalid, "twice"},
		{"deep", answer(ociManifest, fixed(strings.Repeat(`{"a":`, 100_000)+"1"+strings.Repeat("}", 100_000))), resolve, errdef.Invalid, "deep"},
		{"another digest in the header", answer(ociManifest, good, "Docker-Content-Digest", digest.FromString("x").String()), resolve, errdef.Invalid, "what came has the digest"},
		{"no digest in the header", answer(ociManifest, good, "Docker-Content-Digest", "md5:../x"), resolve, errdef.Invalid, "the registry says"},
		{"a digest of control characters", answer(ociManifest, good, "Docker-Content-Digest", "md5:\x1b"), resolve, errdef.Invalid, "no HTTP that is understood"},
		{"another content than asked for", answer(ociManifest, good), byDigest, errdef.Invalid, "what came has the digest"},
		{"another content, with the digest in the header", answer(ociManifest, good, "Docker-Content-Digest", digest.FromString("another").String()), byDigest, errdef.Invalid, "what came has the digest"},
		{"another media type than announced", answer(ociManifest, good), child(manifest.DockerManifest, 0), errdef.Invalid, "announced as"},
		{"another size than announced", answer(ociManifest, good), child(ociManifest, 1), errdef.Invalid, "were announced"},
		{"a layer from elsewhere", answer(ociManifest, foreign), resolve, errdef.Unsupported, "is to be fetched from"},
		{"a blob from elsewhere", answer(ociManifest, good), func(l *lair) error {
			l.blob.URLs = []string{"http://" + l.elsewhere + "/layer"}
			return fetch(l)
		}, errdef.Unsupported, "content from outside of the registry"},
		{"HEAD with a strange digest", answer(ociManifest, good, "Docker-Content-Digest", "sha256:../../etc"), head, errdef.Invalid, "Docker-Content-Digest"},
		{"HEAD with a huge size", func(l *lair, w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodHead {
				send(w, 200, "", "Content-Type", ociManifest, "Docker-Content-Digest", digest.FromBytes(l.manifest).String(), "Content-Length", "99999999999")
				return
			}
			send(w, 200, string(l.manifest), "Content-Type", ociManifest)
		}, head, errdef.Internal, ""}, // it fetches instead
	}
}

// lists do not end, or lead elsewhere.
func lists() []hostile {
	link := func(target string) func(*lair, http.ResponseWriter, *http.Request) {
		return func(l *lair, w http.ResponseWriter, r *http.Request) {
			if authorized(l, w, r) {
				send(w, 200, `{"tags":["a"]}`, "Link", "<"+strings.ReplaceAll(target, "ELSEWHERE", l.elsewhere)+`>; rel="next"`)
			}
		}
	}
	return []hostile{
		{"tags in a circle", link("/v2/x/tags/list?n=1000"), tags, errdef.Invalid, "in a circle"},
		{"tags without end", func(l *lair, w http.ResponseWriter, r *http.Request) {
			send(w, 200, `{"tags":["a"]}`, "Link", fmt.Sprintf(`</v2/x/tags/list?last=%d>; rel="next"`, time.Now().UnixNano()))
		}, tags, errdef.Invalid, "more than 1000 pages"},
		{"tags elsewhere", link("http://ELSEWHERE/v2/x/tags/list"), tags, errdef.Denied, "the next page is elsewhere"},
		{"tags in another scheme", link("file:///v2/"), tags, errdef.Denied, "the next page is elsewhere"},
		{"what is no tag", func(_ *lair, w http.ResponseWriter, _ *http.Request) {
			send(w, 200, `{"tags":["\u001b[2J"]}`)
		}, tags, errdef.Invalid, "lists what is no tag"},
		{"a page of 100 MB", func(_ *lair, w http.ResponseWriter, _ *http.Request) { endless(w, `{"tags":["a"]}`) }, tags, errdef.Invalid, "more than 4194304 bytes"},
		{"referrers that are no index", func(l *lair, w http.ResponseWriter, _ *http.Request) {
			send(w, 200, string(l.manifest), "Content-Type", v1.MediaTypeImageIndex)
		}, referrers, errdef.Invalid, "an index without manifests"},
	}
}

// challenges ask for the password in wrong places.
func challenges() []hostile {
	ask := func(realm string) func(*lair, http.ResponseWriter, *http.Request) {
		return func(l *lair, w http.ResponseWriter, r *http.Request) {
			send(w, 401, "", bearer(strings.NewReplacer("ELSEWHERE", l.elsewhere, "HOST", l.host).Replace(realm))...)
		}
	}
	token := func(answer func(l *lair, w http.ResponseWriter)) func(*lair, http.ResponseWriter, *http.Request) {
		return func(l *lair, w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/token" {
				answer(l, w)
				return
			}
			send(w, 401, "", bearer("http://"+l.host+"/token")...)
		}
	}
	return []hostile{
		{"a realm over plain HTTP elsewhere", ask("http://ELSEWHERE/token"), resolve, errdef.Denied, "asks for a password over plain HTTP"},
		{"a realm that is a file", ask("file:///etc/passwd"), resolve, errdef.Invalid, "no URL"},
		{"a realm of the cloud", ask("http://169.254.169.254/token"), resolve, errdef.Denied, "realm of tokens refused"},
		{"a realm with a user", ask("http://a:b@HOST/token"), resolve, errdef.Denied, "realm of tokens refused"},
		{"no realm", ask(""), resolve, errdef.Invalid, "no URL"},
		{"a challenge that does not end", func(_ *lair, w http.ResponseWriter, _ *http.Request) {
			send(w, 401, "", "WWW-Authenticate", `Bearer realm="`+strings.Repeat(`a\`, 10_000))
		}, resolve, errdef.Invalid, "no URL"},
		{"a challenge that is not known", func(_ *lair, w http.ResponseWriter, _ *http.Request) {
			send(w, 401, "", "WWW-Authenticate", "Negotiate")
		}, resolve, errdef.Denied, "answer 401"},
		{"a token of 100 MB", token(func(_ *lair, w http.ResponseWriter) { endless(w, `{"token":"`) }), resolve, errdef.Invalid, "more than 262144 bytes"},
		{"a token of 100 KB", token(func(_ *lair, w http.ResponseWriter) { send(w, 200, `{"token":"`+strings.Repeat("a", 100_000)+`"}`) }), resolve, errdef.Invalid, "100000 bytes, at most"},
		{"a token with a header in it", token(func(_ *lair, w http.ResponseWriter) { send(w, 200, `{"token":"a\r\nX-Evil: 1"}`) }), resolve, errdef.Invalid, "a character in it that no token has"},
		{"no token", token(func(_ *lair, w http.ResponseWriter) { send(w, 200, `{}`) }), resolve, errdef.Invalid, "there is none in the answer"},
		{"a token that is never right", token(func(_ *lair, w http.ResponseWriter) { send(w, 200, `{"token":"a"}`) }), resolve, errdef.Denied, "answer 401"},
		{"a realm that sends on", token(func(l *lair, w http.ResponseWriter) { send(w, 307, "", "Location", "http://"+l.elsewhere+"/token") }), resolve, errdef.Denied, "where the password does not go"},
		{"a realm that says no", token(func(_ *lair, w http.ResponseWriter) { send(w, 403, `{"details":"no"}`) }), resolve, errdef.Denied, "answer 403"},
		{"401 for ever", func(l *lair, w http.ResponseWriter, r *http.Request) {
			send(w, 401, "", "WWW-Authenticate", `Basic realm="x"`)
		}, resolve, errdef.Denied, "answer 401"},
	}
}

// uploads lead elsewhere.
func uploads() []hostile {
	place := func(where string) func(*lair, http.ResponseWriter, *http.Request) {
		return func(l *lair, w http.ResponseWriter, r *http.Request) {
			switch {
			case !authorized(l, w, r):
			case r.Method == http.MethodHead:
				send(w, 404, "")
			default:
				send(w, 202, "", "Location", strings.ReplaceAll(where, "ELSEWHERE", l.elsewhere))
			}
		}
	}
	return []hostile{
		// Some registries let blobs be sent to a storage service, so it is done; the password stays here.
		{"an upload elsewhere", place("http://ELSEWHERE/upload?sig=secret"), push, errdef.Internal, ""},
		{"an upload to a file", place("file:///etc/cron.d/x"), push, errdef.Denied, `scheme "file"`},
		{"an upload to the cloud's metadata", place("https://169.254.169.254/"), push, errdef.Denied, "link-local or reserved"},
		{"an upload over plain HTTP", place("http://registry.test/"), push, errdef.Denied, "not insecure by name"},
		{"an upload without a place", place(""), push, errdef.Invalid, "has no Location"},
		{"an upload that is sent on", func(l *lair, w http.ResponseWriter, r *http.Request) {
			switch {
			case !authorized(l, w, r):
			case r.Method == http.MethodHead:
				send(w, 404, "")
			case r.Method == http.MethodPut:
				send(w, 307, "", "Location", "http://"+l.elsewhere+"/upload")
			default:
				send(w, 202, "", "Location", "/upload")
			}
		}, push, errdef.Denied, "what is sent is not sent elsewhere"},
		{"a blob that is there with another size", func(l *lair, w http.ResponseWriter, r *http.Request) {
			send(w, 200, "", "Content-Length", "7")
		}, push, errdef.Invalid, "the registry has 7 bytes of it"},
	}
}
