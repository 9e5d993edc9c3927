package cli

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/cli/format"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/moby/moby/api/types/network"
	"github.com/spf13/cobra"
)

// networkCommands are what stands after `network`.
func networkCommands() []entry {
	return []entry{
		{[]string{"connect"}, networkConnectCommand},
		{[]string{"create"}, networkCreateCommand},
		{[]string{"disconnect"}, networkDisconnectCommand},
		{[]string{"exists"}, networkExistsCommand},
		{[]string{"inspect"}, networkInspectCommand},
		{[]string{"ls", "list"}, networkListCommand},
		{[]string{"prune"}, networkPruneCommand},
		{[]string{"rm", "remove"}, networkRemoveCommand},
	}
}

func networkCommand(p *program) *cobra.Command {
	return p.group("network COMMAND", "Manage networks", networkCommands())
}

// inspectNetwork asks what is known of a network.
func (p *program) inspectNetwork(ctx context.Context, name string, into any) error {
	client, err := p.engine()
	if err != nil {
		return err
	}
	return client.Get(ctx, "/networks/"+url.PathEscape(name), nil, into)
}

func networkInspectCommand(p *program) *cobra.Command {
	var text string
	c := &cobra.Command{
		Use: "inspect [OPTIONS] NETWORK [NETWORK...]", Short: "Show all that is known of networks", Args: count(1, -1), ValidArgsFunction: p.completeNetworks,
		RunE: func(cmd *cobra.Command, args []string) error {
			if text != "" && text != "json" {
				if _, err := format.Parse(text); err != nil {
					return &statusError{exitTemplate, err}
				}
			}
			var found []any
			missing := each(cmd.Context(), args, func(name string) error {
				n := &network.Inspect{}
				err := p.inspectNetwork(cmd.Context(), name, n)
				if err == nil {
					found = append(found, n)
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
	f.BoolP("verbose", "v", false, "the same as without: there is no cluster to tell more of")
	f.Lookup("verbose").Hidden = true
	return c
}

// networkExistsCommand is Podman's: its exit status is the answer.
func networkExistsCommand(p *program) *cobra.Command {
	return &cobra.Command{
		Use: "exists [OPTIONS] NETWORK", Short: "End with 0 if there is such a network, else with 1", Args: count(1, 1), ValidArgsFunction: p.completeNetworks,
		RunE: func(cmd *cobra.Command, args []string) error {
			err := p.inspectNetwork(cmd.Context(), args[0], &network.Inspect{})
			if errdef.Is(err, errdef.NotFound) {
				return &statusError{status: exitError}
			}
			return err
		},
	}
}

func (p *program) listNetworks(ctx context.Context, fs *filters) ([]network.Summary, error) {
	client, err := p.engine()
	if err != nil {
		return nil, err
	}
	var list []network.Summary
	err = client.Get(ctx, "/networks", fs.query(url.Values{}), &list)
	slices.SortFunc(list, func(a, b network.Summary) int { return strings.Compare(a.Name, b.Name) })
	return list, err
}

var networkList = format.List{
	Columns: []format.Column{
		{Field: "ID", Header: "NETWORK ID"},
		{Field: "Name", Header: "NAME"},
		{Field: "Driver", Header: "DRIVER"},
		{Field: "Scope", Header: "SCOPE"},
	},
	Extra: []format.Column{
		{Field: "IPv4", Header: "IPV4"},
		{Field: "IPv6", Header: "IPV6"},
		{Field: "Internal", Header: "INTERNAL"},
		{Field: "Labels", Header: "LABELS"},
		{Field: "CreatedAt", Header: "CREATED AT"},
	},
}

// shortNetwork is the id, whole or its first 12 digits.
func shortNetwork(n *network.Summary, whole bool) string {
	if whole {
		return n.ID
	}
	return n.ID[:min(len(n.ID), 12)]
}

func networkRow(n *network.Summary, whole bool) format.Row {
	return format.Row{
		"ID": shortNetwork(n, whole), "Name": n.Name, "Driver": n.Driver, "Scope": n.Scope, "IPv4": strconv.FormatBool(n.EnableIPv4), "IPv6": strconv.FormatBool(n.EnableIPv6),
		"Internal": strconv.FormatBool(n.Internal), "Labels": format.Labels(n.Labels), "CreatedAt": n.Created.Format(time.RFC3339Nano),
	}
}

func networkListCommand(p *program) *cobra.Command {
	var (
		fs           = filters{known: []string{"dangling", "driver", "id", "label", "name", "scope", "type"}}
		quiet, whole bool
		text         string
	)
	c := &cobra.Command{
		Use: "ls [OPTIONS]", Short: "List networks", Args: count(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			list, err := p.listNetworks(cmd.Context(), &fs)
			if err != nil {
				return err
			}
			var rows []format.Row
			for i := range list {
				if quiet {
					if err := p.printOthers(shortNetwork(&list[i], whole)); err != nil {
						return err
					}
				}
				rows = append(rows, networkRow(&list[i], whole))
			}
			if quiet {
				return nil
			}
			return networkList.Write(p.stdout(), text, rows)
		},
	}
	f := c.Flags()
	f.VarP(&fs, "filter", "f", "only networks of which this is true: dangling=BOOL, driver=NAME, id=PART, label=KEY[=VALUE], name=PART, scope=local, type=custom|builtin")
	f.BoolVarP(&quiet, "quiet", "q", false, "print only ids")
	f.BoolVar(&whole, "no-trunc", false, "print whole ids")
	f.StringVar(&text, "format", "", "table, json, or a template")
	return c
}

func networkRemoveCommand(p *program) *cobra.Command {
	var force bool
	c := &cobra.Command{
		Use: "rm [OPTIONS] NETWORK [NETWORK...]", Short: "Remove networks that no running container is connected with", Args: count(1, -1), ValidArgsFunction: p.completeNetworks,
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := p.engine()
			if err != nil {
				return err
			}
			return each(cmd.Context(), args, func(name string) error {
				err := client.Delete(cmd.Context(), "/networks/"+url.PathEscape(name), nil, nil)
				if force && errdef.Is(err, errdef.NotFound) { // as Docker: said, and no error
					p.say(err)
					return nil
				}
				if err != nil {
					return err
				}
				return p.printOthers(name)
			})
		},
	}
	c.Flags().BoolVarP(&force, "force", "f", false, "a network that is not there is no error")
	return c
}

func networkPruneCommand(p *program) *cobra.Command {
	var (
		force bool
		fs    = filters{known: []string{"label", "label!", "until"}}
	)
	c := &cobra.Command{
		Use: "prune [OPTIONS]", Short: "Remove networks that no running container is connected with", Args: count(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !force {
				yes, err := p.confirm(cmd.Context(), "WARNING! This will remove all custom networks not used by at least one container.")
				if err != nil || !yes {
					return err
				}
			}
			return p.pruneNetworks(cmd.Context(), &fs)
		},
	}
	f := c.Flags()
	f.BoolVarP(&force, "force", "f", false, "do not ask")
	f.Var(&fs, "filter", "only networks of which this is true: label=KEY[=VALUE], label!=KEY[=VALUE], until=TIME")
	return c
}

func (p *program) pruneNetworks(ctx context.Context, fs *filters) error {
	client, err := p.engine()
	if err != nil {
		return err
	}
	var r network.PruneReport
	if err := client.Post(ctx, "/networks/prune", fs.query(url.Values{}), nil, &r); err != nil {
		return err
	}
	return p.writeDeleted("Networks", r.NetworksDeleted)
}

// completeNetworks completes names of networks.
func (p *program) completeNetworks(cmd *cobra.Command, args []string, begin string) ([]string, cobra.ShellCompDirective) {
	list, err := p.listNetworks(cmd.Context(), &filters{})
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var out []string
	for i := range list {
		if name := list[i].Name; strings.HasPrefix(name, begin) && !slices.Contains(args, name) {
			out = append(out, name)
		}
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}
