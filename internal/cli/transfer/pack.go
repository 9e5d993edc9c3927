package transfer

import (
	"archive/tar"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
)

// A Source is what is packed.
type Source struct {
	Path string // of the file or directory
	Name string // of the top in the archive
}

// Pack writes an archive of a file, or of a directory with what is below it. Symbolic links are packed as such.
func Pack(w io.Writer, s Source) error {
	t := tar.NewWriter(w)
	seen := map[[2]uint64]string{}
	err := filepath.WalkDir(s.Path, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(s.Path, p)
		if err != nil {
			return err
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) { // it went meanwhile
			return nil
		}
		if err != nil {
			return err
		}
		return packOne(t, p, path.Join(s.Name, filepath.ToSlash(rel)), info, seen)
	})
	if err == nil {
		err = t.Close()
	}
	if err != nil && errdef.KindOf(err) == errdef.Internal {
		return errdef.Errorf(errdef.Unavailable, "pack %q: %w", s.Path, err)
	}
	return err
}

// packOne writes one entry.
func packOne(t *tar.Writer, p, name string, info fs.FileInfo, seen map[[2]uint64]string) error {
	link := ""
	if info.Mode()&fs.ModeSymlink != 0 {
		var err error
		if link, err = os.Readlink(p); err != nil {
			return err
		}
	}
	if info.Mode()&fs.ModeSocket != 0 { // an archive has no sockets
		return nil
	}
	h, err := tar.FileInfoHeader(info, link)
	if err != nil {
		return err
	}
	if h.Name = name; info.IsDir() {
		h.Name = strings.TrimSuffix(name, "/") + "/"
	}
	h.Uname, h.Gname, h.Format = "", "", tar.FormatPAX // names of this machine mean nothing there
	if st, ok := info.Sys().(*syscall.Stat_t); ok && info.Mode().IsRegular() && st.Nlink > 1 {
		key := [2]uint64{uint64(st.Dev), st.Ino}
		if first, again := seen[key]; again {
			h.Typeflag, h.Linkname, h.Size = tar.TypeLink, first, 0
		} else {
			seen[key] = name
		}
	}
	if h.Typeflag != tar.TypeReg {
		return t.WriteHeader(h)
	}
	f, err := os.OpenFile(p, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := t.WriteHeader(h); err != nil {
		return err
	}
	if _, err := io.CopyN(t, f, h.Size); err != nil { // what grows meanwhile is cut
		if errors.Is(err, io.EOF) {
			return errdef.Errorf(errdef.Conflict, "pack %q: it has become shorter meanwhile", p)
		}
		return err
	}
	return nil
}
