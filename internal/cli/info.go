package cli

import (
	"strconv"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/cli/format"
	"github.com/moby/moby/api/types/system"
	"github.com/spf13/cobra"
)

func infoCommand(p *program) *cobra.Command {
	var text string
	c := &cobra.Command{
		Use: "info [OPTIONS]", Short: "Show what the engine is, and on what host", Args: count(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := p.engine()
			if err != nil {
				return err
			}
			out := struct {
				system.Info
				ClientInfo clientVersion
			}{ClientInfo: clientVersion{Version: Version, Context: "default"}}
			if err := client.Get(cmd.Context(), "/info", nil, &out.Info); err != nil {
				return err
			}
			if text != "" {
				return format.Values(p.stdout(), text, []any{out})
			}
			for _, w := range out.Warnings {
				p.warn(strings.TrimPrefix(w, "WARNING: "))
			}
			return p.writeInfo(&out.Info)
		},
	}
	c.Flags().StringVarP(&text, "format", "f", "", "json, or a template")
	return c
}

// writeInfo writes what the engine is, as Docker does.
func (p *program) writeInfo(i *system.Info) error {
	var b block
	b.line(0, "Client", "")
	b.line(1, "Version", Version)
	b.text.WriteByte('\n')
	b.line(0, "Server", "")
	b.line(1, "Containers", strconv.Itoa(i.Containers))
	b.line(2, "Running", strconv.Itoa(i.ContainersRunning))
	b.line(2, "Paused", strconv.Itoa(i.ContainersPaused))
	b.line(2, "Stopped", strconv.Itoa(i.ContainersStopped))
	b.line(1, "Images", strconv.Itoa(i.Images))
	b.line(1, "Server Version", i.ServerVersion)
	b.line(1, "Storage Driver", i.Driver)
	for _, s := range i.DriverStatus {
		b.line(2, s[0], s[1])
	}
	b.line(1, "Logging Driver", i.LoggingDriver)
	b.line(1, "Cgroup Driver", i.CgroupDriver)
	b.line(1, "Cgroup Version", i.CgroupVersion)
	b.line(1, "Plugins", "")
	b.line(2, "Volume", strings.Join(i.Plugins.Volume, " "))
	b.line(2, "Network", strings.Join(i.Plugins.Network, " "))
	b.line(2, "Log", strings.Join(i.Plugins.Log, " "))
	b.line(1, "Default Runtime", i.DefaultRuntime)
	b.line(1, "Init Binary", i.InitBinary)
	b.line(1, "Security Options", "")
	for _, o := range i.SecurityOptions {
		words := strings.Split(o, ",")
		b.text.WriteString("  " + strings.TrimPrefix(words[0], "name=") + "\n")
		for _, w := range words[1:] {
			key, value, _ := strings.Cut(w, "=")
			b.line(3, strings.ToUpper(key[:1])+key[1:], value)
		}
	}
	b.line(1, "Kernel Version", i.KernelVersion)
	b.line(1, "Operating System", i.OperatingSystem)
	b.line(1, "OSType", i.OSType)
	b.line(1, "Architecture", i.Architecture)
	b.line(1, "CPUs", strconv.Itoa(i.NCPU))
	b.line(1, "Total Memory", format.Binary(float64(i.MemTotal)))
	b.line(1, "Name", i.Name)
	b.line(1, "ID", i.ID)
	b.line(1, "Root Dir", i.DockerRootDir)
	for _, proxy := range []struct{ name, value string }{{"HTTP Proxy", i.HTTPProxy}, {"HTTPS Proxy", i.HTTPSProxy}, {"No Proxy", i.NoProxy}} {
		if proxy.value != "" {
			b.line(1, proxy.name, proxy.value)
		}
	}
	b.line(1, "Live Restore Enabled", strconv.FormatBool(i.LiveRestoreEnabled))
	return p.writeBlock(&b)
}
