package host

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
)

func TestAddresses(t *testing.T) {
	for address, want := range map[string]string{
		"unix:///run/x.sock":            "unix:///run/x.sock",
		"/run/x.sock":                   "unix:///run/x.sock",
		"tcp://127.0.0.1:2375":          "tcp://127.0.0.1:2375",
		"tcp://localhost":               "tcp://localhost:2375",
		"localhost:99":                  "tcp://localhost:99",
		"0.0.0.0:2376":                  "tcp://127.0.0.1:2376",
		"tcp://0.0.0.0:2376":            "tcp://127.0.0.1:2376",
		"tcp://[::]:2376":               "tcp://[::1]:2376",
		":2376":                         "tcp://127.0.0.1:2376",
		"tcp://[::1]:1":                 "tcp://[::1]:1",
		"http://127.0.0.1:1":            "tcp://127.0.0.1:1",
		"ssh://me@box:22":               "ssh://box:22",
		"tls tcp://engine.example":      "tcp://engine.example:2376",
		"https://engine.example:1":      "tcp://engine.example:1",
		"":                              "",
		"tcp://engine.example:2375":     "! without TLS",
		"10.0.0.1:2376":                 "! without TLS",
		"tcp://":                        "! names no host",
		"tcp://x y":                     "! no address",
		"tcp://me@localhost":            "! no address",
		"npipe:////./pipe/docker":       "! there is no such way",
		"fd://":                         "! there is no such way",
		"ssh://":                        "! names no host",
		"ssh://me:secret@box":           "! a password is never an argument",
		"ssh://box/run/x.sock":          "! a path has no meaning",
		"tls ":                          "! nothing is encrypted",
		"context x tcp://localhost:1":   "! both name an engine",
		"context nosuch ":               "! there is no such context",
		"context default unix:///x":     "! both name an engine",
		"context default ":              "",
		"context ../../../etc/passwd ":  "! there is no such context",
		"tcp://127.0.0.1:1/engines/one": "tcp://127.0.0.1:1",
	} {
		o := Options{Config: t.TempDir()}
		if rest, ok := strings.CutPrefix(address, "tls "); ok {
			o.TLS, address = true, rest
		}
		if rest, ok := strings.CutPrefix(address, "context "); ok {
			o.Context, address, _ = strings.Cut(rest, " ")
		}
		o.Host = address
		target, err := Find(o)
		why, fails := strings.CutPrefix(want, "! ")
		switch {
		case fails:
			if err == nil || !strings.Contains(err.Error(), why) || errdef.Hint(err) == "" {
				t.Errorf("%q: %v, want %q and a hint", address, err, why)
			}
		case err != nil:
			t.Errorf("%q: %v", address, err)
		case want == "" && target != nil, want != "" && (target == nil || target.Address != want):
			t.Errorf("%q: %+v, want %q", address, target, want)
		}
	}
}

// talk serves one line per connection and reads what it gets.
func talk(t *testing.T, l net.Listener) {
	t.Helper()
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				line, err := bufio.NewReader(c).ReadString('\n')
				if err == nil {
					_, _ = io.WriteString(c, "got "+line)
				}
			}()
		}
	}()
}

// ask speaks to a target.
func ask(t *testing.T, o Options) (string, error) {
	t.Helper()
	target, err := Find(o)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	c, err := target.Dial(ctx)
	if err != nil {
		return "", err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, "hello\n"); err != nil {
		return "", err
	}
	return bufio.NewReader(c).ReadString('\n')
}

func TestUnix(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	talk(t, l)
	if got, err := ask(t, Options{Host: "unix://" + path}); err != nil || got != "got hello\n" {
		t.Errorf("%q %v", got, err)
	}
	if _, err := ask(t, Options{Host: path + "x"}); !errdef.Is(err, errdef.Unavailable) || !strings.Contains(err.Error(), path+"x") {
		t.Errorf("%v", err)
	}
}

