package cli

import (
	"errors"

	"github.com/bulkhead-engine/bulkhead/internal/cli/format"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/spf13/cobra"
)

// inspectCommand is `image inspect`, and `inspect`, which knows of images only until there are containers.
func inspectCommand(p *program, anything bool) *cobra.Command {
	var (
		text     string
		kind     string
		platform platformFlag
	)
	c := &cobra.Command{
		Use: "inspect [OPTIONS] IMAGE [IMAGE...]", Short: "Show all that is known of images", Args: count(1, -1), ValidArgsFunction: p.completeImages,
		RunE: func(cmd *cobra.Command, args []string) error {
			if kind != "" && kind != "image" {
				err := errdef.Errorf(errdef.Unsupported, "inspect: --type %s: there are only images yet", kind)
				return errdef.WithHint(err, "--type image")
			}
			if text != "" && text != "json" {
				if _, err := format.Parse(text); err != nil {
					return &statusError{exitTemplate, err}
				}
			}
			s, err := p.images(nil)
			if err != nil {
				return err
			}
			var found []any
			missing := each(cmd.Context(), args, func(name string) error {
				i, err := inspectImage(s, name, platform.p)
				if err == nil {
					found = append(found, i)
				}
				return err
			})
			if err := format.Values(p.stdout(), text, found); err != nil {
				return errors.Join(missing, err)
			}
			return missing
		},
	}
	f := c.Flags()
	f.StringVarP(&text, "format", "f", "", "json, or a template")
	f.Var(&platform, "platform", "of which platform, if there are several (default the host's, else what there is)")
	if anything {
		f.StringVar(&kind, "type", "", "image")
		refuse(f, "size", "s", refusedFlag{reason: "it is about containers, and there are only images yet", hint: "leave it away; the size of an image is always told", boolean: true})
	}
	return c
}
