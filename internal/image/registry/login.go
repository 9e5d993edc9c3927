package registry

import (
	"context"
	"io"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/image/credential"
	"github.com/bulkhead-engine/bulkhead/internal/image/reference"
)

// LoginReport is what came of a login.
type LoginReport struct {
	Registry string // as credentials are kept under it
	Where    string // the file or the program that keeps the credential
	Tried    bool   // false: the registry lets everybody look, and has not looked at the credential
	Token    bool   // a token of the registry is kept in place of the password
	Warnings []string
}

// Login reads a password, tries it against the registry and keeps it, or what the registry gives in its place.
func (c *Client) Login(ctx context.Context, domain, username string, password io.Reader) (LoginReport, error) {
	domain, err := registryName(domain)
	if err != nil {
		return LoginReport{}, err
	}
	if c.options.Credentials == nil {
		return LoginReport{}, errdef.Errorf(errdef.Invalid, "login %s: there is no place for credentials", domain)
	}
	cred, err := credential.Read(password, username)
	if err != nil {
		return LoginReport{}, about(err, "login "+domain)
	}
	keep, tried, err := c.auth.Login(ctx, c.set.Registry(domain), cred)
	if err != nil {
		return LoginReport{}, about(err, "login "+domain)
	}
	where, err := c.options.Credentials.Store(ctx, domain, keep)
	if err != nil {
		return LoginReport{}, about(err, "login "+domain)
	}
	c.auth.Forget()
	return LoginReport{Registry: domain, Where: where, Tried: tried, Token: keep.IdentityToken != "", Warnings: c.options.Credentials.Warnings()}, nil
}

// Try tries a credential against a registry and returns what is to be kept: the credential, or what the registry gives in its place. tried is false for a registry
// that lets everybody look, and has not looked at it.
func (c *Client) Try(ctx context.Context, domain string, cred credential.Credential) (keep credential.Credential, tried bool, err error) {
	if domain, err = registryName(domain); err != nil {
		return cred, false, err
	}
	if err = cred.Check(); err == nil {
		keep, tried, err = c.auth.Login(ctx, c.set.Registry(domain), cred)
	}
	return keep, tried, about(err, "login "+domain)
}

// Logout forgets the credential of a registry and returns where it was.
func (c *Client) Logout(ctx context.Context, domain string) ([]string, error) {
	domain, err := registryName(domain)
	if err != nil {
		return nil, err
	}
	if c.options.Credentials == nil {
		return nil, errdef.Errorf(errdef.NotFound, "logout %s: there is no place for credentials", domain)
	}
	c.auth.Forget()
	return c.options.Credentials.Erase(ctx, domain)
}

// registryName wants the name of a registry alone; "" and Docker's address of Docker Hub are docker.io.
func registryName(domain string) (string, error) {
	switch domain {
	case "", "index.docker.io", "registry-1.docker.io", "https://index.docker.io/v1/":
		return reference.DefaultDomain, nil
	}
	ref, err := reference.Parse(domain + "/x")
	if err != nil || ref.Domain != domain {
		return "", errdef.WithHint(errdef.Errorf(errdef.Invalid, "%q is no registry", domain), "give host or host:port, as in the names of images, without https:// and path")
	}
	return domain, nil
}
