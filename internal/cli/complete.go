package cli

import (
	"context"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/image"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

// A completer is what cobra calls for the words after a command.
type completer = func(cmd *cobra.Command, args []string, begin string) ([]string, cobra.ShellCompDirective)

// quickly bounds what a key press may take.
func quickly(cmd *cobra.Command) (context.Context, context.CancelFunc) {
	ctx := cmd.Context()
	if ctx == nil {
		ctx = context.Background()
	}
	return context.WithTimeout(ctx, 3*time.Second)
}

// beginning are the words that begin so and are not there yet.
func beginning(words, args []string, begin string) []string {
	var out []string
	for _, w := range words {
		if strings.HasPrefix(w, begin) && !slices.Contains(args, w) {
			out = append(out, w)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// completeImages completes names of images.
func (p *program) completeImages(cmd *cobra.Command, args []string, begin string) ([]string, cobra.ShellCompDirective) {
	ctx, cancel := quickly(cmd)
	defer cancel()
	api, err := p.engine()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var list []image.Summary
	if err := api.Get(ctx, "/images/json", nil, &list); err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var names []string
	for i := range list {
		names = append(names, list[i].RepoTags...)
	}
	return beginning(names, args, begin), cobra.ShellCompDirectiveNoFileComp
}

// completeImage completes the first word only: what follows is the program's.
func (p *program) completeImage(cmd *cobra.Command, args []string, begin string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveDefault
	}
	return p.completeImages(cmd, args, begin)
}

func isRunning(c *container.Summary) bool { return c.State == container.StateRunning }
func isPaused(c *container.Summary) bool  { return c.State == container.StatePaused }
func isStopped(c *container.Summary) bool {
	return c.State == container.StateExited || c.State == container.StateCreated
}

// containerNames are the names of the containers for which which is true; nil: of all.
func (p *program) containerNames(ctx context.Context, which func(*container.Summary) bool) ([]string, error) {
	api, err := p.engine()
	if err != nil {
		return nil, err
	}
	var list []container.Summary
	if err := api.Get(ctx, "/containers/json", url.Values{"all": {"1"}}, &list); err != nil {
		return nil, err
	}
	var names []string
	for i := range list {
		if which != nil && !which(&list[i]) {
			continue
		}
		for _, n := range list[i].Names {
			names = append(names, strings.TrimPrefix(n, "/"))
		}
	}
	return names, nil
}

// meant adds to the error of a container that is not there which one may have been meant.
func (p *program) meant(ctx context.Context, name string, err error) error {
	if !errdef.Is(err, errdef.NotFound) || errdef.Hint(err) != "" || !strings.Contains(strings.ToLower(err.Error()), "no such container") {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
	defer cancel()
	names, e := p.containerNames(ctx, nil)
	if near := nearest(name, names); e == nil && near != "" {
		return errdef.WithHint(err, "did you mean "+near+"?")
	}
	return err
}

// completeContainers completes names of containers.
func (p *program) completeContainers(which func(*container.Summary) bool) completer {
	return func(cmd *cobra.Command, args []string, begin string) ([]string, cobra.ShellCompDirective) {
		ctx, cancel := quickly(cmd)
		defer cancel()
		names, err := p.containerNames(ctx, which)
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		return beginning(names, args, begin), cobra.ShellCompDirectiveNoFileComp
	}
}

// completeContainer completes the first word only.
func (p *program) completeContainer(which func(*container.Summary) bool) completer {
	all := p.completeContainers(which)
	return func(cmd *cobra.Command, args []string, begin string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveDefault
		}
		return all(cmd, args, begin)
	}
}

// completeWords completes the value of a flag that has few.
func (p *program) completeWords(c *cobra.Command, flag string, words ...string) {
	_ = c.RegisterFlagCompletionFunc(flag, func(_ *cobra.Command, _ []string, begin string) ([]string, cobra.ShellCompDirective) { // the flag is there
		return beginning(words, nil, begin), cobra.ShellCompDirectiveNoFileComp
	})
}

// signalNames are the names of signals.
func signalNames() []string {
	var out []string
	for s := unix.Signal(1); s < 32; s++ {
		out = append(out, strings.TrimPrefix(unix.SignalName(s), "SIG"))
	}
	return out
}

// completeRun completes values of the flags of run and create.
func (p *program) completeRun(c *cobra.Command) {
	for flag, words := range map[string][]string{
		"attach": {"stdin", "stdout", "stderr"}, "level": {"compat", "hardened", "untrusted"}, "pull": {"always", "missing", "never", "newer"},
		"restart": {"no", "on-failure", "always", "unless-stopped"}, "pid": {"host", "private", "container:"},
		"ipc": {"host", "none", "private", "shareable", "container:"}, "uts": {"host", "private"}, "cgroupns": {"host", "private"}, "userns": {"host", "private", "auto"},
		"log-driver": {"json-file", "journald", "syslog", "none"}, "stop-signal": signalNames(),
		"security-opt": {"apparmor=", "label=", "mask=", "no-new-privileges", "seccomp=", "systempaths=unconfined", "unmask="},
	} {
		p.completeWords(c, flag, words...)
	}
	_ = c.RegisterFlagCompletionFunc("network", func(cmd *cobra.Command, _ []string, begin string) ([]string, cobra.ShellCompDirective) { // the flag is there
		return p.completeNetworks(cmd, nil, begin)
	})
	_ = c.RegisterFlagCompletionFunc("volumes-from", p.completeContainers(nil)) // the flag is there
}
