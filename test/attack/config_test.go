package attack

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/bulkhead-engine/bulkhead/bench/dockerbundle"
)

// hostile are values of the wrong type or of a monstrous size; each takes the place of every value of a configuration in turn.
var hostile = []string{
	`null`, `-1`, `1e400`, `99999999999999999999`, `0.5`, `true`, `""`, `"\u0000"`, `"\ud800"`, `[]`, `{}`, `[[]]`, `{"":{}}`,
	`"../../../../.."`, "\"\x1b]0;x\x07\"", "\"\xff\xfe\"", `"` + strings.Repeat("A", 70000) + `"`,
}

// TestHostileConfig mutates a configuration some hundred times. Whatever is in it, `create` either works or says in one line what
// is wrong, names the field if a value has the wrong type, does not crash, and leaves nothing. Commands run in namespaces of
// their own, since a mutation may take away those of the container.
func TestHostileConfig(t *testing.T) {
	prove(t, func(t *testing.T, p *program) string {
		b := newBundle(t, "/bin/true")
		b.spec.Linux.Seccomp = &specs.LinuxSeccomp{DefaultAction: "SCMP_ACT_ALLOW", Syscalls: []specs.LinuxSyscall{
			{Names: []string{"acct"}, Action: "SCMP_ACT_ERRNO", Args: []specs.LinuxSeccompArg{{Index: 0, Value: 1, Op: "SCMP_CMP_EQ"}}},
		}}
		limit := int64(100)
		b.spec.Linux.Resources.Pids = &specs.LinuxPids{Limit: &limit}
		b.spec.Process.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Soft: 64, Hard: 64}}
		b.spec.Linux.Sysctl = map[string]string{"kernel.shm_rmid_forced": "1"}
		b.write(t, p)
		data, err := os.ReadFile(filepath.Join(b.dir, "config.json"))
		if err != nil {
			t.Fatal(err)
		}
		mutations := mutate(t, data)
		if p == careless { // it would work on the host's own mounts if it is let; three of them show that it crashes
			mutations = []mutation{{text: `{"linux":`}, {text: `{"root":7}`, field: "root"}, {text: `{}`}}
		}
		var reached []string
		accepted, tried, until := 0, 0, time.Now().Add(25*time.Second)
		for _, m := range mutations {
			if time.Now().After(until) || len(reached) == 12 {
				break
			}
			tried++
			reason, worked := p.createMutation(t, b, m)
			if worked {
				accepted++
			}
			if reason != "" {
				reached = append(reached, m.name+": "+reason)
			}
		}
		t.Logf("%d of %d mutations, %d accepted", tried, len(mutations), accepted)
		if p == target && accepted < tried/20 {
			reached = append(reached, fmt.Sprintf("only %d of %d mutations were accepted: the base is refused, and nothing is tested", accepted, tried))
		}
		return strings.Join(reached, "\n")
	})
}

// createMutation creates a container from a mutated configuration. It returns what is wrong with the answer, and whether the
// mutation was accepted.
func (p *program) createMutation(t *testing.T, b *bundle, m mutation) (reason string, accepted bool) {
	t.Helper()
	writeFile(t, filepath.Join(b.dir, "config.json"), m.text, 0o600)
	id := newID()
	out, code := p.isolated(t, "create", "--bundle", b.dir, id)
	if code == 0 {
		p.remove(t, id)
		return "", true
	}
	if reason := badMessage(out); reason != "" {
		return fmt.Sprintf("%s: %.300s", reason, out), false
	}
	if m.field != "" && !strings.Contains(strings.ToLower(out), strings.ToLower(m.field)) {
		return fmt.Sprintf("the message does not name %s: %.300s", m.field, out), false
	}
	if _, err := os.Stat(filepath.Join(p.root, id)); err == nil {
		return fmt.Sprintf("a refused container left its state: %.300s", out), false
	}
	return "", false
}

