package spec

import (
	"slices"
	"strings"
	"syscall"
	"testing"
)

// A mountLine is a line of /proc/PID/mountinfo.
type mountLine struct {
	root, fs    string
	attr, super []string // options of the mount and of the superblock
	tags        []string // propagation: shared:N, master:N, unbindable
}

func (m mountLine) has(option string) bool { return slices.Contains(m.attr, option) }

func (m mountLine) hasSuper(option string) bool { return slices.Contains(m.super, option) }

// propagation names the kinds of propagation, without numbers.
func (m mountLine) propagation() string {
	var names []string
	for _, tag := range m.tags {
		name, _, _ := strings.Cut(tag, ":")
		names = append(names, name)
	}
	return strings.Join(names, " ")
}

// mountsOf reads mountinfo, by mount point. The last mount on a point counts, as it is the one that is seen.
func mountsOf(t *testing.T, text string) map[string]mountLine {
	t.Helper()
	m := map[string]mountLine{}
	for line := range strings.Lines(text) {
		before, after, ok := strings.Cut(strings.TrimSpace(line), " - ")
		f, g := strings.Fields(before), strings.Fields(after)
		if !ok || len(f) < 6 || len(g) < 3 {
			t.Fatalf("no line of mountinfo: %q", line)
		}
		m[f[4]] = mountLine{root: f[3], attr: strings.Split(f[5], ","), tags: f[6:], fs: g[0], super: strings.Split(g[2], ",")}
	}
	return m
}

// mounts runs the bundle and returns its mounts.
func (b *box) mounts() map[string]mountLine {
	b.t.Helper()
	b.spec.Process.Args = []string{"cat", "/proc/self/mountinfo"}
	return mountsOf(b.t, b.output())
}

// hostMount mounts a tmpfs in the bundle for the time of a test.
func (b *box) hostMount(name string, flags uintptr) string {
	b.t.Helper()
	dir := b.makeDir(name)
	b.must(syscall.Mount("spec", dir, "tmpfs", flags, "mode=755"))
	b.t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			b.t.Errorf("unmount %s: %v", dir, err)
			_ = syscall.Unmount(dir, syscall.MNT_DETACH)
		}
	})
	return dir
}

// propagate changes the propagation of a mount of the test's own.
func (b *box) propagate(dir string, flags uintptr) {
	b.t.Helper()
	b.must(syscall.Mount("", dir, "", flags, ""))
}
