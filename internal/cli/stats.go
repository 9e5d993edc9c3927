package cli

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/cli/format"
	"github.com/bulkhead-engine/bulkhead/internal/dockerapi/client"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/moby/moby/api/types/container"
	"github.com/spf13/cobra"
)

var statsList = format.List{
	Columns: []format.Column{
		{Field: "ID", Header: "CONTAINER ID"},
		{Field: "Name", Header: "NAME"},
		{Field: "CPUPerc", Header: "CPU %"},
		{Field: "MemUsage", Header: "MEM USAGE / LIMIT"},
		{Field: "MemPerc", Header: "MEM %"},
		{Field: "NetIO", Header: "NET I/O"},
		{Field: "BlockIO", Header: "BLOCK I/O"},
		{Field: "PIDs", Header: "PIDS"},
	},
	Extra: []format.Column{{Field: "Container", Header: "CONTAINER"}},
}

// statsFlags are those of stats.
type statsFlags struct {
	all, noStream, noTrunc bool
	text                   string
}

// statsCommand shows what containers use.
func statsCommand(p *program) *cobra.Command {
	var o statsFlags
	c := &cobra.Command{
		Use: "stats [OPTIONS] [CONTAINER...]", Short: "Show what containers use, again and again", Args: count(0, -1), ValidArgsFunction: p.completeContainers(isRunning),
		RunE: func(cmd *cobra.Command, args []string) error { return p.stats(cmd.Context(), &o, args) },
	}
	f := c.Flags()
	f.BoolVarP(&o.all, "all", "a", false, "those that do not run, too")
	f.BoolVar(&o.noStream, "no-stream", false, "once only")
	f.BoolVar(&o.noTrunc, "no-trunc", false, "print whole ids")
	f.StringVar(&o.text, "format", "", "table, json, or a template")
	return c
}

func (p *program) stats(ctx context.Context, o *statsFlags, names []string) error {
	if o.all && len(names) > 0 {
		return errdef.Errorf(errdef.Invalid, "stats: --all and names of containers exclude each other")
	}
	api, err := p.engine()
	if err != nil {
		return err
	}
	if o.noStream {
		if names, err = p.statsNames(ctx, api, o, names); err != nil {
			return err
		}
		rows, err := p.statsOnce(ctx, api, o, names)
		if err != nil {
			return err
		}
		return statsList.Write(p.stdout(), o.text, rows)
	}
	return p.statsLive(ctx, api, o, names)
}

// statsNames are the containers that are meant: those named, else those that run.
func (p *program) statsNames(ctx context.Context, api *client.Client, o *statsFlags, names []string) ([]string, error) {
	if len(names) > 0 {
		return names, nil
	}
	q := url.Values{}
	if o.all {
		q.Set("all", "1")
	}
	var list []container.Summary
	if err := api.Get(ctx, "/containers/json", q, &list); err != nil {
		return nil, err
	}
	for i := range list {
		names = append(names, list[i].ID)
	}
	return names, nil
}

// statsOnce asks for all at the same time: the engine needs a second for a share of the processors.
func (p *program) statsOnce(ctx context.Context, api *client.Client, o *statsFlags, names []string) ([]format.Row, error) {
	rows, errs := make([]format.Row, len(names)), make([]error, len(names))
	var all sync.WaitGroup
	limit := make(chan struct{}, 16)
	for i, name := range names {
		all.Go(func() {
			limit <- struct{}{}
			defer func() { <-limit }()
			var s container.StatsResponse
			if errs[i] = api.Get(ctx, containerPath(name, "stats"), url.Values{"stream": {"0"}}, &s); errs[i] == nil {
				rows[i] = statsRow(name, &s, o.noTrunc)
			}
		})
	}
	all.Wait()
	return rows, joined(slices.DeleteFunc(errs, func(err error) bool { return err == nil }))
}

// A sample is what one stream told last.
type sample struct {
	row format.Row
	err error
}

