// Package image builds the disk and the kernels of the VM lab from Debian's packages, once, and keeps them.
//
//	img, err := image.Ensure(ctx, image.Options{Log: os.Stderr})
//	kernel, err := img.Kernel("stable")
//
// What is built stands in recipe/: the list of packages, the list of kernels, and a script that finishes the root. A built image is
// a directory whose name is the hash of all of that; it appears by one rename, so that a builder which is killed leaves nothing
// but a directory that the next one removes. The archive's signatures are checked against the keyring that the host has installed.
//
// Building needs root: SELinux labels are extended attributes that an ordinary user may not write, and the host need not have SELinux.
package image

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/atomicfile"
)

//go:embed recipe
var recipe embed.FS

// format is part of the key: raise it when this package makes something else of the same recipe.
const format = "1"

// Options for Ensure.
type Options struct {
	Cache   string    // empty: DefaultCache
	Refresh bool      // build even if there is one: newer packages and kernels
	Log     io.Writer // what is done, a line each
}

// Image is a built one.
type Image struct {
	Disk    string   `json:"-"` // raw ext4
	Kernels []Kernel // the first is the default
	Built   time.Time
}

// Kernel is one of an image's.
type Kernel struct {
	Name    string // stable, newer, oldstable
	Version string // as uname -r says
	Package string // Debian's version
	Suite   string
	Path    string `json:"-"` // ELF vmlinux
}

// Kernel finds a kernel by name; the empty name is the default.
func (i *Image) Kernel(name string) (*Kernel, error) {
	var have []string
	for n := range i.Kernels {
		k := &i.Kernels[n]
		if k.Name == name || name == "" {
			return k, nil
		}
		have = append(have, k.Name)
	}
	return nil, fmt.Errorf("the image has no kernel %q (it has %s)", name, strings.Join(have, ", "))
}

// DefaultCache is $BULKHEAD_VM_CACHE, or bulkhead/vm in the user's cache directory.
func DefaultCache() (string, error) {
	if dir := os.Getenv("BULKHEAD_VM_CACHE"); dir != "" {
		return filepath.Abs(dir)
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		if os.Geteuid() != 0 {
			return "", fmt.Errorf("directory of the image: %w (set BULKHEAD_VM_CACHE)", err)
		}
		dir = "/root/.cache" // a service of root's has no HOME
	}
	return filepath.Join(dir, "bulkhead", "vm"), nil
}

// Ensure returns the image of this recipe, and builds it if there is none. Others that ask at the same time wait for the first.
func Ensure(ctx context.Context, o Options) (*Image, error) {
	cache := o.Cache
	if cache == "" {
		var err error
		if cache, err = DefaultCache(); err != nil {
			return nil, err
		}
	}
	key, err := Key()
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(cache, key)
	if img, err := load(dir); err == nil && !o.Refresh {
		return img, nil
	}
	if os.Geteuid() != 0 {
		return nil, errors.New("build the image: needs root, once (sudo make vm-image BULKHEAD_VM_CACHE=" + cache + ")")
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return nil, err
	}
	unlock, err := lock(ctx, cache)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if img, err := load(dir); err == nil && !o.Refresh { // another one was faster
		return img, nil
	}
	if err := build(ctx, cache, dir, o.Log); err != nil {
		return nil, fmt.Errorf("build the image: %w", err)
	}
	return load(dir)
}

// Key is the hash of the recipe.
func Key() (string, error) {
	h := sha256.New()
	fmt.Fprintln(h, format)
	err := fs.WalkDir(recipe, "recipe", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := recipe.ReadFile(path)
		fmt.Fprintf(h, "%s %d\n%s", path, len(data), data)
		return err
	})
	return hex.EncodeToString(h.Sum(nil))[:16], err
}

// lock makes builders take turns. The kernel releases it with the process.
func lock(ctx context.Context, cache string) (func(), error) {
	f, err := os.OpenFile(filepath.Join(cache, "lock"), os.O_RDWR|os.O_CREATE|syscall.O_CLOEXEC, 0o644)
	if err != nil {
		return nil, err
	}
	if err := atomicfile.Flock(ctx, int(f.Fd()), atomicfile.Exclusive); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("wait for another builder: %w", err)
	}
	return func() { _ = f.Close() }, nil
}

func load(dir string) (*Image, error) {
	data, err := os.ReadFile(filepath.Join(dir, "image.json"))
	if err != nil {
		return nil, err
	}
	img := &Image{Disk: filepath.Join(dir, "root.img")}
	if err := json.Unmarshal(data, img); err != nil {
		return nil, err
	}
	for n := range img.Kernels {
		img.Kernels[n].Path = filepath.Join(dir, "vmlinux-"+img.Kernels[n].Name)
	}
	return img, nil
}