// pair writes a certificate and its key, signed by itself or by another, as NAME.pem and NAME-key.pem.
func pair(t *testing.T, dir, name string, parent *x509.Certificate, by *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: parent == nil, BasicConstraintsValid: true, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	if parent == nil {
		parent, by = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, by)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{name + ".pem": {Type: "CERTIFICATE", Bytes: der}, name + "-key.pem": {Type: "EC PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(filepath.Join(dir, file), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return parsed, key
}

// TestTLS: both sides show who they are; a stranger gets no word, and a server that nobody vouches for none either, unless it is said.
func TestTLS(t *testing.T) {
	dir := t.TempDir()
	ca, caKey := pair(t, dir, "ca", nil, nil)
	pair(t, dir, "server", ca, caKey)
	pair(t, dir, "cert", ca, caKey)
	other := t.TempDir()
	pair(t, other, "ca", nil, nil)
	if err := os.Rename(filepath.Join(dir, "cert-key.pem"), filepath.Join(dir, "key.pem")); err != nil {
		t.Fatal(err)
	}
	server, err := tls.LoadX509KeyPair(filepath.Join(dir, "server.pem"), filepath.Join(dir, "server-key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(ca)
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{server}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool})
	if err != nil {
		t.Fatal(err)
	}
	talk(t, l)
	address := "tcp://" + l.Addr().String()
	file := func(name string) string { return filepath.Join(dir, name) }
	for name, c := range map[string]struct {
		o    Options
		want string
	}{
		"directory":         {Options{TLS: true, Config: dir}, ""},
		"flags":             {Options{TLS: true, CA: file("ca.pem"), Cert: file("cert.pem"), Key: file("key.pem")}, ""},
		"unknown server":    {Options{TLS: true, CA: filepath.Join(other, "ca.pem"), Cert: file("cert.pem"), Key: file("key.pem")}, "certificate"},
		"no authority":      {Options{TLS: true, Cert: file("cert.pem"), Key: file("key.pem")}, "certificate"},
		"any server":        {Options{TLS: true, SkipVerify: true, Cert: file("cert.pem"), Key: file("key.pem")}, ""},
		"nobody":            {Options{TLS: true, CA: file("ca.pem")}, "certificate"},
		"in the clear":      {Options{}, ""},
		"key without":       {Options{TLS: true, Key: file("key.pem")}, "its certificate is missing"},
		"certificate alone": {Options{TLS: true, Cert: file("cert.pem"), CA: file("ca.pem")}, "its key is missing"},
		"no file":           {Options{TLS: true, CA: file("nosuch.pem")}, "no such file"},
		"no certificate":    {Options{TLS: true, CA: file("key.pem")}, "no certificate in it"},
	} {
		c.o.Host = address
		got, err := ask(t, c.o)
		switch {
		case name == "in the clear":
			if strings.HasPrefix(got, "got") {
				t.Errorf("%s: it was answered: %q", name, got)
			}
		case c.want == "" && (err != nil || got != "got hello\n"), c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: %q, %v; want %q", name, got, err, c.want)
		}
	}
}

func TestContexts(t *testing.T) {
	dir, socket := t.TempDir(), filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	talk(t, l)
	put := func(name, text string) {
		sum := sha256.Sum256([]byte(name))
		d := filepath.Join(dir, "contexts", "meta", hex.EncodeToString(sum[:]))
		if err := os.MkdirAll(d, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(d, "meta.json"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("here", `{"Name":"here","Metadata":{},"Endpoints":{"docker":{"Host":"unix://`+socket+`","SkipTLSVerify":false}}}`)
	put("empty", `{"Name":"empty","Endpoints":{}}`)
	put("broken", `{"Name":`)
	if got, err := ask(t, Options{Context: "here", Config: dir}); err != nil || got != "got hello\n" {
		t.Errorf("%q %v", got, err)
	}
	for name, want := range map[string]string{"empty": "it names no engine", "broken": "unexpected EOF", "nosuch": "there is no such context"} {
		_, err := Find(Options{Context: name, Config: dir})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
		if name == "nosuch" && errdef.Hint(err) != "there are empty, here" {
			t.Errorf("hint %q", errdef.Hint(err))
		}
	}
}

// TestSSH: what stands for ssh here runs what it is told to, and its end and its complaints arrive.
func TestSSH(t *testing.T) {
	bin := t.TempDir()
	script := `#!/bin/sh
echo "$@" > ` + bin + `/args
while [ "$1" != -- ]; do shift; done
case "$2" in bad) echo "Permission denied (publickey)." >&2; exit 255;; esac
exec sh -c "$3"
`
	engine := "#!/bin/sh\n[ \"$*\" = 'system dial-stdio' ] || exit 9\nread line && echo \"got $line\"; cat\n"
	for name, text := range map[string]string{"ssh": script, "bulkhead": engine} {
		if err := os.WriteFile(filepath.Join(bin, name), []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	if got, err := ask(t, Options{Host: "ssh://me@box:2222"}); err != nil || got != "got hello\n" {
		t.Errorf("%q %v", got, err)
	}
	args, err := os.ReadFile(filepath.Join(bin, "args"))
	if err != nil || !strings.Contains(string(args), "-l me -p 2222 -- box sh -c") {
		t.Errorf("%q %v", args, err)
	}
	if _, err := ask(t, Options{Host: "ssh://bad"}); err == nil || !strings.Contains(err.Error(), "Permission denied (publickey).") {
		t.Errorf("%v", err)
	}
	target, err := Find(Options{Host: "ssh://box"})
	if err != nil {
		t.Fatal(err)
	}
	c, err := target.Dial(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, "a\nb"); err != nil {
		t.Fatal(err)
	}
	if err := c.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(c); err != nil || string(got) != "got a\nb" {
		t.Errorf("after the end of the input: %q %v", got, err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}
