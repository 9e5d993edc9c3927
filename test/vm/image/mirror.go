package image

import (
	"context"
	"os/exec"
	"strings"
)

// mirror is where packages come from.
type mirror struct {
	archive, security string
	options           []string // of apt: a proxy
}

// hostMirror asks the host's apt what mirror of Debian it uses, and through which proxy. Without an answer it is Debian's own.
func hostMirror(ctx context.Context) mirror {
	m := mirror{archive: "http://deb.debian.org/debian", security: "http://deb.debian.org/debian-security"}
	if out, err := exec.CommandContext(ctx, "apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages").Output(); err == nil {
		m.take(string(out))
	}
	if out, err := exec.CommandContext(ctx, "apt-config", "dump").Output(); err == nil {
		m.options = proxies(string(out))
	}
	return m
}

// take looks for Debian's archives in a list of URIs. The last part of the path says which it is, on every mirror.
func (m *mirror) take(uris string) {
	var archive, security bool
	for uri := range strings.Lines(uris) {
		uri = strings.TrimRight(strings.TrimSpace(uri), "/")
		switch name := uri[strings.LastIndexByte(uri, '/')+1:]; {
		case strings.ContainsAny(uri, " '\"$`\\;&|<>()"): // it goes into a shell's command
		case name == "debian" && !archive:
			m.archive, archive = uri, true
		case name == "debian-security" && !security:
			m.security, security = uri, true
		}
	}
}

// proxies takes the settings of a proxy out of apt's configuration.
func proxies(dump string) (list []string) {
	for line := range strings.Lines(dump) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		lower := strings.ToLower(key)
		if strings.HasPrefix(lower, "acquire::http::proxy") || strings.HasPrefix(lower, "acquire::https::proxy") {
			list = append(list, key+" "+strings.TrimSuffix(value, ";"))
		}
	}
	return list
}
