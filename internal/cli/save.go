package cli

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"

	"github.com/bulkhead-engine/bulkhead/internal/dockerapi/client"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
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
			return p.download(cmd.Context(), "save", path, client.Request{Method: http.MethodGet, Path: "/images/get", Query: url.Values{"names": args}})
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

// download writes an archive that the engine sends to a file, "": standard output. There is no file before the engine has found what it is asked for, and it takes the
// place of an old one when it is whole. What is no regular file (a pipe, a device) is written to.
func (p *program) download(ctx context.Context, step, path string, q client.Request) error {
	c, err := p.engine()
	if err != nil {
		return err
	}
	if path == "" {
		return c.Download(ctx, q, func() (io.Writer, error) { return p.out, nil })
	}
	var f *newFile
	err = c.Download(ctx, q, func() (io.Writer, error) {
		var err error
		f, err = create(step, path)
		return f, err
	})
	if f == nil {
		return err
	}
	return f.end(err)
}

// writeFile writes a file that is there whole or not at all; a device or a pipe is written as it is.
func writeFile(step, path string, write func(*os.File) error) error {
	f, err := create(step, path)
	if err != nil {
		return err
	}
	return f.end(write(f.File))
}

// A newFile is one that takes the place of another when it is whole.
type newFile struct {
	*os.File
	step, path string // path "": a device or a pipe, which is written as it is
}

func create(step, path string) (*newFile, error) {
	if st, err := os.Stat(path); err == nil && !st.Mode().IsRegular() {
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return nil, errdef.Errorf(errdef.Invalid, "%s: %w", step, err)
		}
		return &newFile{f, step, ""}, nil
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-")
	if err != nil {
		return nil, errdef.Errorf(errdef.Invalid, "%s: %w", step, err)
	}
	return &newFile{f, step, path}, nil
}

// end puts the file in its place, if all went well, and takes it away else.
func (f *newFile) end(err error) error {
	if f.path == "" {
		return errors.Join(err, f.Close())
	}
	if err == nil {
		if err = errors.Join(f.Chmod(0o600), f.Sync(), f.Close()); err != nil {
			err = errdef.Errorf(errdef.Unavailable, "%s: %w", f.step, err)
		}
	}
	if err == nil {
		if err = os.Rename(f.Name(), f.path); err == nil {
			return nil
		}
		err = errdef.Errorf(errdef.Invalid, "%s: %w", f.step, err)
	}
	_ = f.Close()
	_ = os.Remove(f.Name())
	return err
}
