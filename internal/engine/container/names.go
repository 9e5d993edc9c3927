package container

import (
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	api "github.com/moby/moby/api/types/container"
	"golang.org/x/sys/unix"
)

// maxNames bounds what is read of a file that has names: another container may have written it.
const maxNames = 1 << 20

// namesFiles makes what a container has as /etc/hosts and /etc/resolv.conf before it is connected with networks of the engine, which changes both (package network/resolver). name is the
// container's hostname. One that shares the network of another container has its files as they are now.
func (s *Service) namesFiles(c *Container, name string) (hosts, resolv string, err error) {
	if of, ok := strings.CutPrefix(netMode(&c.Record), "container:"); ok {
		id, err := s.Resolve(of)
		if err != nil {
			return "", "", err
		}
		var texts [2]string
		for i, file := range []string{"hosts", "resolv.conf"} {
			b, err := readBounded(filepath.Join(s.dir(id), file))
			if err != nil {
				return "", "", errdef.Errorf(errdef.Unavailable, "network container:%s: its %s: %w", of, file, err)
			}
			texts[i] = string(b)
		}
		return texts[0], texts[1], nil
	}
	hosts = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::0\tip6-localnet\nff00::0\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n127.0.1.1\t" + name + "\n"
	extra, err := extraHosts(&c.Host)
	if err != nil {
		return "", "", err
	}
	for _, h := range extra {
		switch {
		case h.Addr.IsValid():
			hosts += h.Addr.String() + "\t" + h.Name + "\n"
		case netMode(&c.Record) == modeHost:
			hosts += "127.0.0.1\t" + h.Name + "\n"
		case !ownNetwork(&c.Record):
			return "", "", errdef.Errorf(errdef.Invalid, "add-host %s:host-gateway: the container has no network that leads to the host", h.Name)
		}
	}
	return hosts, resolver(&c.Host, netMode(&c.Record) == modeHost || strings.HasPrefix(netMode(&c.Record), "ns:")), nil
}

// readBounded reads a regular file.
func readBounded(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxNames))
}

// resolver is the /etc/resolv.conf of a container: the host's, if it has a network that is not the engine's, with what the flags say instead (resolv.conf(5): the last of search and of options counts).
func resolver(h *api.HostConfig, borrowed bool) string {
	text := ""
	if borrowed {
		b, _ := readBounded("/etc/resolv.conf") // none is fine
		for line := range strings.Lines(string(b)) {
			if len(h.DNS) == 0 || !strings.HasPrefix(line, "nameserver") {
				text += line
			}
		}
		if text != "" && !strings.HasSuffix(text, "\n") {
			text += "\n"
		}
	}
	for _, d := range h.DNS {
		text += "nameserver " + d.String() + "\n"
	}
	if len(h.DNSSearch) > 0 && !slices.Equal(h.DNSSearch, []string{"."}) {
		text += "search " + strings.Join(h.DNSSearch, " ") + "\n"
	}
	if len(h.DNSOptions) > 0 {
		text += "options " + strings.Join(h.DNSOptions, " ") + "\n"
	}
	return text
}
