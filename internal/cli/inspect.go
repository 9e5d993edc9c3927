package cli

import (
	"context"
	"errors"
	"net/url"

	"github.com/bulkhead-engine/bulkhead/internal/cli/format"
	"github.com/bulkhead-engine/bulkhead/internal/engine/option"
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
			var found []any
			missing := each(cmd.Context(), args, func(name string) error {
				i, err := p.inspectImage(cmd.Context(), name, &platform)
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

// inspectImage asks what is known of an image.
func (p *program) inspectImage(ctx context.Context, name string, platform *platformFlag) (any, error) {
	c, err := p.engine()
	if err != nil {
		return nil, err
	}
	var out option.ImageInspect
	return &out, c.Get(ctx, imagePath(name, "/json"), platform.query(url.Values{}), &out)
}
