package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"slices"

	"github.com/bulkhead-engine/bulkhead/internal/cli/format"
	"github.com/bulkhead-engine/bulkhead/internal/dockerapi/client"
	"github.com/bulkhead-engine/bulkhead/internal/engine/option"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/api/types/volume"
	"github.com/spf13/cobra"
)

// A kind of thing that can be inspected.
type kind struct {
	name  string
	path  func(name string) string
	value func() any // what templates see
}

var kinds = []kind{
	{"container", func(n string) string { return containerPath(n, "json") }, func() any { return new(container.InspectResponse) }},
	{"image", func(n string) string { return imagePath(n, "/json") }, func() any { return new(option.ImageInspect) }},
	{"network", func(n string) string { return "/networks/" + url.PathEscape(n) }, func() any { return new(network.Inspect) }},
	{"volume", func(n string) string { return "/volumes/" + url.PathEscape(n) }, func() any { return new(volume.Volume) }},
}

// inspectFlags are those of inspect.
type inspectFlags struct {
	text, kind string
	size       bool
	platform   platformFlag
}

// inspectCommand shows all that is known of containers, images and volumes; only is the one kind that the command is about.
func inspectCommand(p *program, only string) *cobra.Command {
	o := inspectFlags{kind: only}
	c := &cobra.Command{
		Use: "inspect [OPTIONS] NAME [NAME...]", Short: "Show all that is known of containers, images, networks and volumes", Args: count(1, -1),
		RunE: func(cmd *cobra.Command, args []string) error { return p.inspect(cmd.Context(), &o, args) },
	}
	c.ValidArgsFunction = func(cmd *cobra.Command, args []string, begin string) ([]string, cobra.ShellCompDirective) {
		var names []string
		if only != "image" {
			names, _ = p.completeContainers(nil)(cmd, args, begin)
		}
		if only != "container" {
			more, _ := p.completeImages(cmd, args, begin)
			names = append(names, more...)
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
	f := c.Flags()
	f.StringVarP(&o.text, "format", "f", "", "json, or a template")
	if only != "image" {
		f.BoolVarP(&o.size, "size", "s", false, "show how large the files of containers are")
	}
	if only != "container" {
		f.Var(&o.platform, "platform", "of which platform an image is meant, if there are several (default the host's, else what there is)")
	}
	switch only {
	case "":
		f.StringVar(&o.kind, "type", "", "only a container, image, network or volume of that name")
		p.completeWords(c, "type", "container", "image", "network", "volume")
	case "image":
		c.Use, c.Short = "inspect [OPTIONS] IMAGE [IMAGE...]", "Show all that is known of images"
	default:
		c.Use, c.Short = "inspect [OPTIONS] CONTAINER [CONTAINER...]", "Show all that is known of containers"
	}
	return c
}

func (p *program) inspect(ctx context.Context, o *inspectFlags, names []string) error {
	wanted := kinds
	if o.kind != "" {
		at := slices.IndexFunc(kinds, func(k kind) bool { return k.name == o.kind })
		if at < 0 {
			err := errdef.Errorf(errdef.Invalid, "inspect: --type %.64q: there is no such type", o.kind)
			return errdef.WithHint(err, "container, image, network, volume")
		}
		wanted = kinds[at : at+1]
	}
	if o.text != "" && o.text != "json" {
		if _, err := format.Parse(o.text); err != nil {
			return &statusError{exitTemplate, err}
		}
	}
	api, err := p.engine()
	if err != nil {
		return err
	}
	var found []format.Inspected
	missing := each(ctx, names, func(name string) error {
		i, err := look(ctx, api, wanted, name, o)
		if err == nil {
			found = append(found, i)
		}
		return err
	})
	if err := format.Inspections(p.stdout(), o.text, found); err != nil {
		return errors.Join(missing, err)
	}
	return missing
}

// look asks for something of a name, kind by kind.
func look(ctx context.Context, api *client.Client, wanted []kind, name string, o *inspectFlags) (format.Inspected, error) {
	if name == "" {
		return format.Inspected{}, errdef.Errorf(errdef.Invalid, "inspect: nothing has an empty name")
	}
	var last error
	for _, k := range wanted {
		q := url.Values{}
		switch {
		case k.name == "container" && o.size:
			q.Set("size", "1")
		case k.name == "image":
			q = o.platform.query(q)
		}
		var raw json.RawMessage
		if last = api.Get(ctx, k.path(name), q, &raw); last == nil {
			i := format.Inspected{Raw: raw, Value: k.value()}
			if err := json.NewDecoder(bytes.NewReader(raw)).Decode(i.Value); err != nil {
				return i, errdef.Errorf(errdef.Internal, "inspect %q: %w", name, err)
			}
			return i, nil
		}
		another := errdef.Is(last, errdef.Invalid) && len(wanted) > 1 // a name of one kind may be none of another
		if !errdef.Is(last, errdef.NotFound) && !another {
			return format.Inspected{}, last
		}
	}
	if len(wanted) > 1 {
		last = errdef.Errorf(errdef.NotFound, "no such container, image, network or volume: %q", name)
	}
	return format.Inspected{}, last
}
