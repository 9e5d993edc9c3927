package bundle

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/lsm"
)

// Validate checks a spec against runtime-spec 1.3 and the Linux kernel's limits. The error is of kind [errdef.Invalid], names the
// field, and has a hint.
func Validate(spec *specs.Spec) error { return check(spec).err }

// Warnings returns what is odd in a valid spec and accepted all the same, a sentence each.
func Warnings(spec *specs.Spec) []string { return check(spec).warnings }

// ValidateProcess checks a process by itself.
func ValidateProcess(p *specs.Process) error {
	c := &checker{spec: &specs.Spec{Process: p}}
	c.process(p)
	return c.err
}

// checker walks a spec and keeps the first error.
type checker struct {
	spec     *specs.Spec
	err      error
	warnings []string
}

// check runs all checks.
func check(spec *specs.Spec) *checker {
	c := &checker{spec: spec}
	if spec == nil {
		c.bad("config", "write an object with ociVersion, root and process", "want a configuration, found none")
		return c
	}
	c.version(spec.Version)
	c.root(spec.Root)
	if spec.Process == nil {
		c.bad("process", "say what to run: {\"args\": [\"sh\"], \"cwd\": \"/\"}", "is missing")
		return c
	}
	c.process(spec.Process)
	if spec.Linux != nil {
		c.namespaces(spec.Linux) // the others ask which there are
	}
	c.uts()
	for i := range spec.Mounts {
		c.mount(i, &spec.Mounts[i])
	}
	if len(spec.Mounts) > maxMounts {
		c.bad("mounts", "mount one directory that holds the others", "want at most %d, found %d", maxMounts, len(spec.Mounts))
	}
	c.hooks(spec.Hooks)
	if _, empty := spec.Annotations[""]; empty {
		c.bad("annotations", "drop it, or name it", "want keys that are not empty")
	}
	c.ours(spec.Annotations)
	if l := spec.Linux; l != nil {
		c.linux(l)
	}
	c.identity()
	return c
}

// ours checks the annotations that are Bulkhead's own.
func (c *checker) ours(annotations map[string]string) {
	var wrong string
	for key, value := range annotations {
		if err := lsm.CheckAnnotation(key, value); err != nil && (wrong == "" || key < wrong) && (c.err == nil || wrong != "") {
			c.err, wrong = err, key
		}
	}
}

// bad records an error: the field, the way out, and what is wrong. The first stays.
func (c *checker) bad(field, hint, format string, args ...any) {
	if c.err == nil {
		c.err = invalid(field, hint, format, args...)
	}
}

// maxWarnings is how many sentences a spec can make us print.
const maxWarnings = 32

func (c *checker) warn(field, format string, args ...any) {
	if len(c.warnings) == maxWarnings {
		c.warnings = append(c.warnings, "further warnings are left out")
	}
	if len(c.warnings) > maxWarnings {
		return
	}
	c.warnings = append(c.warnings, field+": "+fmt.Sprintf(format, args...))
}

// invalid makes the error for a field. Field names may hold '%' of keys, and so are escaped.
func invalid(field, hint, format string, args ...any) error {
	return errdef.WithHint(errdef.Errorf(errdef.Invalid, strings.ReplaceAll(field, "%", "%%")+": "+format, args...), hint)
}

// fieldAt is the name of an array's element.
func fieldAt(field string, i int) string { return field + "[" + strconv.Itoa(i) + "]" }

// fieldKey is the name of a map's element.
func fieldKey(field, key string) string { return field + "[" + strconv.QuoteToASCII(key) + "]" }

// cstring refuses a NUL byte: the kernel would take what stands before it, and checks would have seen all of it.
func (c *checker) cstring(field, s string) {
	if strings.IndexByte(s, 0) >= 0 {
		c.bad(field, "remove the NUL byte", "holds a NUL byte: %q", s)
	}
}

func (c *checker) cstrings(field string, list []string) {
	for i, s := range list {
		if strings.IndexByte(s, 0) >= 0 {
			c.cstring(fieldAt(field, i), s)
		}
	}
}

// line refuses what would be more than one line of a kernel file.
func (c *checker) line(field, s string) {
	c.cstring(field, s)
	if strings.ContainsAny(s, "\n\r") {
		c.bad(field, "write one line", "holds a line break: %q", s)
	}
}

// absolute refuses a path that is not absolute, the empty one included.
func (c *checker) absolute(field, path string) {
	c.cstring(field, path)
	if !strings.HasPrefix(path, "/") {
		c.bad(field, "begin the path with /", "want an absolute path, found %q", path)
	}
}

// oneOf refuses a value that is not in the list.
func oneOf[T ~string](c *checker, field string, v T, known []T) bool {
	if slices.Contains(known, v) {
		return true
	}
	names := make([]string, len(known))
	for i, k := range known {
		names[i] = string(k)
	}
	c.bad(field, "it is one of "+strings.Join(names, ", "), "%q is not known", string(v))
	return false
}

