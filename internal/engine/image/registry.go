package image

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"maps"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/engine/option"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	images "github.com/bulkhead-engine/bulkhead/internal/image"
	"github.com/bulkhead-engine/bulkhead/internal/image/credential"
	"github.com/bulkhead-engine/bulkhead/internal/image/manifest"
	"github.com/bulkhead-engine/bulkhead/internal/image/reference"
	"github.com/bulkhead-engine/bulkhead/internal/image/registry"
	"github.com/bulkhead-engine/bulkhead/internal/image/registry/endpoint"
	"github.com/moby/moby/api/types/jsonstream"
	api "github.com/moby/moby/api/types/registry"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// A caller is how one call reaches registries, and with which credentials.
type caller struct {
	domain   string          // of the image: whose registry auth is for
	auth     *api.AuthConfig // nil: anonymous
	registry *option.Registry
	tell     option.Tell // nil: warnings are told nobody
}

// client makes the client of one call.
func (s *Service) client(c caller) (*registry.Client, error) {
	own := c.registry
	if own == nil {
		own = &option.Registry{}
	}
	base := &s.o.Registry
	o := registry.Options{Endpoints: endpoint.Options{
		Insecure: append(append([]string{}, base.Insecure...), own.Insecure...), Mirrors: map[string][]string{}, CertDirs: own.CertDirs,
	}}
	maps.Copy(o.Endpoints.Mirrors, base.Mirrors)
	for domain, hosts := range own.Mirrors {
		o.Endpoints.Mirrors[domain] = append(append([]string{}, hosts...), base.Mirrors[domain]...)
	}
	if o.Endpoints.CertDirs == nil {
		o.Endpoints.CertDirs = base.CertDirs
	}
	if c.tell != nil {
		o.Endpoints.Notice = func(text string) { _ = aux(c.tell, option.Aux{Warning: text}) }
	}
	known := map[string]credential.Credential{}
	for host, a := range own.Auths {
		cred, err := credentialOf(&a)
		if err != nil {
			return nil, err
		}
		known[host] = cred
	}
	if c.auth != nil {
		cred, err := credentialOf(c.auth)
		if err != nil {
			return nil, err
		}
		known[c.domain] = cred
	}
	o.Lookup = func(_ context.Context, domain, _ string) (credential.Credential, string, error) {
		return known[domain], "the call", nil
	}
	return registry.New(o)
}

// credentialOf reads Docker's credential. A password may stand in auth, as in config.json.
func credentialOf(a *api.AuthConfig) (credential.Credential, error) {
	c := credential.Credential{Username: a.Username, Password: a.Password, IdentityToken: a.IdentityToken}
	if a.RegistryToken != "" {
		return c, errdef.Errorf(errdef.Unsupported, "credential: a registrytoken is good for one repository and is not taken; send a password or an identitytoken")
	}
	if c.Password == "" && c.IdentityToken == "" && a.Auth != "" {
		data, err := base64.StdEncoding.DecodeString(a.Auth)
		name, password, ok := strings.Cut(string(data), ":")
		if err != nil || !ok {
			return c, errdef.Errorf(errdef.Invalid, "credential: auth is no base64 of NAME:PASSWORD")
		}
		c.Username, c.Password = name, password
	}
	if c.Username == "" && c.Password == "" && c.IdentityToken == "" {
		return credential.Credential{}, nil // as clients say that they have none
	}
	return c, c.Check()
}

func aux(tell option.Tell, a option.Aux) error {
	data, err := json.Marshal(a)
	if err != nil {
		return err
	}
	raw := json.RawMessage(data)
	return tell(jsonstream.Message{Aux: &raw})
}

// progress passes news of the library on in Docker's form. A client that is gone is seen by the context of its call.
func progress(tell option.Tell) func(images.Progress) {
	return func(p images.Progress) {
		m := jsonstream.Message{ID: p.ID, Status: p.Action}
		if p.Total > 0 && p.ID != "" {
			m.Progress = &jsonstream.Progress{Current: p.Current, Total: p.Total}
		}
		_ = tell(m)
	}
}

// Login checks a password with its registry. It is kept nowhere here.
func (s *Service) Login(ctx context.Context, auth api.AuthConfig, o *option.Registry) (option.Login, error) {
	domain := strings.TrimSuffix(auth.ServerAddress, "/")
	if domain != "https://index.docker.io/v1" {
		domain = strings.TrimPrefix(strings.TrimPrefix(domain, "https://"), "http://")
	} else {
		domain = reference.DefaultDomain
	}
	cred, err := credentialOf(&auth)
	if err != nil {
		return option.Login{}, err
	}
	client, err := s.client(caller{registry: o})
	if err != nil {
		return option.Login{}, err
	}
	defer client.Close()
	keep, tried, err := client.Try(ctx, domain, cred)
	if err != nil {
		return option.Login{}, err
	}
	out := option.Login{AuthResponse: api.AuthResponse{Status: "Login Succeeded"}, Tried: tried}
	if keep.IdentityToken != cred.IdentityToken {
		out.IdentityToken = keep.IdentityToken
	}
	return out, nil
}

// Distribution asks a registry what a name stands for, and for which platforms.
func (s *Service) Distribution(ctx context.Context, name string, auth *api.AuthConfig, o *option.Registry) (api.DistributionInspect, error) {
	var out api.DistributionInspect
	ref, err := reference.Parse(name)
	if err != nil {
		return out, err
	}
	client, err := s.client(caller{domain: ref.Domain, auth: auth, registry: o})
	if err != nil {
		return out, err
	}
	defer client.Close()
	desc, data, err := client.Resolve(ctx, ref)
	if err != nil {
		return out, err
	}
	out.Descriptor = desc
	if manifest.KindOf(desc.MediaType) == manifest.Index {
		index, err := manifest.DecodeIndex(data, desc)
		if err != nil {
			return out, err
		}
		for _, m := range index.Manifests {
			if m.Platform != nil && m.Platform.OS != "unknown" {
				out.Platforms = append(out.Platforms, *m.Platform)
			}
		}
		return out, nil
	}
	platform, err := platformOf(ctx, client, ref, desc, data)
	out.Platforms = []ocispec.Platform{platform}
	return out, err
}

// platformOf fetches the configuration of an image that stands alone.
func platformOf(ctx context.Context, client *registry.Client, ref reference.Reference, desc ocispec.Descriptor, data []byte) (ocispec.Platform, error) {
	m, err := manifest.DecodeManifest(data, desc)
	if err == nil {
		err = manifest.CheckImage(m)
	}
	if err != nil {
		return ocispec.Platform{}, err
	}
	if m.Config.Size > manifest.MaxConfig {
		return ocispec.Platform{}, errdef.Errorf(errdef.Invalid, "configuration %s: %d bytes, more than %d", m.Config.Digest, m.Config.Size, manifest.MaxConfig)
	}
	config, err := configuration(ctx, client, ref, m.Config)
	return config.Platform, err
}