// badMessage says what is wrong with an error message: it has to be one line of text (a second one may be a hint).
func badMessage(out string) string {
	lines := strings.Split(strings.TrimSpace(out), "\n")
	switch {
	case strings.Contains(out, "goroutine ") || strings.Contains(out, "panic:") || strings.Contains(out, "SIGSEGV"):
		return "crash"
	case strings.TrimSpace(out) == "":
		return "no message"
	case len(lines) > 2 || (len(lines) == 2 && !strings.Contains(lines[1], "hint")):
		return "more than one line"
	case len(out) > 4096:
		return fmt.Sprintf("%d bytes of message", len(out))
	case strings.ContainsAny(out, "\x00\x1b\x07") || !utf8.ValidString(out):
		return "control characters"
	}
	return ""
}

func (p *program) isolated(t *testing.T, args ...string) (string, int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := p.command(ctx, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Unshareflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC | syscall.CLONE_NEWNET,
	}
	return p.finish(t, cmd)
}

type mutation struct {
	name, text string
	field      string // not empty: the value has the wrong type, and the message has to name this field
}

// mutate replaces, removes and doubles values all over a document. Which hostile value meets which place changes from place to
// place, so that some hundred mutations cover all values and all places.
func mutate(t *testing.T, document []byte) []mutation {
	t.Helper()
	list := []mutation{
		{name: "empty"},
		{name: "not JSON", text: "\x7fELF"},
		{name: "only a number", text: "1"},
		{name: "cut", text: string(document[:len(document)/2])},
		{name: "deep", text: strings.Repeat("[", 100000)},
		{name: "deep object", text: strings.Repeat(`{"a":`, 100000)},
		{name: "two documents", text: string(document) + "{}"},
		{name: "nul bytes", text: strings.Repeat("\x00", 4096)},
		{name: "list of lists", text: `{"mounts":` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + `}`, field: "mounts"},
	}
	var tree any
	if err := json.Unmarshal(document, &tree); err != nil {
		t.Fatal(err)
	}
	const hole = `"@@hole@@"`
	n := 0
	walk(tree, "", func(path string, set func(any), old any, remove func()) {
		keep := func() string {
			data, err := json.Marshal(tree)
			if err != nil {
				t.Fatal(err)
			}
			return string(data)
		}
		for range 4 {
			value := hostile[n%len(hostile)]
			n++
			set("@@hole@@")
			m := mutation{name: fmt.Sprintf("%s = %.40q", path, value), text: strings.Replace(keep(), hole, value, 1)}
			if wrongType(old, value) {
				m.field = lastKey(path)
			}
			list = append(list, m)
			set(old)
		}
		if remove != nil {
			remove()
			list = append(list, mutation{name: path + " removed", text: keep()})
			set(old)
		}
	})
	return list
}

