package auth

import (
	"net/http"
	"strings"
)

// Bounds of what a server may ask with.
const (
	maxChallenges = 8
	maxParameters = 16
)

// A challenge is one way to authenticate that a server offers (RFC 9110, 11.6.1).
type challenge struct {
	scheme     string // in lower case
	parameters map[string]string
}

// challenges reads the WWW-Authenticate headers of an answer. What does not parse ends its header.
func challenges(header http.Header) []challenge {
	var out []challenge
	for _, line := range header.Values("WWW-Authenticate") {
		p := parser{rest: line}
		for len(out) < maxChallenges {
			c, ok := p.challenge()
			if !ok {
				break
			}
			out = append(out, c)
		}
	}
	return out
}

type parser struct{ rest string }

func (p *parser) space() { p.rest = strings.TrimLeft(p.rest, " \t,") }

func (p *parser) challenge() (challenge, bool) {
	p.space()
	scheme := p.token()
	if scheme == "" {
		return challenge{}, false
	}
	c := challenge{scheme: strings.ToLower(scheme), parameters: map[string]string{}}
	for len(c.parameters) < maxParameters {
		p.space()
		before := p.rest
		name := p.token()
		p.rest = strings.TrimLeft(p.rest, " \t")
		if name == "" || !strings.HasPrefix(p.rest, "=") {
			p.rest = before // the next challenge's scheme, or the end
			return c, true
		}
		p.rest = strings.TrimLeft(p.rest[1:], " \t")
		value, ok := p.value()
		if !ok {
			return c, true
		}
		name = strings.ToLower(name)
		if _, twice := c.parameters[name]; !twice { // the first counts, so that nothing behind can change it
			c.parameters[name] = value
		}
	}
	return c, true
}

func (p *parser) token() string {
	n := 0
	for n < len(p.rest) && isToken(p.rest[n]) {
		n++
	}
	token := p.rest[:n]
	p.rest = p.rest[n:]
	return token
}

func isToken(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}

// value reads a token or a quoted string.
func (p *parser) value() (string, bool) {
	if !strings.HasPrefix(p.rest, `"`) {
		n := strings.IndexAny(p.rest, ", \t")
		if n < 0 {
			n = len(p.rest)
		}
		value := p.rest[:n]
		p.rest = p.rest[n:]
		return value, value != ""
	}
	var b strings.Builder
	for i := 1; i < len(p.rest); i++ {
		switch c := p.rest[i]; c {
		case '"':
			p.rest = p.rest[i+1:]
			return b.String(), true
		case '\\':
			i++
			if i < len(p.rest) {
				b.WriteByte(p.rest[i])
			}
		default:
			b.WriteByte(c)
		}
	}
	p.rest = ""
	return "", false
}
