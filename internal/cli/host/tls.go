package host

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"os"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
)

// secure returns what dials with TLS. Keys of the caller are shown to the server if there are any.
func (o *Options) secure(name, address string) (func(context.Context) (net.Conn, error), error) {
	c := &tls.Config{ServerName: name, MinVersion: tls.VersionTLS12, InsecureSkipVerify: o.SkipVerify} //nolint:gosec // by name only
	named := func(flag, usual string) string {
		if flag != "" {
			return flag
		}
		return o.file(usual)
	}
	ca, cert, key := named(o.CA, "ca.pem"), named(o.Cert, "cert.pem"), named(o.Key, "key.pem")
	if ca != "" && !o.SkipVerify {
		data, err := os.ReadFile(ca)
		if err != nil {
			return nil, errdef.Errorf(errdef.Invalid, "--tlscacert: %w", err)
		}
		if c.RootCAs = x509.NewCertPool(); !c.RootCAs.AppendCertsFromPEM(data) {
			return nil, errdef.Errorf(errdef.Invalid, "--tlscacert %s: there is no certificate in it", ca)
		}
	}
	switch {
	case cert != "" && key != "":
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return nil, errdef.Errorf(errdef.Invalid, "--tlscert, --tlskey: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	case o.Cert != "":
		return nil, errdef.WithHint(errdef.Errorf(errdef.Invalid, "--tlscert: its key is missing"), "say --tlskey")
	case o.Key != "":
		return nil, errdef.WithHint(errdef.Errorf(errdef.Invalid, "--tlskey: its certificate is missing"), "say --tlscert")
	}
	d := &tls.Dialer{Config: c}
	return func(ctx context.Context) (net.Conn, error) { return d.DialContext(ctx, "tcp", address) }, nil
}
