package cli

import (
	"strconv"
	"strings"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/cli/format"
	"github.com/bulkhead-engine/bulkhead/internal/engine/container"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/monitor/control"
	"github.com/spf13/cobra"
)

var containerList = format.List{
	Columns: []format.Column{
		{Field: "ID", Header: "CONTAINER ID"},
		{Field: "Image", Header: "IMAGE"},
		{Field: "Command", Header: "COMMAND"},
		{Field: "RunningFor", Header: "CREATED"},
		{Field: "Status", Header: "STATUS"},
		{Field: "Ports", Header: "PORTS"},
		{Field: "Names", Header: "NAMES"},
	},
	Extra: []format.Column{{Field: "CreatedAt", Header: "CREATED AT"}, {Field: "State", Header: "STATE"}, {Field: "Labels", Header: "LABELS"}},
}

// psCommand lists containers.
func psCommand(p *program) *cobra.Command {
	var all, quiet, noTrunc bool
	var text string
	var match []string
	c := &cobra.Command{
		Use: "ps [OPTIONS]", Short: "List containers", Args: count(0, 0),
		RunE: func(*cobra.Command, []string) error {
			s, err := p.containers(nil)
			if err != nil {
				return err
			}
			keep, err := containerFilter(match)
			if err != nil {
				return err
			}
			list, err := s.List()
			if err != nil {
				return err
			}
			var rows []format.Row
			for _, c := range list {
				if !keep(c) || !all && len(match) == 0 && !c.Alive {
					continue
				}
				if quiet {
					if err := p.print(containerID(c.ID, noTrunc)); err != nil {
						return err
					}
					continue
				}
				rows = append(rows, row(c, noTrunc))
			}
			if quiet {
				return nil
			}
			return containerList.Write(p.stdout(), text, rows)
		},
	}
	f := c.Flags()
	f.BoolVarP(&all, "all", "a", false, "those that do not run, too")
	f.BoolVarP(&quiet, "quiet", "q", false, "print only ids")
	f.BoolVar(&noTrunc, "no-trunc", false, "print whole ids and commands")
	f.StringVar(&text, "format", "", "table, json, or a template")
	f.StringArrayVarP(&match, "filter", "f", nil, "only those of which this is true: id=, name=, label=KEY[=VALUE], status=, exited=CODE, ancestor=IMAGE")
	return c
}

// containerID is an id as people see it.
func containerID(id string, whole bool) string {
	if whole {
		return id
	}
	return id[:12]
}

func row(c *container.Container, noTrunc bool) format.Row {
	command := strconv.Quote(strings.Join(append(append([]string{}, c.Config.Entrypoint...), c.Config.Cmd...), " "))
	if len(command) > 20 && !noTrunc {
		command = command[:19] + "…"
		if !strings.HasSuffix(command, `"`) {
			command += `"`
		}
	}
	var labels []string
	for k, v := range c.Config.Labels {
		labels = append(labels, k+"="+v)
	}
	return format.Row{
		"ID": containerID(c.ID, noTrunc), "Image": c.Ref, "Command": command, "RunningFor": format.Ago(c.Created.Unix()), "Status": status(c), "Ports": "", "Names": c.Name,
		"CreatedAt": c.Created.Format("2006-01-02 15:04:05 -0700 MST"), "State": string(c.State.Phase), "Labels": strings.Join(labels, ","),
	}
}

// status is Docker's sentence.
func status(c *container.Container) string {
	since := func(t time.Time) string { return format.Duration(time.Since(t)) }
	switch c.State.Phase {
	case control.Running:
		return "Up " + since(c.State.Started)
	case control.Restarting:
		return "Restarting (" + strconv.Itoa(c.State.ExitCode) + ") " + since(c.State.Finished) + " ago"
	case control.Exited:
		return "Exited (" + strconv.Itoa(c.State.ExitCode) + ") " + since(c.State.Finished) + " ago"
	}
	return "Created"
}

// containerFilter reads --filter. Of one key one must hold, of several keys all.
func containerFilter(list []string) (func(*container.Container) bool, error) {
	by := map[string][]string{}
	for _, text := range list {
		key, value, ok := strings.Cut(text, "=")
		switch key {
		case "id", "name", "label", "status", "exited", "ancestor":
		default:
			ok = false
		}
		if !ok {
			err := errdef.Errorf(errdef.Invalid, "--filter %.64q: there is no such filter", text)
			return nil, errdef.WithHint(err, "id=, name=, label=, status=, exited=, ancestor=")
		}
		by[key] = append(by[key], value)
	}
	holds := func(key, value string, c *container.Container) bool {
		switch key {
		case "id":
			return strings.HasPrefix(c.ID, value)
		case "name":
			return strings.Contains(c.Name, strings.TrimPrefix(value, "/"))
		case "label":
			k, v, exact := strings.Cut(value, "=")
			have, there := c.Config.Labels[k]
			return there && (!exact || have == v)
		case "status":
			return string(c.State.Phase) == value
		case "exited":
			return c.State.Phase == control.Exited && strconv.Itoa(c.State.ExitCode) == value
		}
		return c.Ref == value || strings.HasPrefix(c.Image.Encoded(), strings.TrimPrefix(value, "sha256:"))
	}
	return func(c *container.Container) bool {
		for key, values := range by {
			one := false
			for _, v := range values {
				one = one || holds(key, v, c)
			}
			if !one {
				return false
			}
		}
		return true
	}, nil
}
