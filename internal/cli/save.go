package cli

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/image"
	"github.com/spf13/cobra"
)

func saveCommand(p *program) *cobra.Command {
	var (
		path   string
		layout = archiveFormat("both")
	)
	c := &cobra.Command{
		Use: "save [OPTIONS] IMAGE [IMAGE...]", Short: "Write images as an archive", Args: count(1, -1), ValidArgsFunction: p.completeImages,
		Long: "Write images as an archive that is an OCI image layout and has Docker's manifest.json beside, so that `load` of Docker, Podman and others reads it.",
		RunE: func(cmd *cobra.Command, args []string) error {
			if path == "" && p.terminal() {
				return errdef.WithHint(errdef.Errorf(errdef.Invalid, "save: an archive is nothing for a terminal"), "say -o FILE, or redirect")
			}
			s, err := p.images(nil)
			if err != nil {
				return err
			}
			for _, name := range args { // before a file is made
				if _, err := s.Find(name, nil); err != nil {
					return err
				}
			}
			if path == "" {
				return saveTo(cmd.Context(), s, args, p.out)
			}
			return saveFile(cmd.Context(), s, args, path)
		},
	}
	f := c.Flags()
	f.StringVarP(&path, "output", "o", "", "write to a file, instead of standard output")
	f.Var(&layout, "format", "docker-archive or oci-archive: it is always both")
	f.BoolP("multi-image-archive", "m", true, "several images in one archive; it always may hold several")
	f.Lookup("multi-image-archive").Hidden = true
	refuse(f, "platform", "", refusedFlag{reason: "an archive has all platforms that are here", hint: "pull --platform the one that is wanted"})
	return c
}

// archiveFormat is the value of --format of save.
type archiveFormat string

func (f *archiveFormat) String() string { return string(*f) }
func (f *archiveFormat) Type() string   { return "FORMAT" }
func (f *archiveFormat) Set(s string) error {
	if s != "docker-archive" && s != "oci-archive" {
		return errdef.WithHint(errdef.Errorf(errdef.Unsupported, "it is not written"), "docker-archive or oci-archive; tar -x makes the directory of an oci-archive")
	}
	*f = archiveFormat(s)
	return nil
}

func saveTo(ctx context.Context, s *image.Service, names []string, w io.Writer) error {
	b := bufio.NewWriterSize(w, 1<<20)
	if err := s.Save(ctx, names, b); err != nil {
		return err
	}
	if err := b.Flush(); err != nil {
		return errdef.Errorf(errdef.Unavailable, "save: write the archive: %w", err)
	}
	return nil
}

// saveFile writes to a new file that takes the place of the old one when it is whole. What is no regular file (a pipe, a device) is written to.
func saveFile(ctx context.Context, s *image.Service, names []string, path string) error {
	return writeFile("save", path, func(f *os.File) error { return saveTo(ctx, s, names, f) })
}

// writeFile writes a file that is there whole or not at all; a device or a pipe is written as it is.
func writeFile(step, path string, write func(*os.File) error) (err error) {
	if st, err := os.Stat(path); err == nil && !st.Mode().IsRegular() {
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return errdef.Errorf(errdef.Invalid, "%s: %w", step, err)
		}
		return errors.Join(write(f), f.Close())
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-")
	if err != nil {
		return errdef.Errorf(errdef.Invalid, "%s: %w", step, err)
	}
	defer func() {
		if err != nil {
			_ = f.Close()
			_ = os.Remove(f.Name())
		}
	}()
	if err := write(f); err != nil {
		return err
	}
	if err := errors.Join(f.Chmod(0o600), f.Sync(), f.Close()); err != nil {
		return errdef.Errorf(errdef.Unavailable, "%s: %w", step, err)
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return errdef.Errorf(errdef.Invalid, "%s: %w", step, err)
	}
	return nil
}
