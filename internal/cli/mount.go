package cli

import (
	"errors"
	"os"
	"slices"

	"github.com/bulkhead-engine/bulkhead/internal/cli/format"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/image"
	"github.com/spf13/cobra"
)

var mountList = format.List{
	Columns: []format.Column{{Field: "Name", Header: "IMAGE"}, {Field: "Path", Header: "PATH"}},
	Extra:   []format.Column{{Field: "ID", Header: "IMAGE ID"}},
}

func mountCommand(p *program) *cobra.Command {
	var (
		all  bool
		text string
	)
	c := &cobra.Command{
		Use: "mount [OPTIONS] [IMAGE...]", Short: "Show the files of images, read-only, and where", Args: count(0, -1), ValidArgsFunction: p.completeImages,
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := p.images(nil)
			if err != nil {
				return err
			}
			images, err := s.List()
			if err != nil {
				return err
			}
			if all {
				for _, img := range images {
					args = append(args, img.ID.String())
				}
			}
			mounts := s.Mounts()
			if len(args) > 0 || all {
				mounts = nil
				if err := each(cmd.Context(), args, func(name string) error {
					m, err := s.Mount(cmd.Context(), name)
					if err == nil {
						mounts = append(mounts, m)
					}
					return mountHint(err)
				}); err != nil {
					return err
				}
			}
			if len(args) == 1 && text == "" && !all {
				return p.print(mounts[0].Target)
			}
			return p.writeMounts(mounts, images, text)
		},
	}
	c.Flags().BoolVarP(&all, "all", "a", false, "mount all images")
	c.Flags().StringVar(&text, "format", "", "table, json, or a template")
	return c
}

// mountHint tells who may not mount what he can do instead.
func mountHint(err error) error {
	if err == nil || os.Geteuid() == 0 || errdef.Hint(err) != "" {
		return err
	}
	return errdef.WithHint(err, "only root can mount for all to see; `bulkhead save` writes the files of a user's images into an archive")
}

// writeMounts writes what is mounted where.
func (p *program) writeMounts(mounts []image.Mount, images []*image.Image, text string) error {
	var rows []format.Row
	for _, m := range mounts {
		name := shortID(m.Image.String(), false)
		if i := slices.IndexFunc(images, func(img *image.Image) bool { return img.ID == m.Image }); i >= 0 {
			if tags := images[i].RepoTags(); len(tags) > 0 {
				name = tags[0]
			}
		}
		rows = append(rows, format.Row{"Name": name, "ID": m.Image.String(), "Path": m.Target})
	}
	return mountList.Write(p.stdout(), text, rows)
}

func unmountCommand(p *program) *cobra.Command {
	var all, force bool
	c := &cobra.Command{
		Use: "umount [OPTIONS] IMAGE [IMAGE...]", Short: "Take away what mount shows", Args: count(0, -1), ValidArgsFunction: p.completeImages,
		RunE: func(cmd *cobra.Command, args []string) error {
			if !all && len(args) == 0 {
				return errdef.WithHint(errdef.Errorf(errdef.Invalid, "image umount: wants IMAGE"), "or --all")
			}
			s, err := p.images(nil)
			if err != nil {
				return err
			}
			if all {
				for _, m := range s.Mounts() {
					args = append(args, m.Image.String())
				}
			}
			return each(cmd.Context(), args, func(name string) error {
				m, err := s.Unmount(name)
				if err != nil {
					return err
				}
				return errors.Join(p.print(m.Image.Encoded()))
			})
		},
	}
	c.Flags().BoolVarP(&all, "all", "a", false, "take away all")
	c.Flags().BoolVarP(&force, "force", "f", false, "also what is in use: it stays there for who uses it, and is always done so")
	return c
}
