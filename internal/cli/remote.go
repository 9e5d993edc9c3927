package cli

import (
	"context"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/dockerapi/client"
	"github.com/bulkhead-engine/bulkhead/internal/engine/option"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/image/credential"
	"github.com/bulkhead-engine/bulkhead/internal/image/manifest"
	"github.com/bulkhead-engine/bulkhead/internal/image/reference"
	"github.com/moby/moby/api/types/registry"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/spf13/pflag"
)

// remote are the flags that say how registries are reached.
type remote struct {
	insecure []string
	mirrors  []string
	authFile string
	certDir  string
	writes   bool // credentials are kept: the file need not be there yet
}

// register makes the flags.
func (r *remote) register(flags *pflag.FlagSet) {
	flags.StringArrayVar(&r.insecure, "insecure", nil, "let this host (HOST, HOST:PORT, or a range of addresses) have any certificate, or speak plain HTTP")
	flags.StringVar(&r.authFile, "authfile", "", "file with credentials, instead of those of Docker and Podman")
	flags.StringVar(&r.certDir, "cert-dir", "", "directory with HOST[:PORT]/*.crt, *.cert and *.key, instead of certs.d")
	refuse(flags, "tls-verify", "", refusedFlag{
		reason: "it would trust every registry less", hint: "name the one that is meant: --insecure HOST", allow: "true", boolean: true,
	})
	refuse(flags, "creds", "", refusedFlag{
		reason: "a password is never an argument: everybody on this machine can read it", hint: "bulkhead login REGISTRY, or --authfile FILE",
	})
}

// registerMirrors makes the flag of those who only read.
func (r *remote) registerMirrors(flags *pflag.FlagSet) {
	flags.StringArrayVar(&r.mirrors, "mirror", nil, "ask a mirror before a registry: REGISTRY=[http://]HOST[:PORT][/PREFIX]")
}

// registry are the flags as they are sent to the engine.
func (r *remote) registry() (*option.Registry, error) {
	o := &option.Registry{Insecure: r.insecure}
	var err error
	if o.CertDirs, err = r.certDirs(); err != nil {
		return o, err
	}
	for _, m := range r.mirrors {
		domain, host, ok := strings.Cut(m, "=")
		if !ok || domain == "" || host == "" {
			return o, errdef.WithHint(errdef.Errorf(errdef.Invalid, "--mirror %q: it names no registry and mirror", m), "--mirror docker.io=mirror.example.org")
		}
		if o.Mirrors == nil {
			o.Mirrors = map[string][]string{}
		}
		o.Mirrors[domain] = append(o.Mirrors[domain], host)
	}
	return o, nil
}

// headers are what is sent along with a request about an image of a registry: the flags, and the credentials of the registry and of its mirrors. nil is without flags.
func (r *remote) headers(ctx context.Context, p *program, ref reference.Reference) (http.Header, error) {
	if r == nil {
		r = &remote{}
	}
	o, err := r.registry()
	if err != nil {
		return nil, err
	}
	set, err := p.credentials(r.authFile, !r.writes)
	if err != nil {
		return nil, err
	}
	for _, w := range set.Warnings() {
		p.warn(w)
	}
	h := http.Header{}
	auth, err := lookup(ctx, set, ref.Domain, ref.Path)
	if errdef.Is(err, errdef.Denied) && r.authFile == "" { // of a place where nobody said that there is one; a registry that wants one says so
		p.warn(err.Error())
		err = nil
	}
	if err != nil {
		return nil, err
	}
	if auth != nil {
		text, err := client.EncodeHeader(auth)
		if err != nil {
			return nil, err
		}
		h.Set(client.AuthHeader, text)
	}
	for _, m := range o.Mirrors[ref.Domain] {
		host, path, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(m, "http://"), "https://"), "/")
		auth, err := lookup(ctx, set, host, path)
		if err != nil {
			return nil, err
		}
		if auth != nil {
			if o.Auths == nil {
				o.Auths = map[string]registry.AuthConfig{}
			}
			o.Auths[host] = *auth
		}
	}
	return h, registryHeader(h, o)
}

// registryHeader adds the flags, if there are any.
func registryHeader(h http.Header, o *option.Registry) error {
	if len(o.Insecure)+len(o.Mirrors)+len(o.CertDirs)+len(o.Auths) == 0 {
		return nil
	}
	text, err := client.EncodeHeader(o)
	if err == nil {
		h.Set(client.RegistryHeader, text)
	}
	return err
}

// lookup returns the credential of a repository as the API has it, nil for none.
func lookup(ctx context.Context, set *credential.Set, domain, path string) (*registry.AuthConfig, error) {
	c, _, err := set.Lookup(ctx, domain, path)
	if err != nil || c.Anonymous() {
		return nil, err
	}
	return &registry.AuthConfig{Username: c.Username, Password: c.Password, IdentityToken: c.IdentityToken, ServerAddress: domain}, nil
}

// certDirs are those of --cert-dir, nil for the usual ones.
func (r *remote) certDirs() ([]string, error) {
	if r.certDir == "" {
		return nil, nil
	}
	dir, err := filepath.Abs(r.certDir)
	if err != nil {
		return nil, errdef.Errorf(errdef.Invalid, "--cert-dir %q: %w", r.certDir, err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, errdef.Errorf(errdef.Invalid, "--cert-dir: %w", err)
	}
	for _, e := range entries {
		if ext := filepath.Ext(e.Name()); !e.IsDir() && (ext == ".crt" || ext == ".cert" || ext == ".key") {
			err := errdef.Errorf(errdef.Invalid, "--cert-dir %q: the files in it are those of one registry, and their directory does not name it", r.certDir)
			return nil, errdef.WithHint(err, "put them into a directory HOST[:PORT] there, as in certs.d: a key must not be shown to another registry")
		}
	}
	return []string{dir}, nil
}

// platform reads --platform; "" is nil, the host's.
func platform(s string) (*v1.Platform, error) {
	if s == "" {
		return nil, nil
	}
	p, err := manifest.ParsePlatform(s)
	if err != nil {
		return nil, err
	}
	return &p, nil
}

// platformFlag is the value of --platform, checked when it is read.
type platformFlag struct {
	text string
	p    *v1.Platform
}

func (f *platformFlag) String() string { return f.text }
func (f *platformFlag) Type() string   { return "OS[/ARCH[/VARIANT]]" }
func (f *platformFlag) Set(s string) error {
	p, err := platform(s)
	f.text, f.p = "", p
	if p != nil {
		f.text = manifest.FormatPlatform(*p)
	}
	return err
}

// query adds the platform to the parameters of a request.
func (f *platformFlag) query(q url.Values) url.Values {
	if f.p != nil {
		q.Set("platform", f.text)
	}
	return q
}

// contentTrust refuses Docker's flag.
func contentTrust(flags *pflag.FlagSet) {
	refuse(flags, "disable-content-trust", "", refusedFlag{
		reason: "signatures are not verified yet, so there is nothing to switch off", hint: "leave it away; digests are always verified", boolean: true,
	})
}
