package cli

import (
	"os"
	"path/filepath"

	"github.com/bulkhead-engine/bulkhead/internal/engine/container"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/image"
	"github.com/opencontainers/go-digest"
)

// engineRun returns where the engine keeps what does not outlive the machine.
func (g *globals) engineRun() (string, error) {
	switch dir := os.Getenv("XDG_RUNTIME_DIR"); {
	case g.runRoot != "":
		abs, err := filepath.Abs(g.runRoot)
		if err != nil {
			return "", errdef.Errorf(errdef.Invalid, "--runroot %q: %w", g.runRoot, err)
		}
		return abs, nil
	case os.Geteuid() == 0:
		return "/run/bulkhead", nil
	case filepath.IsAbs(dir):
		return filepath.Join(dir, "bulkhead"), nil
	}
	return "", errdef.WithHint(errdef.Errorf(errdef.Invalid, "run directory of the engine: there is no XDG_RUNTIME_DIR"), "say --runroot DIR")
}

// containers opens the containers, with the images, which may be nil where only containers are looked at.
func (p *program) containers(images *image.Service) (*container.Service, error) {
	root, err := p.global.engineRoot()
	if err != nil {
		return nil, err
	}
	run, err := p.global.engineRun()
	if err != nil {
		return nil, err
	}
	if os.Geteuid() != 0 {
		err := errdef.Errorf(errdef.Unsupported, "containers of a user without root are not there yet")
		return nil, errdef.WithHint(err, "run it as root; inside, root is nobody anyway")
	}
	return container.Open(container.Options{Root: root, Run: run, Images: images, Warn: func(err error) { p.warn(err.Error()) }})
}

// imagesInUse returns the images that containers have.
func (p *program) imagesInUse() (map[digest.Digest][]string, error) {
	root, err := p.global.engineRoot()
	if err != nil {
		return nil, err
	}
	if _, err := os.Lstat(filepath.Join(root, "containers")); os.IsNotExist(err) {
		return nil, nil
	}
	s, err := p.containers(nil)
	if err != nil {
		return nil, err
	}
	return s.InUse()
}
