// Command distribution is the registry of github.com/distribution/distribution/v3 with what tests need of it: the file system as its store, passwords and
// tokens. The upstream program is larger, because it can keep its blobs in every cloud.
//
//	distribution CONFIG.yml
//
// It is a module of its own, so that the engine's go.mod stays small. It listens where the configuration says; a port of 0 is the kernel's choice, and its output says
// which: `listening on 127.0.0.1:40123`.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/distribution/distribution/v3/configuration"
	_ "github.com/distribution/distribution/v3/registry/auth/htpasswd"
	_ "github.com/distribution/distribution/v3/registry/auth/token"
	"github.com/distribution/distribution/v3/registry/handlers"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/filesystem"
)

func main() {
	if err := serve(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "distribution:", err)
		os.Exit(1)
	}
}

func serve(args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("usage: distribution CONFIG.yml")
	}
	f, err := os.Open(args[0])
	if err != nil {
		return err
	}
	config, err := configuration.Parse(f)
	f.Close()
	if err != nil {
		return err
	}
	app := handlers.NewApp(context.Background(), config)
	listener, err := net.Listen("tcp", config.HTTP.Addr)
	if err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, "listening on", listener.Addr())
	if config.HTTP.TLS.Certificate != "" {
		secure, err := secured(config)
		if err != nil {
			return err
		}
		listener = tls.NewListener(listener, secure)
	}
	server := &http.Server{Handler: app, ReadHeaderTimeout: 10 * time.Second}
	return server.Serve(listener)
}

// secured reads the certificate, and the CAs of clients if these must have one.
func secured(config *configuration.Configuration) (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(config.HTTP.TLS.Certificate, config.HTTP.TLS.Key)
	if err != nil {
		return nil, err
	}
	secure := &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	for _, path := range config.HTTP.TLS.ClientCAs {
		pem, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		if secure.ClientCAs == nil {
			secure.ClientCAs, secure.ClientAuth = x509.NewCertPool(), tls.RequireAndVerifyClientCert
		}
		if !secure.ClientCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s: no certificate in it", path)
		}
	}
	return secure, nil
}
