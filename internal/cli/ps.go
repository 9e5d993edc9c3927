package cli

import (
	"context"
	"encoding/json"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/cli/format"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/moby/moby/api/types/container"
	"github.com/spf13/cobra"
)

// containerList is the table of ps; with sizes there is one column more.
func containerList(size bool) format.List {
	l := format.List{
		Columns: []format.Column{
			{Field: "ID", Header: "CONTAINER ID"},
			{Field: "Image", Header: "IMAGE"},
			{Field: "Command", Header: "COMMAND"},
			{Field: "RunningFor", Header: "CREATED"},
			{Field: "Status", Header: "STATUS"},
			{Field: "Ports", Header: "PORTS"},
			{Field: "Names", Header: "NAMES"},
		},
		Extra: []format.Column{
			{Field: "CreatedAt", Header: "CREATED AT"},
			{Field: "State", Header: "STATE"},
			{Field: "Labels", Header: "LABELS"},
			{Field: "Mounts", Header: "MOUNTS"},
			{Field: "LocalVolumes", Header: "LOCAL VOLUMES"},
			{Field: "Networks", Header: "NETWORKS"},
			{Field: "Size", Header: "SIZE"},
		},
	}
	if size {
		l.Columns = append(l.Columns, format.Column{Field: "Size", Header: "SIZE"})
	}
	return l
}

// apiFilters are values of --filter on their way to the engine, which knows which ones there are.
type apiFilters struct {
	values map[string][]string
	order  []string
}

func (f *apiFilters) String() string { return strings.Join(f.order, ",") }
func (f *apiFilters) Type() string   { return "KEY=VALUE" }

func (f *apiFilters) Set(s string) error {
	key, value, ok := strings.Cut(s, "=")
	key = strings.ToLower(strings.TrimSpace(key)) // label!=x is the key label!
	if !ok || key == "" {
		return errdef.WithHint(errdef.Errorf(errdef.Invalid, "wants KEY=VALUE"), "as in name=web, status=running, label=KEY=VALUE")
	}
	if f.values == nil {
		f.values = map[string][]string{}
	}
	f.values[key] = append(f.values[key], strings.TrimSpace(value))
	f.order = append(f.order, s)
	return nil
}

// add puts the filters into the parameters of a request.
func (f *apiFilters) add(q url.Values) error {
	if len(f.values) == 0 {
		return nil
	}
	data, err := json.Marshal(f.values)
	if err != nil {
		return errdef.Errorf(errdef.Internal, "filters: %w", err)
	}
	q.Set("filters", string(data))
	return nil
}

// psFlags are those of ps.
type psFlags struct {
	all, quiet, noTrunc, size, latest bool
	last                              int
	text                              string
	match                             apiFilters
}

// psCommand lists containers.
func psCommand(p *program, use string) *cobra.Command {
	var o psFlags
	c := &cobra.Command{
		Use: use + " [OPTIONS]", Short: "List containers", Args: count(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error { return p.ps(cmd.Context(), &o) },
	}
	f := c.Flags()
	f.BoolVarP(&o.all, "all", "a", false, "those that do not run, too")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "print only ids")
	f.BoolVar(&o.noTrunc, "no-trunc", false, "print whole ids and commands")
	f.BoolVarP(&o.size, "size", "s", false, "show how large their files are")
	f.BoolVarP(&o.latest, "latest", "l", false, "the one that was made last, in whatever state")
	f.IntVarP(&o.last, "last", "n", -1, "the ones that were made last, in whatever state")
	f.StringVar(&o.text, "format", "", "table, json, or a template")
	f.VarP(&o.match, "filter", "f", "only those of which this is true: id=, name=, label=KEY[=VALUE], status=, exited=CODE, ancestor=IMAGE, ...")
	return c
}

func (p *program) ps(ctx context.Context, o *psFlags) error {
	q := url.Values{}
	if o.latest && o.last < 0 {
		o.last = 1
	}
	size := o.size || strings.Contains(o.text, ".Size")
	for key, on := range map[string]bool{"all": o.all, "size": size} {
		if on {
			q.Set(key, "1")
		}
	}
	if o.last >= 0 {
		q.Set("limit", strconv.Itoa(o.last))
	}
	if err := o.match.add(q); err != nil {
		return err
	}
	api, err := p.engine()
	if err != nil {
		return err
	}
	var list []container.Summary
	if err := api.Get(ctx, "/containers/json", q, &list); err != nil {
		return err
	}
	var rows []format.Row
	for i := range list {
		if o.quiet {
			if err := p.print(containerID(list[i].ID, o.noTrunc)); err != nil {
				return err
			}
			continue
		}
		rows = append(rows, containerRow(&list[i], o.noTrunc))
	}
	if o.quiet {
		return nil
	}
	return containerList(o.size).Write(p.stdout(), o.text, rows)
}

