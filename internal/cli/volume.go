package cli

import (
	"errors"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/cli/format"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/moby/moby/api/types/volume"
	"github.com/spf13/cobra"
)

// volumeCommands are what stands after `volume`.
func volumeCommands() []entry {
	return []entry{
		{[]string{"create"}, volumeCreateCommand},
		{[]string{"exists"}, volumeExistsCommand},
		{[]string{"inspect"}, volumeInspectCommand},
		{[]string{"ls", "list"}, volumeListCommand},
		{[]string{"prune"}, volumePruneCommand},
		{[]string{"rm", "remove"}, volumeRemoveCommand},
	}
}

func volumeCommand(p *program) *cobra.Command {
	return p.group("volume COMMAND", "Manage volumes", volumeCommands())
}

// pairs reads KEY=VALUE, or KEY alone.
func pairs(list []string) map[string]string {
	out := map[string]string{}
	for _, kv := range list {
		key, value, _ := strings.Cut(kv, "=")
		out[key] = value
	}
	return out
}

func volumeCreateCommand(p *program) *cobra.Command {
	var (
		o             volume.CreateRequest
		labels, words []string
	)
	c := &cobra.Command{
		Use: "create [OPTIONS] [VOLUME]", Short: "Make a volume", Args: count(0, 1),
		Long: "Make a volume: a directory that outlives containers. With -o type=none -o o=bind -o device=/PATH it is a directory of the host, with -o type=tmpfs one in memory.",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				if o.Name != "" {
					return errdef.Errorf(errdef.Invalid, "conflicting options: cannot specify a volume-name through both --name and as a positional arg")
				}
				o.Name = args[0]
			}
			o.Labels, o.DriverOpts = pairs(labels), pairs(words)
			client, err := p.engine()
			if err != nil {
				return err
			}
			var v volume.Volume
			if err := client.Post(cmd.Context(), "/volumes/create", nil, &o, &v); err != nil {
				return err
			}
			return p.printOthers(v.Name)
		},
	}
	f := c.Flags()
	f.StringVarP(&o.Driver, "driver", "d", "local", "the driver: local")
	f.StringArrayVar(&labels, "label", nil, "KEY[=VALUE] that is kept with it")
	f.StringArrayVarP(&words, "opt", "o", nil, "KEY=VALUE for the driver: type, o, device")
	f.StringVar(&o.Name, "name", "", "the same as the argument")
	f.Lookup("name").Hidden = true
	f.Bool("ignore", false, "the same as without: a volume that is there with these options is no error anyway")
	f.Lookup("ignore").Hidden = true
	for _, name := range []string{"availability", "group", "limit-bytes", "required-bytes", "scope", "secret", "sharing", "topology-preferred", "topology-required", "type"} {
		refuse(f, name, "", refusedFlag{reason: "it is for volumes of a cluster, and there is none", hint: "leave it away"})
	}
	return c
}

// inspectVolume asks what is known of a volume.
func (p *program) inspectVolume(cmd *cobra.Command, name string) (any, error) {
	client, err := p.engine()
	if err != nil {
		return nil, err
	}
	var v volume.Volume
	return &v, client.Get(cmd.Context(), "/volumes/"+url.PathEscape(name), nil, &v)
}

func volumeInspectCommand(p *program) *cobra.Command {
	var text string
	c := &cobra.Command{
		Use: "inspect [OPTIONS] VOLUME [VOLUME...]", Short: "Show all that is known of volumes", Args: count(1, -1), ValidArgsFunction: p.completeVolumes,
		RunE: func(cmd *cobra.Command, args []string) error {
			if text != "" && text != "json" {
				if _, err := format.Parse(text); err != nil {
					return &statusError{exitTemplate, err}
				}
			}
			var found []any
			missing := each(cmd.Context(), args, func(name string) error {
				v, err := p.inspectVolume(cmd, name)
				if err == nil {
					found = append(found, v)
				}
				return err
			})
			if err := format.Values(p.stdout(), text, found); err != nil {
				return errors.Join(missing, err)
			}
			return missing
		},
	}
	c.Flags().StringVarP(&text, "format", "f", "", "json, or a template")
	return c
}

// volumeExistsCommand is Podman's: its exit status is the answer.
func volumeExistsCommand(p *program) *cobra.Command {
	return &cobra.Command{
		Use: "exists [OPTIONS] VOLUME", Short: "End with 0 if there is such a volume, else with 1", Args: count(1, 1), ValidArgsFunction: p.completeVolumes,
		RunE: func(cmd *cobra.Command, args []string) error {
			_, err := p.inspectVolume(cmd, args[0])
			if errdef.Is(err, errdef.NotFound) {
				return &statusError{status: exitError}
			}
			return err
		},
	}
}

var volumeList = format.List{
	Columns: []format.Column{{Field: "Driver", Header: "DRIVER"}, {Field: "Name", Header: "VOLUME NAME"}},
	Extra: []format.Column{
		{Field: "Scope", Header: "SCOPE"},
		{Field: "Mountpoint", Header: "MOUNTPOINT"},
		{Field: "Labels", Header: "LABELS"},
		{Field: "Links", Header: "LINKS"},
		{Field: "Size", Header: "SIZE"},
		{Field: "CreatedAt", Header: "CREATED AT"},
	},
}