// intRange refuses a number outside low..high.
func intRange[T ~int | ~int32 | ~int64 | ~uint32 | ~uint64](c *checker, field string, v, low, high T) {
	if v < low || v > high {
		c.bad(field, fmt.Sprintf("it goes from %d to %d", low, high), "%d is out of range", v)
	}
}

// version wants a semantic version of major 1 (config.md, Specification version).
func (c *checker) version(v string) {
	const hint = `write "ociVersion": "1.3.0"`
	if v == "" {
		c.bad("ociVersion", hint, "is missing")
		return
	}
	major, minor, ok := semver(v)
	switch {
	case !ok:
		c.bad("ociVersion", hint, "want a version like 1.3.0, found %q", v)
	case major != specs.VersionMajor:
		c.bad("ociVersion", hint, "want version 1 of the specification, found %q", v)
	case minor > specs.VersionMinor:
		c.warn("ociVersion", "%q is newer than %s, and properties that it adds are ignored", v, specs.Version)
	}
}

// semver takes a semantic version apart (semver.org, 2.0.0).
func semver(v string) (major, minor int, ok bool) {
	v, build, hasBuild := strings.Cut(v, "+")
	core, pre, hasPre := strings.Cut(v, "-")
	if hasBuild && !identifiers(build) || hasPre && !identifiers(pre) {
		return 0, 0, false
	}
	parts := strings.Split(core, ".")
	if len(parts) != 3 {
		return 0, 0, false
	}
	var n [3]int
	for i, p := range parts {
		if p == "" || len(p) > 9 || len(p) > 1 && p[0] == '0' || strings.Trim(p, "0123456789") != "" {
			return 0, 0, false
		}
		n[i], _ = strconv.Atoi(p)
	}
	return n[0], n[1], true
}

// identifiers reports whether s is a list of names of letters, digits and hyphens with dots between them.
func identifiers(s string) bool {
	for part := range strings.SplitSeq(s, ".") {
		if part == "" || strings.ContainsFunc(part, func(r rune) bool { return !alphanumeric(r) && r != '-' }) {
			return false
		}
	}
	return true
}

func alphanumeric(r rune) bool {
	return '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
}

func (c *checker) root(r *specs.Root) {
	const hint = `name the directory with the root file system: "root": {"path": "rootfs"}`
	if r == nil {
		c.bad("root", hint, "is missing")
		return
	}
	if r.Path == "" {
		c.bad("root.path", hint, "is missing")
	}
	c.cstring("root.path", r.Path)
}

// maxUTS is the longest host or domain name (__NEW_UTS_LEN, uname(2)).
const maxUTS = 64

// uts checks the names that live in a UTS namespace: without one they would rename the host.
func (c *checker) uts() {
	for _, f := range []struct{ field, name string }{{"hostname", c.spec.Hostname}, {"domainname", c.spec.Domainname}} {
		if f.name == "" {
			continue
		}
		c.line(f.field, f.name)
		if len(f.name) > maxUTS {
			c.bad(f.field, "shorten it", "want at most %d bytes, found %d", maxUTS, len(f.name))
		}
		if !c.has(specs.UTSNamespace) {
			c.bad(f.field, `add {"type": "uts"} to linux.namespaces`, "needs a UTS namespace, or it would rename the host")
		}
	}
}

// has reports whether the container has a namespace of its own of that kind, new or joined.
func (c *checker) has(t specs.LinuxNamespaceType) bool {
	_, ok := c.namespace(t)
	return ok
}

// namespace returns the path of the namespace to join, "" for a new one.
func (c *checker) namespace(t specs.LinuxNamespaceType) (path string, ok bool) {
	if c.spec.Linux == nil {
		return "", false
	}
	for _, ns := range c.spec.Linux.Namespaces {
		if ns.Type == t {
			return ns.Path, true
		}
	}
	return "", false
}

// hooks checks the lists of hooks (config.md, POSIX-platform Hooks).
func (c *checker) hooks(h *specs.Hooks) {
	if h == nil {
		return
	}
	//nolint:staticcheck // prestart is deprecated, and still what containers use
	lists := []struct {
		field string
		hooks []specs.Hook
	}{
		{"hooks.prestart", h.Prestart},
		{"hooks.createRuntime", h.CreateRuntime},
		{"hooks.createContainer", h.CreateContainer},
		{"hooks.startContainer", h.StartContainer},
		{"hooks.poststart", h.Poststart},
		{"hooks.poststop", h.Poststop},
	}
	for _, l := range lists {
		for i, hook := range l.hooks {
			field := fieldAt(l.field, i)
			c.absolute(field+".path", hook.Path)
			c.cstrings(field+".args", hook.Args)
			c.env(field+".env", hook.Env)
			if hook.Timeout != nil && *hook.Timeout <= 0 {
				c.bad(field+".timeout", "write seconds, or drop it for no limit", "want more than 0, found %d", *hook.Timeout)
			}
		}
	}
}
