package cli

import (
	"os"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/cli/format"
	"github.com/bulkhead-engine/bulkhead/internal/engine/option"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
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
			c, err := p.engine()
			if err != nil {
				return err
			}
			if all {
				images, err := p.listImages(cmd.Context(), &filters{})
				if err != nil {
					return err
				}
				for i := range images {
					args = append(args, images[i].ID)
				}
			}
			var mounts []option.ImageMount
			if len(args) == 0 && !all {
				if err := c.Get(cmd.Context(), ownImages+"/mounts", nil, &mounts); err != nil {
					return err
				}
			}
			if err := each(cmd.Context(), args, func(name string) error {
				var m option.ImageMount
				err := c.Post(cmd.Context(), ownImages+"/"+escape(name)+"/mount", nil, nil, &m)
				if err == nil {
					mounts = append(mounts, m)
				}
				return mountHint(err)
			}); err != nil {
				return err
			}
			if len(args) == 1 && text == "" && !all {
				return p.print(mounts[0].Target)
			}
			return p.writeMounts(mounts, text)
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
func (p *program) writeMounts(mounts []option.ImageMount, text string) error {
	var rows []format.Row
	for _, m := range mounts {
		name := m.Name
		if name == "" {
			name = shortID(m.ID, false)
		}
		rows = append(rows, format.Row{"Name": name, "ID": m.ID, "Path": m.Target})
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
			c, err := p.engine()
			if err != nil {
				return err
			}
			if all {
				var mounts []option.ImageMount
				if err := c.Get(cmd.Context(), ownImages+"/mounts", nil, &mounts); err != nil {
					return err
				}
				for _, m := range mounts {
					args = append(args, m.ID)
				}
			}
			return each(cmd.Context(), args, func(name string) error {
				var m option.ImageMount
				if err := c.Post(cmd.Context(), ownImages+"/"+escape(name)+"/unmount", nil, nil, &m); err != nil {
					return err
				}
				return p.print(strings.TrimPrefix(m.ID, "sha256:"))
			})
		},
	}
	c.Flags().BoolVarP(&all, "all", "a", false, "take away all")
	c.Flags().BoolVarP(&force, "force", "f", false, "also what is in use: it stays there for who uses it, and is always done so")
	return c
}
