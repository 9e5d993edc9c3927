package resolver

import (
	"io"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"
)

// The bounds of resolv.conf(5), where the C library has them, and ours.
const (
	maxConf    = 64 << 10 // bytes that are read
	maxServers = 8        // the C library takes three
	maxSearch  = 32
	maxOptions = 32
)

// A Conf is what a resolv.conf says.
type Conf struct {
	Servers []netip.Addr
	Search  []string
	Options []string
}

// ParseConf reads a resolv.conf as the C library does: unknown lines and what is malformed are passed over, the last search or domain line holds.
func ParseConf(text []byte) Conf {
	var c Conf
	for line := range strings.Lines(string(text[:min(len(text), maxConf)])) {
		if strings.HasPrefix(line, "#") || strings.HasPrefix(line, ";") {
			continue
		}
		words := strings.Fields(line)
		if len(words) < 2 {
			continue
		}
		switch words[0] {
		case "nameserver":
			if a, err := netip.ParseAddr(words[1]); err == nil && len(c.Servers) < maxServers {
				c.Servers = append(c.Servers, a)
			}
		case "domain":
			c.Search = words[1:2]
		case "search":
			c.Search = words[1:min(len(words), maxSearch+1)]
		case "options":
			c.Options = append(c.Options, words[1:]...)
			c.Options = c.Options[:min(len(c.Options), maxOptions)]
		}
	}
	return c
}

// ContainerConf returns what a container's resolv.conf is to say: its resolver, the search domains and options that it was given, else the host's. A search of "." alone is none, as Docker has it.
func ContainerConf(host Conf, search, options []string) Conf {
	c := Conf{Servers: []netip.Addr{Address}, Search: search, Options: options}
	if len(search) == 0 {
		c.Search = host.Search
	}
	if len(search) == 1 && search[0] == "." {
		c.Search = nil
	}
	if len(options) == 0 {
		c.Options = nil
		for _, o := range host.Options { // those of the host's that speak of names, not of its servers, which the resolver itself heeds
			if strings.HasPrefix(o, "ndots:") {
				c.Options = append(c.Options, o)
			}
		}
	}
	for _, o := range c.Options {
		if strings.HasPrefix(o, "ndots:") {
			return c
		}
	}
	// A name with a dot or without is tried as it is first: the names of containers have none.
	c.Options = append([]string{"ndots:0"}, c.Options...)
	return c
}

// Bytes writes a resolv.conf. The servers come first: whoever reads the file while it is rewritten has these.
func (c Conf) Bytes() []byte {
	var b strings.Builder
	for _, s := range c.Servers {
		b.WriteString("nameserver " + s.String() + "\n")
	}
	if len(c.Search) > 0 {
		b.WriteString("search " + strings.Join(c.Search, " ") + "\n")
	}
	if len(c.Options) > 0 {
		b.WriteString("options " + strings.Join(c.Options, " ") + "\n")
	}
	return []byte(b.String())
}

// readConf reads a resolv.conf. None is an empty one.
func readConf(path string) (Conf, error) {
	f, err := os.Open(path)
	if os.IsNotExist(err) {
		return Conf{}, nil
	}
	if err != nil {
		return Conf{}, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxConf))
	return ParseConf(data), err
}

// patience is how servers are asked: options of resolv.conf(5).
type patience struct {
	try      time.Duration
	attempts int
	rotate   bool
	stream   bool // use-vc
}

// parsePatience reads the options that concern servers.
func parsePatience(options []string) patience {
	p := patience{try: defaultTry, attempts: defaultAttempts}
	for _, o := range options {
		key, value, _ := strings.Cut(o, ":")
		n, err := strconv.Atoi(value)
		switch {
		case key == "timeout" && err == nil && n > 0:
			p.try = min(time.Duration(min(n, 1000))*time.Second, longestTry)
		case key == "attempts" && err == nil && n > 0:
			p.attempts = min(n, mostAttempts)
		case o == "rotate":
			p.rotate = true
		case o == "use-vc" || o == "usevc" || o == "tcp":
			p.stream = true
		}
	}
	return p
}
