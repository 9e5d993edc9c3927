package apparmor

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/atomicfile"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"golang.org/x/sys/unix"
)

// parserTime bounds the parser: a profile takes it 0.1 s, and a hostile specification must not keep a create for ever.
const parserTime = 20 * time.Second

const (
	maxCached = 512     // compiled profiles that are kept
	maxBlob   = 4 << 20 // bytes of one
)

// cacheMagic begins a compiled profile on disk: the text follows, NUL, then what the kernel takes. It changes with what is asked of the parser.
const cacheMagic = "bulkhead apparmor 1\n"

// parsers are where apparmor_parser is looked for. PATH is the caller's, and not asked.
var parsers = []string{"/usr/sbin/apparmor_parser", "/sbin/apparmor_parser", "/usr/bin/apparmor_parser", "/run/current-system/sw/bin/apparmor_parser"}

// A compiler makes of text what the kernel loads.
type compiler struct {
	cache    string // directory, ours alone
	features string // the kernel's, as a directory or file
	parser   string // "": not installed
}

func hostCompiler() *compiler {
	c := &compiler{cache: "/var/cache/bulkhead/apparmor", features: "/sys/kernel/security/apparmor/features"}
	for _, path := range parsers {
		if unix.Access(path, unix.X_OK) == nil {
			c.parser = path
			break
		}
	}
	return c
}

// entry names a compiled profile: the same kernel has the same features.
func (c *compiler) entry(name string, d Dialect) string {
	var u unix.Utsname
	_ = unix.Uname(&u)
	h := uint64(14695981039346656037)
	for _, b := range [][]byte{u.Release[:], u.Version[:], []byte(cacheMagic), {byte(d)}} {
		for _, x := range b {
			h = (h ^ uint64(x)) * 1099511628211
		}
	}
	return name + "." + strconv.FormatUint(h, 16)
}

// get returns the compiled profile, from the cache or from the parser. weaker allows what an old parser can do.
func (c *compiler) get(ctx context.Context, p *Policy, name string, weaker bool) ([]byte, error) {
	dialects := []Dialect{Modern}
	if weaker {
		dialects = append(dialects, Legacy)
	}
	for _, d := range dialects {
		if b := c.find(name, p.Text(name, d), d); b != nil {
			return b, nil
		}
	}
	if c.parser == "" {
		err := errdef.Errorf(errdef.Unsupported, "apparmor profile %s: apparmor_parser is not installed, and %s has no compiled form of it", name, c.cache)
		return nil, errdef.WithHint(err, "install the package apparmor, or copy that directory from a host with the same kernel")
	}
	d, err := c.speaks(ctx)
	if err != nil {
		return nil, err
	}
	if d == Legacy && !weaker && !p.request.Default {
		err := errdef.Errorf(errdef.Unsupported, "apparmor profile %s: the apparmor_parser of this host is older than 4, and cannot confine what files are written", name)
		return nil, errdef.WithHint(err, "install AppArmor 4, or add the word best-effort")
	}
	text := p.Text(name, d)
	out, err := c.compile(ctx, text)
	if err != nil {
		return nil, errdef.Errorf(errdef.KindOf(err), "apparmor profile %s: %w", name, err)
	}
	c.keep(name, text, d, out)
	return out, nil
}

// dir opens the cache, and makes it if need be: -1 if it cannot be trusted.
func (c *compiler) dir() int {
	const flags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	fd, err := unix.Open(c.cache, flags, 0)
	if err == unix.ENOENT && os.MkdirAll(filepath.Dir(c.cache), 0o755) == nil && unix.Mkdir(c.cache, 0o700) == nil {
		fd, err = unix.Open(c.cache, flags, 0)
	}
	if err != nil {
		return -1
	}
	if !ours(fd) {
		unix.Close(fd)
		return -1
	}
	return fd
}

// ours reports whether nobody but the effective user can write a file.
func ours(fd int) bool {
	var st unix.Stat_t
	return unix.Fstat(fd, &st) == nil && st.Uid == uint32(unix.Geteuid()) && st.Mode&0o022 == 0
}

