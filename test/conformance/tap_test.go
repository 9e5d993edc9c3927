package conformance

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

// verdict is what a TAP stream said: points passed and failed, by description, without repetition.
type verdict struct{ passed, failed []string }

var (
	tapPoint = regexp.MustCompile(`^(not ok|ok)\b\s*\d*\s*(?:-\s*)?(.*)$`)
	// volatile parts of a description: identifiers, temporary names, container process ids
	tapVolatile = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|ocitest\d+|pid \d+`)
)

// parseTAP reads TAP 13 as far as runtime-tools writes it. A stream that ran no point and whose
// diagnostics have an error failed in the pseudo point (diagnostic): some programs report only so.
func parseTAP(stream string) verdict {
	var v verdict
	complaint := false
	for line := range strings.Lines(stream) {
		line = strings.TrimRight(line, "\r\n")
		if strings.HasPrefix(line, `    "error": `) && line != `    "error": "",` && line != `    "error": ""` {
			complaint = true
		}
		m := tapPoint.FindStringSubmatch(line)
		if m == nil || strings.Contains(m[2], "# SKIP") {
			continue
		}
		name := tapVolatile.ReplaceAllString(m[2], "*")
		if name == "" {
			name = "(unnamed)"
		}
		if m[1] == "ok" {
			v.passed = append(v.passed, name)
		} else {
			v.failed = append(v.failed, name)
		}
	}
	if complaint && len(v.passed)+len(v.failed) == 0 {
		v.failed = append(v.failed, "(diagnostic)")
	}
	slices.Sort(v.failed)
	v.failed = slices.Compact(v.failed)
	slices.Sort(v.passed)
	v.passed = slices.Compact(v.passed)
	return v
}

func TestParseTAP(t *testing.T) {
	for _, c := range []struct{ name, stream, failed, passed string }{
		{"points", "TAP version 13\nok 1 - a\nnot ok 2 - b\nnot ok 3 - b\n1..3\n", "b", "a"},
		{"skipped", "1..1\nok 1 # SKIP no such thing\n", "", ""},
		{"diagnostic alone", "TAP version 13\n  ---\n  {\n    \"error\": \"bad\"\n  }\n  ...\n1..0\n", "(diagnostic)", ""},
		{"diagnostic of a passed point", "ok 1 - a\n  ---\n  {\n    \"error\": \"exit status 1\"\n  }\n  ...\n1..1\n", "", "a"},
		{"empty diagnostic", "  {\n    \"error\": \"\",\n  }\n1..0\n", "", ""},
		{"volatile", "not ok 1 - in /tmp/ocitest123 715674a3-d579-4774-acfe-3c5b69f5af96\n", "in /tmp/* *", ""},
		{"nothing", "1..0\n", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := parseTAP(c.stream)
			if got := strings.Join(v.failed, "|"); got != c.failed {
				t.Errorf("failed %q, want %q", got, c.failed)
			}
			if got := strings.Join(v.passed, "|"); got != c.passed {
				t.Errorf("passed %q, want %q", got, c.passed)
			}
		})
	}
}
