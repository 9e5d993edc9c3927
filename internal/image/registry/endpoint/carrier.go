package endpoint

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
)

// Bounds on what a server and certs.d may have.
const (
	maxHeader   = 64 << 10 // bytes of an answer's header, with those of all 1xx before it
	maxCertFile = 1 << 20
	maxCerts    = 64 // files in one directory
)

// RoundTripper returns what carries requests to the URL's host, and the context that they must have. from is who chose the URL, nil if the user did.
func (s *Set) RoundTripper(ctx context.Context, from, u *url.URL) (context.Context, http.RoundTripper, error) {
	if u.Scheme == "http" {
		if err := s.CheckPlain(u.Host); err != nil {
			return ctx, nil, err
		}
	}
	if from != nil && !isLocal(from.Host) && from.Host != u.Host {
		if proxy, err := s.options.Proxy(&http.Request{URL: u}); err == nil && proxy == nil { // a proxy may well be on this machine
			ctx = Guarded(ctx)
		}
	}
	t, err := s.carrier(u.Host)
	return ctx, t, err
}

// carrier returns the connections of a host. Those without settings of their own share one pool, so that a registry that sends to a thousand hosts makes
// no thousand pools.
func (s *Set) carrier(host string) (*http.Transport, error) {
	config, own, err := s.tlsConfig(host)
	if err != nil {
		return nil, err
	}
	key := ""
	if own {
		key = host
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.carriers[key]; t != nil {
		return t, nil
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	t := &http.Transport{
		Proxy:                  s.options.Proxy,
		DialContext:            s.dialer.DialContext,
		TLSClientConfig:        config,
		TLSHandshakeTimeout:    s.options.Connect,
		DisableCompression:     true,
		MaxResponseHeaderBytes: maxHeader,
		MaxIdleConnsPerHost:    8,
		MaxIdleConns:           64,
		IdleConnTimeout:        60 * time.Second,
		ReadBufferSize:         64 << 10,
		WriteBufferSize:        64 << 10,
		Protocols:              protocols,
	}
	s.carriers[key] = t
	return t, nil
}

// tlsConfig returns what makes a connection to the host a trusted one, and whether that is its own.
func (s *Set) tlsConfig(host string) (*tls.Config, bool, error) {
	s.mu.Lock()
	known := s.carriers[host]
	s.mu.Unlock()
	if known != nil && host != "" {
		return known.TLSClientConfig, true, nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	own := false
	if s.Named(host) {
		config.InsecureSkipVerify, own = true, true
	}
	names := []string{host}
	if name, port, cut := strings.Cut(host, ":"); cut && port == "443" {
		names = append(names, name)
	} else if !cut {
		names = append(names, host+":443")
	}
	if host == "registry-1.docker.io" {
		names = append(names, "docker.io")
	}
	for _, dir := range s.options.CertDirs {
		for _, name := range names {
			found, err := loadCerts(filepath.Join(dir, name), config)
			if err != nil {
				return nil, false, err
			}
			if found {
				return config, true, nil
			}
		}
	}
	return config, own, nil
}

// loadCerts reads one directory of certs.d, and reports whether there is one.
func loadCerts(dir string, config *tls.Config) (bool, error) {
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case errors.Is(err, fs.ErrPermission):
		return false, errdef.Errorf(errdef.Denied, "certificates: %w", err)
	case err != nil:
		return false, errdef.Errorf(errdef.Internal, "certificates: %w", err)
	case len(entries) > maxCerts:
		return false, errdef.Errorf(errdef.Invalid, "certificates: %s: more than %d files", dir, maxCerts)
	}
	for _, entry := range entries {
		if err := loadCert(filepath.Join(dir, entry.Name()), config); err != nil {
			return false, err
		}
	}
	return true, nil
}

func loadCert(path string, config *tls.Config) error {
	switch filepath.Ext(path) {
	case ".crt":
		pem, err := readCert(path)
		if err != nil {
			return err
		}
		if config.RootCAs == nil {
			if config.RootCAs, err = x509.SystemCertPool(); err != nil {
				config.RootCAs = x509.NewCertPool() // a system without any
			}
		}
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return errdef.WithHint(errdef.Errorf(errdef.Invalid, "certificates: %s: there is no certificate in it", path), "it must be PEM: -----BEGIN CERTIFICATE-----")
		}
	case ".cert":
		pair, err := loadPair(path)
		if err != nil {
			return err
		}
		config.Certificates = append(config.Certificates, pair)
	case ".key":
		if _, err := os.Stat(strings.TrimSuffix(path, ".key") + ".cert"); err != nil {
			return errdef.Errorf(errdef.Invalid, "certificates: %s: there is no .cert of this name beside it", path)
		}
	}
	return nil
}

func loadPair(path string) (tls.Certificate, error) {
	cert, err := readCert(path)
	if err != nil {
		return tls.Certificate{}, err
	}
	keyPath := strings.TrimSuffix(path, ".cert") + ".key"
	key, err := readCert(keyPath)
	if err != nil {
		return tls.Certificate{}, errdef.WithHint(err, "CA certificates end in .crt; "+path+" is that of a client and needs its key")
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return tls.Certificate{}, errdef.Errorf(errdef.Invalid, "certificates: %s and %s: %w", path, keyPath, err)
	}
	return pair, nil
}

func readCert(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		kind := errdef.Invalid
		if errors.Is(err, fs.ErrPermission) {
			kind = errdef.Denied
		}
		return nil, errdef.Errorf(kind, "certificates: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxCertFile+1))
	if err == nil && len(data) > maxCertFile {
		err = errdef.Errorf(errdef.Invalid, "more than %d bytes", maxCertFile)
	}
	if err != nil {
		return nil, errdef.Errorf(errdef.Invalid, "certificates: %s: %w", path, err)
	}
	return data, nil
}