// find returns the compiled form of exactly this text, nil if there is none.
func (c *compiler) find(name, text string, d Dialect) []byte {
	dir := c.dir()
	if dir < 0 {
		return nil
	}
	defer unix.Close(dir)
	fd, err := unix.Openat(dir, c.entry(name, d), unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil
	}
	f := os.NewFile(uintptr(fd), c.entry(name, d))
	defer f.Close()
	st, err := f.Stat()
	if err != nil || !st.Mode().IsRegular() || st.Size() > maxBlob || !ours(fd) {
		return nil
	}
	b := make([]byte, st.Size())
	if _, err := f.ReadAt(b, 0); err != nil {
		return nil
	}
	head := cacheMagic + text + "\x00"
	if !bytes.HasPrefix(b, []byte(head)) || len(b) == len(head) {
		return nil
	}
	return b[len(head):]
}

// keep keeps a compiled profile. That it cannot be kept costs time, and nothing else.
func (c *compiler) keep(name, text string, d Dialect, blob []byte) {
	dir := c.dir()
	if dir < 0 {
		return
	}
	defer unix.Close(dir)
	b := append([]byte(cacheMagic+text+"\x00"), blob...)
	if atomicfile.WriteAt(dir, c.entry(name, d), b, atomicfile.Options{}) == nil {
		c.trim()
	}
}

// trim removes what was made first when there is too much.
func (c *compiler) trim() {
	list, err := os.ReadDir(c.cache)
	if err != nil || len(list) <= maxCached {
		return
	}
	type aged struct {
		name string
		at   time.Time
	}
	var all []aged
	for _, e := range list {
		if info, err := e.Info(); err == nil {
			all = append(all, aged{e.Name(), info.ModTime()})
		}
	}
	sort.Slice(all, func(i, j int) bool { return all[i].at.Before(all[j].at) })
	for _, e := range all[:max(len(all)-maxCached*3/4, 0)] {
		_ = os.Remove(filepath.Join(c.cache, e.name))
	}
}

// speaks asks the parser for its version.
func (c *compiler) speaks(ctx context.Context) (Dialect, error) {
	out, err := c.run(ctx, "", "--version")
	if err != nil {
		return Legacy, err
	}
	_, version, ok := strings.Cut(string(out), "version ")
	major, _, _ := strings.Cut(version, ".")
	n, err := strconv.Atoi(major)
	if !ok || err != nil {
		return Legacy, errdef.Errorf(errdef.Unsupported, "%s --version: %.128q has no version", c.parser, out)
	}
	if n < 4 {
		return Legacy, nil
	}
	return Modern, nil
}

// compile has text compiled for the kernel's features, whatever the host's configuration of the parser says.
func (c *compiler) compile(ctx context.Context, text string) ([]byte, error) {
	tmp, err := os.CreateTemp("", "bulkhead-apparmor-*")
	if err != nil {
		return nil, errdef.Errorf(errdef.Internal, "temporary file: %w", err)
	}
	defer os.Remove(tmp.Name())
	defer tmp.Close()
	_, err = c.run(ctx, text, "--config-file", "/dev/null", "--policy-features", c.features, "--kernel-features", c.features,
		"--quiet", "--skip-kernel-load", "--skip-cache", "--ofile", tmp.Name())
	if err != nil {
		return nil, err
	}
	b, err := os.ReadFile(tmp.Name())
	if err == nil && (len(b) == 0 || len(b) > maxBlob) {
		err = errdef.Errorf(errdef.Internal, "apparmor_parser wrote %d bytes", len(b))
	}
	return b, err
}

func (c *compiler) run(ctx context.Context, stdin string, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, parserTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, c.parser, args...)
	cmd.Env, cmd.Dir = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"}, "/"
	cmd.Stdin, cmd.WaitDelay = strings.NewReader(stdin), time.Second
	var out, problems bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problems
	err := cmd.Run()
	if ctx.Err() != nil {
		return nil, errdef.Errorf(errdef.Timeout, "apparmor_parser: %w", context.Cause(ctx))
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return nil, errdef.Errorf(errdef.Internal, "apparmor_parser: %w: %.512s", err, bytes.TrimSpace(problems.Bytes()))
	}
	return out.Bytes(), err
}