// shortID is an id as people see it.
func containerID(id string, whole bool) string {
	id = strings.TrimPrefix(id, "sha256:")
	if whole {
		return id
	}
	return id[:min(12, len(id))]
}

// ellipsis cuts a text for a table.
func ellipsis(s string, most int, whole bool) string {
	if r := []rune(s); !whole && len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return s
}

// containerRow is a container as Docker's command writes it.
func containerRow(c *container.Summary, whole bool) format.Row {
	var names, mounts, networks []string
	local := 0
	for _, n := range c.Names {
		if n = strings.TrimPrefix(n, "/"); !strings.Contains(n, "/") {
			names = append(names, n)
		}
	}
	for _, m := range c.Mounts {
		name := m.Name
		if name == "" {
			name = m.Source
		}
		mounts = append(mounts, ellipsis(name, 15, whole))
		if m.Driver == "local" {
			local++
		}
	}
	if c.NetworkSettings != nil {
		for n := range c.NetworkSettings.Networks {
			networks = append(networks, n)
		}
		slices.Sort(networks)
	}
	image := c.Image
	switch {
	case image == "":
		image = "<no image>"
	case !whole && strings.HasPrefix(image, "sha256:"):
		image = shortID(image, false)
	}
	size := format.Bytes(c.SizeRw)
	if c.SizeRootFs > 0 {
		size += " (virtual " + format.Bytes(c.SizeRootFs) + ")"
	}
	return format.Row{
		"ID": containerID(c.ID, whole), "Image": image, "Command": strconv.Quote(ellipsis(c.Command, 20, whole)), "RunningFor": format.Ago(c.Created), "Status": c.Status,
		"Ports": portsText(c.Ports), "Names": strings.Join(names, ","), "CreatedAt": time.Unix(c.Created, 0).String(), "State": string(c.State),
		"Labels": format.Labels(c.Labels), "Mounts": strings.Join(mounts, ","), "LocalVolumes": strconv.Itoa(local), "Networks": strings.Join(networks, ","), "Size": size,
	}
}

// A portRange are neighbours that are published in the same way.
type portRange struct {
	ip, kind    string
	first, last uint16
}

func (g *portRange) String() string {
	r := strconv.Itoa(int(g.first))
	if g.first != g.last {
		r += "-" + strconv.Itoa(int(g.last))
	}
	if g.ip != "" {
		r = net.JoinHostPort(g.ip, r) + "->" + r
	}
	return r + "/" + g.kind
}

// portsText is Docker's sentence for ports: neighbours are one range.
func portsText(ports []container.PortSummary) string {
	ports = slices.Clone(ports)
	slices.SortStableFunc(ports, func(a, b container.PortSummary) int {
		switch {
		case a.PrivatePort != b.PrivatePort:
			return int(a.PrivatePort) - int(b.PrivatePort)
		case a.IP != b.IP:
			return a.IP.Compare(b.IP)
		case a.PublicPort != b.PublicPort:
			return int(a.PublicPort) - int(b.PublicPort)
		}
		return strings.Compare(a.Type, b.Type)
	})
	var groups []*portRange
	var done, single []string
	for _, port := range ports {
		g := &portRange{kind: port.Type, first: port.PrivatePort, last: port.PrivatePort}
		if port.IP.IsValid() {
			g.ip = port.IP.String()
			if port.PublicPort != port.PrivatePort {
				single = append(single, net.JoinHostPort(g.ip, strconv.Itoa(int(port.PublicPort)))+"->"+strconv.Itoa(int(port.PrivatePort))+"/"+port.Type)
				continue
			}
		}
		at := slices.IndexFunc(groups, func(o *portRange) bool { return o.ip == g.ip && o.kind == g.kind })
		switch {
		case at < 0:
			groups = append(groups, g)
		case groups[at].last+1 == g.first:
			groups[at].last = g.first
		default:
			done = append(done, groups[at].String())
			groups[at] = g
		}
	}
	for _, g := range groups {
		done = append(done, g.String())
	}
	return strings.Join(append(done, single...), ", ")
}
