package reference

import (
	"net/netip"
	"strconv"
	"strings"

	_ "crypto/sha256" // go-digest has only the algorithms that the program links
	_ "crypto/sha512"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/opencontainers/go-digest"
)

func wrong(format string, args ...any) error { return errdef.Errorf(errdef.Invalid, format, args...) }

// shorten keeps a hostile name from filling the terminal.
func shorten(s string) string {
	const most = 200
	if len(s) <= most {
		return s
	}
	return s[:most] + "..."
}

// checkDomain wants host or host:port, where host is a DNS name, an IPv4 address or an IPv6 address in brackets.
func checkDomain(domain string) error {
	if len(domain) > MaxDomain {
		return wrong("registry has %d bytes, at most %d", len(domain), MaxDomain)
	}
	host, port, ported := domain, "", false
	if strings.HasPrefix(domain, "[") {
		address, after, closed := strings.Cut(domain[1:], "]")
		ip, err := netip.ParseAddr(address)
		if !closed || err != nil || !ip.Is6() || ip.Zone() != "" {
			return wrong("registry %q: no IPv6 address in brackets", domain)
		}
		if after != "" && after[0] != ':' {
			return wrong("registry %q: after the bracket comes a port or nothing", domain)
		}
		if ported = after != ""; ported {
			port = after[1:]
		}
	} else {
		host, port, ported = strings.Cut(domain, ":")
		if err := checkHost(host); err != nil {
			return err
		}
	}
	if !ported {
		return nil
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || port[0] == '+' {
		return wrong("registry %q: port %q is no number from 1 to 65535", domain, shorten(port))
	}
	return nil
}

// checkHost wants labels of letters, digits and inner hyphens, with a dot between two (RFC 1123, 2.1).
func checkHost(host string) error {
	for label := range strings.SplitSeq(host, ".") {
		if label == "" {
			return wrong("registry %q: an empty part between dots", shorten(host))
		}
		for i := range len(label) {
			c := label[i]
			switch {
			case isAlnum(c) || c >= 'A' && c <= 'Z':
			case c == '-' && i > 0 && i < len(label)-1:
			case c == '-':
				return wrong("registry %q: %q begins or ends with a hyphen", shorten(host), label)
			default:
				return wrong("registry %q: %s is not allowed in a host name", shorten(host), char(label[i:]))
			}
		}
	}
	return nil
}

// checkPath wants components of a-z and 0-9, with `.`, `_`, `__` or hyphens inside, and a slash between two.
func checkPath(path string) error {
	if len(path) > MaxPath {
		return wrong("repository has %d bytes, at most %d", len(path), MaxPath)
	}
	for component := range strings.SplitSeq(path, "/") {
		if err := checkComponent(path, component); err != nil {
			return err
		}
	}
	return nil
}

func checkComponent(path, s string) error {
	if s == "" {
		return wrong("repository %q: an empty part", path)
	}
	for i := 0; i < len(s); {
		c := s[i]
		if isAlnum(c) {
			i++
			continue
		}
		if c >= 'A' && c <= 'Z' {
			return wrong("repository %q: upper-case letters are not allowed", path)
		}
		if c != '.' && c != '_' && c != '-' {
			return wrong("repository %q: %s is not allowed", path, char(s[i:]))
		}
		end := i + 1
		for end < len(s) && !isAlnum(s[end]) && strings.IndexByte("._-", s[end]) >= 0 {
			end++
		}
		separator := s[i:end]
		if i == 0 || end == len(s) {
			return wrong("repository %q: a part begins or ends with %q", path, separator)
		}
		if len(separator) > 1 && separator != "__" && strings.Trim(separator, "-") != "" {
			return wrong("repository %q: %q between letters: one dot, one or two underscores, or hyphens are allowed", path, separator)
		}
		i = end
	}
	return nil
}

// CheckTag reports what is wrong with a tag.
func CheckTag(tag string) error {
	switch {
	case tag == "":
		return wrong("the tag is empty")
	case len(tag) > MaxTag:
		return wrong("the tag has %d bytes, at most %d", len(tag), MaxTag)
	case tag[0] == '.' || tag[0] == '-':
		return wrong("tag %q: begins with %q", tag, tag[:1])
	}
	for i := range len(tag) {
		c := tag[i]
		if !isAlnum(c) && !(c >= 'A' && c <= 'Z') && c != '_' && c != '.' && c != '-' {
			return wrong("tag %q: %s is not allowed", tag, char(tag[i:]))
		}
	}
	return nil
}

// ParseDigest reads algorithm:hex and reports what is wrong with it.
func ParseDigest(s string) (digest.Digest, error) {
	d := digest.Digest(s)
	if err := CheckDigest(d); err != nil {
		return "", err
	}
	return d, nil
}

// CheckDigest reports what is wrong with a digest. sha256 and sha512 are what the image specification registers and we verify; any other
// algorithm is of kind Unsupported, all else of kind Invalid. After it, Algorithm and Encoded of d are safe in a file name.
func CheckDigest(d digest.Digest) error {
	algorithm, encoded, cut := strings.Cut(string(d), ":")
	if !cut {
		return wrong("digest %q: no algorithm, as in sha256:", shorten(string(d)))
	}
	var size int
	switch algorithm {
	case "sha256":
		size = 64
	case "sha512":
		size = 128
	default:
		return errdef.Errorf(errdef.Unsupported, "digest %q: algorithm %q is neither sha256 nor sha512", shorten(string(d)), shorten(algorithm))
	}
	if len(encoded) != size {
		return wrong("digest %q: %d digits, %s has %d", shorten(string(d)), len(encoded), algorithm, size)
	}
	if !isHex(encoded) {
		return wrong("digest %q: only 0-9 and a-f are allowed", d)
	}
	return nil
}

func isAlnum(c byte) bool { return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' }

func isHex(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// char quotes the first character of s.
func char(s string) string {
	for _, r := range s {
		return strconv.QuoteRune(r)
	}
	return ""
}
