package host

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
)

// maxMeta bounds a context's file, in bytes.
const maxMeta = 1 << 20

// meta is meta.json of a context.
type meta struct {
	Name      string
	Endpoints map[string]struct {
		Host          string
		SkipTLSVerify bool
	}
}

func readMeta(path string) (*meta, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var m meta
	if err := json.NewDecoder(io.LimitReader(f, maxMeta)).Decode(&m); err != nil {
		return nil, err
	}
	return &m, nil
}

// readContext takes address and keys from the context.
func (o *Options) readContext() error {
	if o.Config == "" {
		return errdef.Errorf(errdef.NotFound, "--context %.128q: there is no configuration directory", o.Context)
	}
	sum := sha256.Sum256([]byte(o.Context))
	id := hex.EncodeToString(sum[:])
	m, err := readMeta(filepath.Join(o.Config, "contexts", "meta", id, "meta.json"))
	switch {
	case os.IsNotExist(err):
		err := errdef.Errorf(errdef.NotFound, "--context %.128q: there is no such context", o.Context)
		if names := Contexts(o.Config); len(names) > 0 {
			return errdef.WithHint(err, "there are "+strings.Join(names, ", "))
		}
		return errdef.WithHint(err, "docker context create makes them below "+filepath.Join(o.Config, "contexts"))
	case err != nil:
		return errdef.Errorf(errdef.Invalid, "--context %.128q: %w", o.Context, err)
	}
	e, ok := m.Endpoints["docker"]
	if !ok || e.Host == "" {
		return errdef.Errorf(errdef.Invalid, "--context %.128q: it names no engine", o.Context)
	}
	o.Host = e.Host
	keys := filepath.Join(o.Config, "contexts", "tls", id, "docker")
	if _, err := os.Stat(keys); err == nil {
		o.TLS, o.SkipVerify, o.Config = true, o.SkipVerify || e.SkipTLSVerify, keys
	}
	return nil
}

// Contexts are the names there are.
func Contexts(config string) []string {
	files, _ := filepath.Glob(filepath.Join(config, "contexts", "meta", "*", "meta.json"))
	var out []string
	for _, f := range files {
		if m, err := readMeta(f); err == nil && m.Name != "" {
			out = append(out, m.Name)
		}
	}
	slices.Sort(out)
	return out
}