// walk visits every value of a decoded document; set changes it in place, and remove takes it out of its object.
func walk(v any, path string, visit func(path string, set func(any), old any, remove func())) {
	switch v := v.(type) {
	case map[string]any:
		keys := make([]string, 0, len(v))
		for k := range v {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		for _, k := range keys {
			old := v[k]
			visit(path+"."+k, func(n any) { v[k] = n }, old, func() { delete(v, k) })
			walk(old, path+"."+k, visit)
		}
	case []any:
		for i := range v[:min(len(v), 2)] { // two of a kind are enough
			old := v[i]
			visit(fmt.Sprintf("%s[%d]", path, i), func(n any) { v[i] = n }, old, nil)
			walk(old, fmt.Sprintf("%s[%d]", path, i), visit)
		}
	}
}

// wrongType says whether the replacement cannot be decoded in place of the old value, whatever the field allows.
func wrongType(old any, value string) bool {
	switch old.(type) {
	case string:
		return strings.ContainsAny(value[:1], "-019t[{")
	case map[string]any:
		return strings.ContainsAny(value[:1], "-019t[\"")
	case []any:
		return strings.ContainsAny(value[:1], "-019t{\"")
	case float64:
		return strings.ContainsAny(value[:1], "t[{\"") || value == "1e400" || value == "0.5"
	}
	return false
}

// lastKey returns the name of the field: "linux.namespaces[0]" gives "namespaces".
func lastKey(path string) string {
	key := path[strings.LastIndexByte(path, '.')+1:]
	key, _, _ = strings.Cut(key, "[")
	if strings.ContainsAny(path, "/") || key == "shm_rmid_forced" {
		return "sysctl" // its keys have dots in them
	}
	return key
}

// TestFullStateRoot: there is no room, or there are no descriptors, for the runtime's own state. It says so in one line, and
// nothing stays.
func TestFullStateRoot(t *testing.T) {
	prove(t, func(t *testing.T, p *program) string {
		b := newBundle(t, "/bin/true")
		b.write(t, p)
		for size := 0; size <= 10; size++ { // pages that are free on a file system of a few inodes
			if reached := p.createOnTiny(t, b, size); reached != "" {
				return fmt.Sprintf("%d free pages: %s", size, reached)
			}
		}
		return ""
	})
}

// createOnTiny makes a container with its state on a tmpfs that has only so many pages, and half as many inodes, left.
func (p *program) createOnTiny(t *testing.T, b *bundle, pages int) string {
	t.Helper()
	root := filepath.Join(work, fmt.Sprintf("tiny-%s-%d", p.name, pages))
	if err := os.MkdirAll(root, 0o700); err != nil {
		t.Fatal(err)
	}
	options := fmt.Sprintf("size=%dk,nr_inodes=%d", 4*max(pages, 1), 2+pages/2)
	if err := syscall.Mount("tmpfs", root, "tmpfs", 0, options); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := syscall.Unmount(root, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
		_ = os.Remove(root)
	}()
	if pages == 0 {
		_ = os.WriteFile(filepath.Join(root, "filler"), bytes.Repeat([]byte("x"), 4096), 0o600)
	}
	tiny := *p
	tiny.root = root
	id := newID()
	out, code := tiny.call(t, "create", "--bundle", b.dir, id)
	if code == 0 {
		if out, code := tiny.call(t, "delete", "--force", id); code != 0 {
			return "delete on a full file system: " + out
		}
		return ""
	}
	if reason := badMessage(out); reason != "" {
		return fmt.Sprintf("%s: %.500s", reason, out)
	}
	if _, err := os.Stat(filepath.Join(root, id)); err == nil {
		return fmt.Sprintf("a container that was not created left its state: %s", out)
	}
	if p == target {
		if left := leftovers(patience); len(left) > 0 {
			return fmt.Sprintf("left behind: %v", left)
		}
	}
	return ""
}

// TestFewDescriptors runs create with too few descriptors, from none at all to enough.
func TestFewDescriptors(t *testing.T) {
	prove(t, func(t *testing.T, p *program) string {
		b := newBundle(t, "/bin/true")
		b.write(t, p)
		for n := 3; n <= 32; n++ {
			id := newID()
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			script := fmt.Sprintf(`ulimit -n %d; exec "$0" "$@"`, n)
			cmd := p.command(ctx)
			cmd.Path = dockerbundle.Busybox
			cmd.Args = []string{"sh", "-c", script, p.path, "--root", p.root, "create", "--bundle", b.dir, id}
			out, code := p.finish(t, cmd)
			cancel()
			if code == 0 {
				p.remove(t, id)
				continue
			}
			if reason := badMessage(out); reason != "" {
				return fmt.Sprintf("%d descriptors: %s: %.500s", n, reason, out)
			}
			if _, err := os.Stat(filepath.Join(p.root, id)); err == nil {
				return fmt.Sprintf("%d descriptors: a container that was not created left its state: %s", n, out)
			}
		}
		return ""
	})
}
