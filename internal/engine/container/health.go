package container

import (
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/monitor/control"
	api "github.com/moby/moby/api/types/container"
)

// OnFailure is the annotation that says what happens to an unhealthy container, which Docker's API has no field for: none, kill, restart or stop.
const OnFailure = "bulkhead.health-on-failure"

// healthCheck reads how the health of a container is found out; nil: not at all. The defaults are Docker's.
func healthCheck(c *api.Config, host *api.HostConfig) (*control.Check, error) {
	action := host.Annotations[OnFailure]
	switch action {
	case "", "none", "kill", "restart", "stop":
	default:
		return nil, errdef.Errorf(errdef.Invalid, "health-on-failure %.32q: wants none, kill, restart or stop", action)
	}
	if action == "restart" && host.AutoRemove {
		return nil, errdef.Errorf(errdef.Invalid, "health-on-failure: conflicting options: restart and --rm")
	}
	h := c.Healthcheck
	if h == nil || len(h.Test) == 0 || h.Test[0] == "" {
		if action != "" && action != "none" {
			return nil, errdef.Errorf(errdef.Invalid, "health-on-failure %s: there is no health check", action)
		}
		return nil, nil
	}
	check := &control.Check{OnFailure: action, Retries: 3}
	switch kind, rest := h.Test[0], h.Test[1:]; {
	case kind == "NONE":
		return nil, nil
	case kind == "CMD" && len(rest) > 0:
		check.Args = rest
	case kind == "CMD-SHELL" && len(rest) == 1:
		shell := c.Shell
		if len(shell) == 0 {
			shell = []string{"/bin/sh", "-c"}
		}
		check.Args = append(append([]string{}, shell...), rest[0])
	default:
		return nil, errdef.Errorf(errdef.Invalid, "healthcheck: test %.128q: wants NONE, CMD with a program, or CMD-SHELL with a command", h.Test)
	}
	for _, t := range []struct {
		name string
		from time.Duration
		std  time.Duration
		to   *time.Duration
	}{
		{"interval", h.Interval, 30 * time.Second, &check.Interval},
		{"timeout", h.Timeout, 30 * time.Second, &check.Timeout},
		{"start-period", h.StartPeriod, 0, &check.StartPeriod},
		{"start-interval", h.StartInterval, 5 * time.Second, &check.StartInterval},
	} {
		if *t.to = t.from; t.from == 0 {
			*t.to = t.std
		}
		if t.from != 0 && t.from < api.MinimumDuration {
			return nil, errdef.Errorf(errdef.Invalid, "health-%s %v: cannot be less than %v", t.name, t.from, api.MinimumDuration)
		}
	}
	if h.Retries < 0 {
		return nil, errdef.Errorf(errdef.Invalid, "health-retries %d: cannot be negative", h.Retries)
	}
	if h.Retries > 0 {
		check.Retries = h.Retries
	}
	return check, nil
}

// restartOf is a policy as the monitor has it.
func restartOf(p api.RestartPolicy) control.Restart {
	return control.Restart{Policy: string(p.Name), Most: p.MaximumRetryCount}
}
