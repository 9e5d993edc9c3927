package cli

import (
	"context"
	"io"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/dockerapi/client"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/spf13/cobra"
)

// logFlags are those of logs.
type logFlags struct {
	follow, stamps, details bool
	tail, since, until      string
}

// logsCommand prints what a container has printed.
func logsCommand(p *program) *cobra.Command {
	var o logFlags
	c := &cobra.Command{
		Use: "logs [OPTIONS] CONTAINER", Short: "Print the output of a container", Args: count(1, 1), ValidArgsFunction: p.completeContainer(nil),
		RunE: func(cmd *cobra.Command, args []string) error { return p.logs(cmd.Context(), &o, args[0]) },
	}
	f := c.Flags()
	f.BoolVarP(&o.follow, "follow", "f", false, "go on with what comes")
	f.BoolVarP(&o.stamps, "timestamps", "t", false, "say when each line came")
	f.BoolVar(&o.details, "details", false, "show the attributes that --log-opt gives to lines, too")
	f.StringVarP(&o.tail, "tail", "n", "all", "how many lines from the end")
	f.StringVar(&o.since, "since", "", "only what came since: 10m, 2026-01-31T13:00:00Z, seconds since 1970")
	f.StringVar(&o.until, "until", "", "only what came until: 10m, 2026-01-31T13:00:00Z, seconds since 1970")
	return c
}

// moments adds times that flags say, in the API's form: seconds and nanoseconds since 1970.
func moments(q url.Values, flags map[string]string) error {
	now := time.Now()
	for flag, text := range flags {
		if text == "" {
			continue
		}
		t, err := parseTime(text, now)
		if err != nil {
			err := errdef.Errorf(errdef.Invalid, "--%s %.64q: no time", flag, text)
			return errdef.WithHint(err, "as in 24h, 2026-01-31, 2026-01-31T13:00:00Z, 1769817600")
		}
		nano := strconv.Itoa(1e9 + t.Nanosecond())
		q.Set(flag, strconv.FormatInt(t.Unix(), 10)+"."+nano[1:])
	}
	return nil
}

func (p *program) logs(ctx context.Context, o *logFlags, name string) error {
	if n, err := strconv.Atoi(o.tail); o.tail != "all" && (err != nil || n < -1) {
		return errdef.Errorf(errdef.Invalid, "--tail %.32q: wants a number or all", o.tail)
	}
	q := url.Values{"stdout": {"1"}, "stderr": {"1"}, "tail": {o.tail}}
	for key, on := range map[string]bool{"follow": o.follow, "timestamps": o.stamps, "details": o.details} {
		if on {
			q.Set(key, "1")
		}
	}
	if err := moments(q, map[string]string{"since": o.since, "until": o.until}); err != nil {
		return err
	}
	api, err := p.engine()
	if err != nil {
		return err
	}
	answer, err := api.Stream(ctx, client.Request{Method: http.MethodGet, Path: containerPath(name, "logs"), Query: q})
	if err != nil {
		return p.meant(ctx, name, err)
	}
	defer answer.Body.Close()
	raw, err := p.rawOutput(ctx, api, name, answer.Header.Get("Content-Type"))
	if err != nil {
		return err
	}
	if raw {
		_, err = io.Copy(p.out, answer.Body)
	} else {
		err = client.Demultiplex(answer.Body, p.out, p.errs)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// rawOutput reports whether a stream of output has no frames. Engines that speak no 1.42 of the API call all streams raw.
func (p *program) rawOutput(ctx context.Context, api *client.Client, name, kind string) (bool, error) {
	switch {
	case kind == "application/vnd.docker.multiplexed-stream":
		return false, nil
	case p.inside != nil:
		return true, nil
	}
	c, err := inspectOne(ctx, api, name)
	return err == nil && c.Config.Tty, err
}

// parseTime reads a time as Docker's --since has it: how long ago, RFC 3339 or a part of it in the local zone, or seconds since 1970.
func parseTime(s string, now time.Time) (time.Time, error) {
	if d, err := time.ParseDuration(s); err == nil {
		return now.Add(-d), nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02T15:04", "2006-01-02T15", "2006-01-02Z07:00", time.DateOnly} {
		if t, err := time.ParseInLocation(layout, s, time.Local); err == nil {
			return t, nil
		}
	}
	if n, err := strconv.ParseFloat(s, 64); err == nil && n >= 0 && n < 1<<40 {
		whole, part := math.Modf(n)
		return time.Unix(int64(whole), int64(part*1e9)), nil
	}
	return time.Time{}, errdef.Errorf(errdef.Invalid, "no time")
}
