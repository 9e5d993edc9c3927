package cli

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/cli/format"
	"github.com/bulkhead-engine/bulkhead/internal/cli/printable"
	"github.com/bulkhead-engine/bulkhead/internal/dockerapi/client"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/api/types/network"
	"github.com/spf13/cobra"
)

// topCommand lists the processes of a container.
func topCommand(p *program) *cobra.Command {
	c := &cobra.Command{
		Use: "top [OPTIONS] CONTAINER [PS OPTIONS]", Short: "List the processes of a container", Args: count(1, -1), ValidArgsFunction: p.completeContainer(isRunning),
		RunE: func(cmd *cobra.Command, args []string) error {
			api, err := p.engine()
			if err != nil {
				return err
			}
			q := url.Values{}
			if len(args) > 1 {
				q.Set("ps_args", strings.Join(args[1:], " "))
			}
			var top container.TopResponse
			if err := api.Get(cmd.Context(), containerPath(args[0], "top"), q, &top); err != nil {
				return p.meant(cmd.Context(), args[0], err)
			}
			l := format.List{}
			var rows []format.Row
			for i, t := range top.Titles {
				l.Columns = append(l.Columns, format.Column{Field: strconv.Itoa(i), Header: t})
			}
			for _, process := range top.Processes {
				row := format.Row{}
				for i, cell := range process {
					row[strconv.Itoa(i)] = cell
				}
				rows = append(rows, row)
			}
			return l.Write(p.stdout(), "", rows)
		},
	}
	c.Flags().SetInterspersed(false)
	return c
}

// portCommand lists published ports.
func portCommand(p *program) *cobra.Command {
	return &cobra.Command{
		Use: "port [OPTIONS] CONTAINER [PRIVATE_PORT[/PROTO]]", Short: "List the published ports of a container", Args: count(1, 2), ValidArgsFunction: p.completeContainer(nil),
		RunE: func(cmd *cobra.Command, args []string) error {
			var want network.Port
			var err error
			if len(args) == 2 {
				if want, err = network.ParsePort(args[1]); err != nil {
					return errdef.Errorf(errdef.Invalid, "port %q: %w", args[1], err)
				}
			}
			api, err := p.engine()
			if err != nil {
				return err
			}
			c, err := inspectOne(cmd.Context(), api, args[0])
			if err != nil {
				return p.meant(cmd.Context(), args[0], err)
			}
			var lines []string
			if c.NetworkSettings != nil {
				lines = portLines(c.NetworkSettings.Ports, want)
			}
			if len(args) == 2 && len(lines) == 0 {
				return errdef.Errorf(errdef.NotFound, "no public port '%s' published for %s", want, args[0])
			}
			for _, l := range lines {
				if err := p.printOthers(l); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

// portLines are the bindings of one port, or of all with its name before.
func portLines(ports network.PortMap, want network.Port) []string {
	var out []string
	for port, bindings := range ports {
		for _, b := range bindings {
			at := b.HostIP.String()
			if b.HostIP.Is6() {
				at = "[" + at + "]"
			}
			switch at += ":" + b.HostPort; {
			case want.IsZero():
				out = append(out, port.String()+" -> "+at)
			case want == port:
				out = append(out, at)
			}
		}
	}
	slices.Sort(out)
	return out
}

// eventFlags are those of events.
type eventFlags struct {
	since, until, text string
	match              apiFilters
}

// eventsCommand tells what happens.
func eventsCommand(p *program) *cobra.Command {
	var o eventFlags
	c := &cobra.Command{
		Use: "events [OPTIONS]", Short: "Tell what happens to containers, images and volumes", Args: count(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error { return p.events(cmd.Context(), &o) },
	}
	f := c.Flags()
	f.VarP(&o.match, "filter", "f", "only those of which this is true: container=, event=, image=, label=, type=, volume=")
	f.StringVar(&o.since, "since", "", "begin with what happened since: 10m, 2026-01-31T13:00:00Z, seconds since 1970")
	f.StringVar(&o.until, "until", "", "end with what happened until")
	f.StringVar(&o.text, "format", "", "json, or a template")
	return c
}

func (p *program) events(ctx context.Context, o *eventFlags) error {
	write, err := p.eventWriter(o.text)
	if err != nil {
		return &statusError{exitTemplate, err}
	}
	q := url.Values{}
	if err := moments(q, map[string]string{"since": o.since, "until": o.until}); err != nil {
		return err
	}
	if err := o.match.add(q); err != nil {
		return err
	}
	api, err := p.engine()
	if err != nil {
		return err
	}
	answer, err := api.Stream(ctx, client.Request{Method: http.MethodGet, Path: "/events", Query: q})
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	d := json.NewDecoder(answer.Body)
	for {
		var m events.Message
		err := d.Decode(&m)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return errdef.Errorf(errdef.Unavailable, "events: %w", err)
		}
		if err := write(&m); err != nil {
			return err
		}
	}
}

// eventWriter returns what writes an event: Docker's line, JSON, or a template's.
func (p *program) eventWriter(text string) (func(*events.Message) error, error) {
	if text != "" {
		if text == "json" {
			text = "{{json .}}"
		}
		if _, err := format.Parse(text); err != nil {
			return nil, err
		}
		return func(m *events.Message) error { return format.Values(p.stdout(), text, []any{m}) }, nil
	}
	return func(m *events.Message) error {
		at := time.Unix(m.Time, 0)
		if m.TimeNano != 0 {
			at = time.Unix(0, m.TimeNano)
		}
		line := at.Format("2006-01-02T15:04:05.000000000Z07:00") + " " + string(m.Type) + " " + string(m.Action) + " " + m.Actor.ID
		var attributes []string
		for k, v := range m.Actor.Attributes {
			attributes = append(attributes, k+"="+v)
		}
		if slices.Sort(attributes); len(attributes) > 0 {
			line += " (" + strings.Join(attributes, ", ") + ")"
		}
		return p.print(printable.Line(line))
	}, nil
}