func volumeListCommand(p *program) *cobra.Command {
	var (
		fs    = filters{known: []string{"dangling", "driver", "label", "name"}}
		quiet bool
		text  string
	)
	c := &cobra.Command{
		Use: "ls [OPTIONS]", Short: "List volumes", Args: count(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := p.engine()
			if err != nil {
				return err
			}
			var list volume.ListResponse
			if err := client.Get(cmd.Context(), "/volumes", fs.query(url.Values{}), &list); err != nil {
				return err
			}
			for _, w := range list.Warnings {
				p.warn(w)
			}
			slices.SortFunc(list.Volumes, func(a, b volume.Volume) int { return strings.Compare(a.Name, b.Name) })
			var rows []format.Row
			for i := range list.Volumes {
				if quiet {
					if err := p.printOthers(list.Volumes[i].Name); err != nil {
						return err
					}
				}
				rows = append(rows, volumeRow(&list.Volumes[i]))
			}
			if quiet {
				return nil
			}
			return volumeList.Write(p.stdout(), text, rows)
		},
	}
	f := c.Flags()
	f.VarP(&fs, "filter", "f", "only volumes of which this is true: dangling=BOOL, driver=NAME, label=KEY[=VALUE], name=PART")
	f.BoolVarP(&quiet, "quiet", "q", false, "print only names")
	f.StringVar(&text, "format", "", "table, json, or a template")
	refuse(f, "cluster", "", refusedFlag{reason: "there is no cluster", hint: "leave it away", boolean: true})
	return c
}

func volumeRow(v *volume.Volume) format.Row {
	var labels []string
	for k, value := range v.Labels {
		labels = append(labels, k+"="+value)
	}
	slices.Sort(labels)
	r := format.Row{
		"Name": v.Name, "Driver": v.Driver, "Scope": v.Scope, "Mountpoint": v.Mountpoint, "Labels": strings.Join(labels, ","), "Links": "N/A", "Size": "N/A",
		"CreatedAt": v.CreatedAt,
	}
	if u := v.UsageData; u != nil {
		r["Links"] = strconv.FormatInt(u.RefCount, 10)
		if u.Size >= 0 {
			r["Size"] = format.Bytes(u.Size)
		}
	}
	return r
}

func volumeRemoveCommand(p *program) *cobra.Command {
	var force, all bool
	c := &cobra.Command{
		Use: "rm [OPTIONS] VOLUME [VOLUME...]", Short: "Remove volumes that no container has", Args: count(0, -1), ValidArgsFunction: p.completeVolumes,
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := p.engine()
			if err != nil {
				return err
			}
			if all {
				var list volume.ListResponse
				if err := client.Get(cmd.Context(), "/volumes", nil, &list); err != nil {
					return err
				}
				for i := range list.Volumes {
					args = append(args, list.Volumes[i].Name)
				}
			} else if len(args) == 0 {
				return errdef.WithHint(errdef.Errorf(errdef.Invalid, "volume rm: wants VOLUME [VOLUME...]"), "or --all")
			}
			q := url.Values{}
			if force {
				q.Set("force", "1")
			}
			return each(cmd.Context(), args, func(name string) error {
				if err := client.Delete(cmd.Context(), "/volumes/"+url.PathEscape(name), q, nil); err != nil {
					return err
				}
				return p.printOthers(name)
			})
		},
	}
	f := c.Flags()
	f.BoolVarP(&force, "force", "f", false, "a volume that is not there is no error")
	f.BoolVarP(&all, "all", "a", false, "every volume that no container has")
	return c
}

func volumePruneCommand(p *program) *cobra.Command {
	var (
		force, all bool
		fs         = filters{known: []string{"label", "label!", "all"}}
	)
	c := &cobra.Command{
		Use: "prune [OPTIONS]", Short: "Remove volumes that no container has", Args: count(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			question := "WARNING! This will remove anonymous local volumes not used by at least one container."
			if all {
				question = "WARNING! This will remove all local volumes not used by at least one container."
				fs.add("all", "true")
			}
			if !force {
				yes, err := p.confirm(cmd.Context(), question)
				if err != nil || !yes {
					return err
				}
			}
			client, err := p.engine()
			if err != nil {
				return err
			}
			var r volume.PruneReport
			if err := client.Post(cmd.Context(), "/volumes/prune", fs.query(url.Values{}), nil, &r); err != nil {
				return err
			}
			return p.writePrunedList("Volumes", r.VolumesDeleted, r.SpaceReclaimed)
		},
	}
	f := c.Flags()
	f.BoolVarP(&all, "all", "a", false, "those with a name, too")
	f.BoolVarP(&force, "force", "f", false, "do not ask")
	f.Var(&fs, "filter", "only volumes of which this is true: label=KEY[=VALUE], label!=KEY[=VALUE]")
	return c
}

// writePrunedList writes what a prune took.
func (p *program) writePrunedList(what string, deleted []string, bytes uint64) error {
	if err := p.writeDeleted(what, deleted); err != nil {
		return err
	}
	return p.print("Total reclaimed space: " + format.Bytes(int64(bytes)))
}

// completeVolumes completes names of volumes.
func (p *program) completeVolumes(cmd *cobra.Command, args []string, begin string) ([]string, cobra.ShellCompDirective) {
	client, err := p.engine()
	var list volume.ListResponse
	if err == nil {
		err = client.Get(cmd.Context(), "/volumes", nil, &list)
	}
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var out []string
	for i := range list.Volumes {
		if name := list.Volumes[i].Name; strings.HasPrefix(name, begin) && !slices.Contains(args, name) {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out, cobra.ShellCompDirectiveNoFileComp
}
