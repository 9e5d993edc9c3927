package cli

import (
	"context"
	"net/url"
	"strconv"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/cli/format"
	"github.com/bulkhead-engine/bulkhead/internal/engine/option"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/image"
	"github.com/moby/moby/api/types/system"
	"github.com/moby/moby/api/types/volume"
	"github.com/spf13/cobra"
)

// systemCommands are what stands after `system`.
func systemCommands() []entry {
	return []entry{
		{[]string{"check"}, systemCheckCommand},
		{[]string{"df"}, systemUsageCommand},
		{[]string{"dial-stdio"}, dialStdioCommand},
		{[]string{"events"}, eventsCommand},
		{[]string{"info"}, infoCommand},
		{[]string{"prune"}, systemPruneCommand},
	}
}

func systemCommand(p *program) *cobra.Command {
	return p.group("system COMMAND", "Manage the engine as a whole", systemCommands())
}

var usageList = format.List{
	Columns: []format.Column{
		{Field: "Type", Header: "TYPE"},
		{Field: "TotalCount", Header: "TOTAL"},
		{Field: "Active", Header: "ACTIVE"},
		{Field: "Size", Header: "SIZE"},
		{Field: "Reclaimable", Header: "RECLAIMABLE"},
	},
}

func systemUsageCommand(p *program) *cobra.Command {
	var (
		verbose bool
		text    string
	)
	c := &cobra.Command{
		Use: "df [OPTIONS]", Short: "Show what the disk is used for", Args: count(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if verbose && text != "" && text != "json" {
				return errdef.WithHint(errdef.Errorf(errdef.Invalid, "system df: a template is not for --verbose"), "--format json, or leave --verbose away")
			}
			client, err := p.engine()
			if err != nil {
				return err
			}
			var u system.DiskUsage
			if err := client.Get(cmd.Context(), "/system/df", url.Values{"verbose": {"1"}}, &u); err != nil {
				return err
			}
			if !verbose {
				return usageList.Write(p.stdout(), text, usageRows(&u))
			}
			if text == "json" {
				return format.Values(p.stdout(), text, []any{u})
			}
			return p.writeUsage(&u)
		},
	}
	c.Flags().BoolVarP(&verbose, "verbose", "v", false, "every image, container and volume")
	c.Flags().StringVar(&text, "format", "", "table, json, or a template")
	return c
}

func usageRows(u *system.DiskUsage) []format.Row {
	row := func(kind string, total, active, size, reclaimable int64) format.Row {
		text := format.Bytes(reclaimable)
		if size > 0 {
			text += " (" + strconv.FormatInt(reclaimable*100/size, 10) + "%)"
		}
		return format.Row{
			"Type": kind, "TotalCount": strconv.FormatInt(total, 10), "Active": strconv.FormatInt(active, 10), "Size": format.Bytes(size), "Reclaimable": text,
		}
	}
	i, c, v := u.ImageUsage, u.ContainerUsage, u.VolumeUsage
	if i == nil {
		i = &image.DiskUsage{}
	}
	if c == nil {
		c = &container.DiskUsage{}
	}
	if v == nil {
		v = &volume.DiskUsage{}
	}
	return []format.Row{
		row("Images", i.TotalCount, i.ActiveCount, i.TotalSize, i.Reclaimable),
		row("Containers", c.TotalCount, c.ActiveCount, c.TotalSize, c.Reclaimable),
		row("Local Volumes", v.TotalCount, v.ActiveCount, v.TotalSize, v.Reclaimable),
	}
}

// writeUsage writes every object and its size.
func (p *program) writeUsage(u *system.DiskUsage) error {
	var images, containers, volumes []format.Row
	if u.ImageUsage != nil {
		for i := range u.ImageUsage.Items {
			s := &u.ImageUsage.Items[i]
			for _, r := range summaryRows(s, &listFlags{}) {
				r["SharedSize"], r["UniqueSize"] = format.Bytes(max(s.SharedSize, 0)), format.Bytes(s.Size-max(s.SharedSize, 0))
				r["Containers"] = strconv.FormatInt(s.Containers, 10)
				images = append(images, r)
			}
		}
	}
	if u.ContainerUsage != nil {
		for i := range u.ContainerUsage.Items {
			c := &u.ContainerUsage.Items[i]
			containers = append(containers, format.Row{
				"ID": c.ID[:min(12, len(c.ID))], "Image": c.Image, "Command": strconv.Quote(c.Command), "Mounts": strconv.Itoa(len(c.Mounts)), "Size": format.Bytes(c.SizeRw),
				"Created": format.Ago(c.Created), "Status": c.Status, "Names": strings.TrimPrefix(strings.Join(c.Names, ","), "/"),
			})
		}
	}
	if u.VolumeUsage != nil {
		for i := range u.VolumeUsage.Items {
			volumes = append(volumes, volumeRow(&u.VolumeUsage.Items[i]))
		}
	}
	for _, part := range []struct {
		title  string
		fields string
		rows   []format.Row
	}{
		{"Images space usage:\n", "Repository=REPOSITORY Tag=TAG ID=IMAGE_ID CreatedSince=CREATED Size=SIZE SharedSize=SHARED_SIZE UniqueSize=UNIQUE_SIZE Containers=CONTAINERS", images},
		{"\nContainers space usage:\n", "ID=CONTAINER_ID Image=IMAGE Command=COMMAND Mounts=LOCAL_VOLUMES Size=SIZE Created=CREATED Status=STATUS Names=NAMES", containers},
		{"\nLocal Volumes space usage:\n", "Name=VOLUME_NAME Links=LINKS Size=SIZE", volumes},
	} {
		if err := p.print(part.title); err != nil {
			return err
		}
		var l format.List
		for _, f := range strings.Fields(part.fields) {
			field, header, _ := strings.Cut(f, "=")
			l.Columns = append(l.Columns, format.Column{Field: field, Header: strings.ReplaceAll(header, "_", " ")})
		}
		if err := l.Write(p.stdout(), "", part.rows); err != nil {
			return err
		}
	}
	return nil
}