// statsLive shows a table that is drawn again every second, until the context ends.
func (p *program) statsLive(ctx context.Context, api *client.Client, o *statsFlags, names []string) error {
	var mu sync.Mutex
	samples := map[string]sample{}
	follow := func(name string) {
		err := streamStats(ctx, api, name, func(s *container.StatsResponse) {
			mu.Lock()
			samples[name] = sample{row: statsRow(name, s, o.noTrunc)}
			mu.Unlock()
		})
		mu.Lock()
		defer mu.Unlock()
		if delete(samples, name); err != nil && len(names) > 0 {
			samples[name] = sample{err: err}
		}
	}
	known := map[string]bool{}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for first := true; ; first = false {
		current, err := p.statsNames(ctx, api, o, names)
		if err != nil {
			return err
		}
		for _, name := range current {
			if !known[name] {
				known[name] = true
				go follow(name)
			}
		}
		if !first || len(current) == 0 {
			mu.Lock()
			rows, err := shown(current, samples)
			mu.Unlock()
			if err != nil {
				return err
			}
			if err := p.redraw(o, rows); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
}

// shown are the rows in the order of the names. The error of a name that is wrong ends the command.
func shown(names []string, samples map[string]sample) ([]format.Row, error) {
	var rows []format.Row
	for _, name := range names {
		s, ok := samples[name]
		switch {
		case s.err != nil:
			return nil, s.err
		case ok:
			rows = append(rows, s.row)
		}
	}
	return rows, nil
}

// redraw writes the table over the one before.
func (p *program) redraw(o *statsFlags, rows []format.Row) error {
	if p.terminal() {
		if err := p.control("\x1b[H\x1b[2J"); err != nil {
			return err
		}
	}
	return statsList.Write(p.stdout(), o.text, rows)
}

// streamStats calls each for what a container uses, until its end.
func streamStats(ctx context.Context, api *client.Client, name string, each func(*container.StatsResponse)) error {
	answer, err := api.Stream(ctx, client.Request{Method: http.MethodGet, Path: containerPath(name, "stats"), Query: url.Values{"stream": {"1"}}})
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	d := json.NewDecoder(answer.Body)
	for {
		var s container.StatsResponse
		if d.Decode(&s) != nil { // it has ended
			return nil
		}
		each(&s)
	}
}

// statsRow is what a container uses, as Docker's command computes it.
func statsRow(name string, s *container.StatsResponse, whole bool) format.Row {
	memory := s.MemoryStats.Usage
	for _, key := range []string{"total_inactive_file", "inactive_file"} { // cgroup v1, v2: what the kernel may take back at once
		if n, ok := s.MemoryStats.Stats[key]; ok && n < memory {
			memory -= n
			break
		}
	}
	share := 0.0
	if s.MemoryStats.Limit > 0 {
		share = float64(memory) / float64(s.MemoryStats.Limit) * 100
	}
	var received, sent, read, written uint64
	for _, n := range s.Networks {
		received, sent = received+n.RxBytes, sent+n.TxBytes
	}
	for _, b := range s.BlkioStats.IoServiceBytesRecursive {
		switch strings.ToLower(b.Op) {
		case "read":
			read += b.Value
		case "write":
			written += b.Value
		}
	}
	percent := func(f float64) string { return strconv.FormatFloat(f, 'f', 2, 64) + "%" }
	title := strings.TrimPrefix(s.Name, "/")
	if title == "" {
		title = "--"
	}
	return format.Row{
		"Container": name, "Name": title, "ID": containerID(s.ID, whole), "CPUPerc": percent(processors(s)), "MemPerc": percent(share),
		"MemUsage": format.Binary(float64(memory)) + " / " + format.Binary(float64(s.MemoryStats.Limit)),
		"NetIO":    format.Bytes(int64(received)) + " / " + format.Bytes(int64(sent)),
		"BlockIO":  format.Bytes(int64(read)) + " / " + format.Bytes(int64(written)),
		"PIDs":     strconv.FormatUint(s.PidsStats.Current, 10),
	}
}

// processors is the share of one processor, in percent.
func processors(s *container.StatsResponse) float64 {
	used := float64(s.CPUStats.CPUUsage.TotalUsage) - float64(s.PreCPUStats.CPUUsage.TotalUsage)
	system := float64(s.CPUStats.SystemUsage) - float64(s.PreCPUStats.SystemUsage)
	online := float64(s.CPUStats.OnlineCPUs)
	if online == 0 {
		online = float64(len(s.CPUStats.CPUUsage.PercpuUsage))
	}
	if used <= 0 || system <= 0 {
		return 0
	}
	return used / system * online * 100
}
