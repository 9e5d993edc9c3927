package bundle

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/ocijson"
)

// ConfigName is the name of the configuration in a bundle.
const ConfigName = "config.json"

// MaxConfigSize is how many bytes a config.json or process.json may have. Real ones have 5 to 50 KiB, most of it the seccomp
// filter; the kernel takes at most 6 MiB of arguments and environment (execve(2), three quarters of 8 MiB), which JSON may inflate.
const MaxConfigSize = 16 << 20

// Bundle is a bundle whose configuration is valid.
type Bundle struct {
	Dir      string // absolute
	Spec     *specs.Spec
	Rootfs   string   // the root directory, absolute: root.path, resolved against Dir
	Config   []byte   // config.json as it was read
	Warnings []string // what is odd and was accepted, a sentence each
}

// Load reads and checks the bundle in directory dir.
func Load(dir string) (*Bundle, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("bundle %q: %w", dir, err)
	}
	data, err := readFile(filepath.Join(abs, ConfigName), MaxConfigSize, false)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = errdef.WithHint(errdef.WithKind(errdef.NotFound, err),
				"a bundle is a directory with a "+ConfigName+"; `bulkhead-runtime spec` writes one")
		}
		return nil, err
	}
	spec, warnings, err := parse(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", ConfigName, err)
	}
	b := &Bundle{Dir: abs, Spec: spec, Config: data, Warnings: warnings}
	if b.Rootfs, err = rootDir(abs, spec.Root.Path); err != nil {
		return nil, fmt.Errorf("%s: %w", ConfigName, err)
	}
	if err := checkHostNetwork(spec.Linux); err != nil {
		return nil, fmt.Errorf("%s: %w", ConfigName, err)
	}
	return b, nil
}

// parse decodes and checks a config.json.
func parse(data []byte) (*specs.Spec, []string, error) {
	spec := new(specs.Spec)
	if err := ocijson.UnmarshalSpec(data, spec); err != nil {
		return nil, nil, err
	}
	c := check(spec)
	if c.err != nil {
		return nil, nil, c.err
	}
	return spec, c.warnings, nil
}

// LoadProcess reads and checks the process that `exec --process` names, as [ReadInput] does. It does not know the container: what depends on it (that the
// user is mapped) is checked when it joins.
func LoadProcess(path string) (*specs.Process, error) {
	data, err := ReadInput(path, MaxConfigSize)
	if err != nil {
		return nil, err
	}
	p := new(specs.Process)
	if err := ocijson.UnmarshalProcess(data, p); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Base(path), err)
	}
	if err := ValidateProcess(p); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Base(path), err)
	}
	return p, nil
}

// rootDir returns the root directory as an absolute path.
func rootDir(dir, path string) (string, error) {
	if !filepath.IsAbs(path) {
		path = filepath.Join(dir, path)
	}
	path = filepath.Clean(path)
	st, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", invalid("root.path", "unpack the image there, or name the directory that it is in", "%q does not exist", path)
	case err != nil:
		return "", fmt.Errorf("root.path: %w", err)
	case st.Mode()&fs.ModeSymlink != 0:
		return "", invalid("root.path", "name the directory that the link leads to", "%q is a symbolic link", path)
	case !st.IsDir():
		return "", invalid("root.path", "name the directory with the root file system", "%q is not a directory", path)
	}
	return path, nil
}

// checkHostNetwork refuses sysctls of a network namespace that is joined and turns out to be the caller's own: they would change the host.
func checkHostNetwork(l *specs.Linux) error {
	if l == nil {
		return nil
	}
	var path string
	for _, ns := range l.Namespaces {
		if ns.Type == specs.NetworkNamespace {
			path = ns.Path
		}
	}
	if path == "" {
		return nil
	}
	for key := range l.Sysctl {
		if !strings.HasPrefix(SysctlName(key), "net.") {
			continue
		}
		joined, err := os.Stat(path)
		if err != nil {
			return fmt.Errorf("linux.namespaces: %w", err)
		}
		own, err := os.Stat("/proc/self/ns/net")
		if err != nil {
			return fmt.Errorf("linux.namespaces: %w", err)
		}
		if os.SameFile(joined, own) {
			return invalid(fieldKey("linux.sysctl", key), "drop it, or give the container a network namespace of its own",
				"the container shares the host's network namespace, whose settings it may not change")
		}
		return nil
	}
	return nil
}