// systemPruning is what system prune takes.
type systemPruning struct {
	all, force, volumes bool
	filters             filters
}

func systemPruneCommand(p *program) *cobra.Command {
	o := systemPruning{filters: filters{known: []string{"until", "label", "label!"}}}
	c := &cobra.Command{
		Use: "prune [OPTIONS]", Short: "Remove what nobody uses", Args: count(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.volumes && len(o.filters.values["until"]) > 0 {
				return errdef.Errorf(errdef.Invalid, "ERROR: The \"until\" filter is not supported with \"--volumes\"")
			}
			if !o.force {
				yes, err := p.confirm(cmd.Context(), o.question())
				if err != nil || !yes {
					return err
				}
			}
			return p.systemPrune(cmd.Context(), &o)
		},
	}
	f := c.Flags()
	f.BoolVarP(&o.all, "all", "a", false, "all images that no container has, not only those without a tag")
	f.BoolVarP(&o.force, "force", "f", false, "do not ask")
	f.BoolVar(&o.volumes, "volumes", false, "volumes without a name, too")
	f.Var(&o.filters, "filter", "only those of which this is true: until=TIME, label=KEY[=VALUE], label!=KEY[=VALUE]")
	return c
}

func (o *systemPruning) question() string {
	out := "WARNING! This will remove:\n  - all stopped containers\n  - all networks not used by at least one container\n"
	if o.volumes {
		out += "  - all anonymous volumes not used by at least one container\n"
	}
	images := "  - all dangling images\n"
	if o.all {
		images = "  - all images without at least one container associated to them\n"
	}
	out += images
	if len(o.filters.order) > 0 {
		out += "\n  Items to be pruned will be filtered with:\n  - " + strings.Join(o.filters.order, "\n  - ") + "\n"
	}
	return out
}

// systemPrune removes containers first: images and volumes are used by them.
func (p *program) systemPrune(ctx context.Context, o *systemPruning) error {
	client, err := p.engine()
	if err != nil {
		return err
	}
	var containers container.PruneReport
	if err := client.Post(ctx, "/containers/prune", o.filters.query(url.Values{}), nil, &containers); err != nil {
		return err
	}
	total := containers.SpaceReclaimed
	if err := p.writeDeleted("Containers", containers.ContainersDeleted); err != nil {
		return err
	}
	if err := p.pruneNetworks(ctx, &o.filters); err != nil {
		return err
	}
	if o.volumes {
		var volumes volume.PruneReport
		if err := client.Post(ctx, "/volumes/prune", o.filters.query(url.Values{}), nil, &volumes); err != nil {
			return err
		}
		total += volumes.SpaceReclaimed
		if err := p.writeDeleted("Volumes", volumes.VolumesDeleted); err != nil {
			return err
		}
	}
	images, err := p.pruneImages(ctx, o.all, &o.filters)
	if err != nil {
		return err
	}
	images.SpaceReclaimed += total
	return p.writePruned(&images)
}

func (p *program) writeDeleted(what string, names []string) error {
	if len(names) == 0 {
		return nil
	}
	for _, line := range append(append([]string{"Deleted " + what + ":"}, names...), "") {
		if err := p.printOthers(line); err != nil {
			return err
		}
	}
	return nil
}

func systemCheckCommand(p *program) *cobra.Command {
	var repair, asJSON bool
	c := &cobra.Command{
		Use: "check [OPTIONS]", Short: "Heal what a crash has left, and tell what is wrong", Args: count(0, 0),
		Long: "Remove what commands left that were killed, and look at containers, volumes and the names of images. Ends with 1 if something is wrong that was not repaired.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := p.engine()
			if err != nil {
				return err
			}
			q := url.Values{}
			if repair {
				q.Set("repair", "1")
			}
			var r option.SystemReport
			if err := client.Post(cmd.Context(), "/bulkhead/system/check", q, nil, &r); err != nil {
				return err
			}
			return p.writeSystemReport(&r, asJSON)
		},
	}
	c.Flags().BoolVar(&repair, "repair", false, "hash every content of images, and move what is wrong out of the way")
	c.Flags().BoolVar(&asJSON, "json", false, "print the report as JSON")
	return c
}

// writeSystemReport writes what a check found. The error is what is still wrong.
func (p *program) writeSystemReport(r *option.SystemReport, asJSON bool) error {
	left := 0
	for i := range r.Problems {
		if !r.Problems[i].Repaired {
			left++
		}
	}
	var wrong error
	if left > 0 {
		wrong = errdef.WithHint(errdef.Errorf(errdef.Invalid, "system check: %d problems are not repaired", left), "bulkhead system check --repair")
	}
	if asJSON {
		if err := format.Values(p.stdout(), "json", []any{r}); err != nil {
			return err
		}
		return wrong
	}
	for _, h := range r.Healed {
		if err := p.printOthers("healed: " + h); err != nil {
			return err
		}
	}
	for i := range r.Problems {
		if err := p.printOthers(describe(&r.Problems[i])); err != nil {
			return err
		}
	}
	line := strconv.Itoa(r.Containers) + " containers, " + strconv.Itoa(r.Images.Names) + " names of images, " + strconv.Itoa(len(r.Healed)) + " healed, " +
		strconv.Itoa(len(r.Problems)) + " problems"
	if err := p.print(line); err != nil {
		return err
	}
	return wrong
}
