package lsm

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bulkhead-engine/bulkhead/internal/selinux"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// enforcing skips a test where SELinux does not enforce a policy with container_t.
func enforcing(t *testing.T) {
	t.Helper()
	mode, _ := os.ReadFile("/sys/fs/selinux/enforce")
	forBoot(t, "selinux", string(mode) == "1")
}

// allocate gives a container the labels that the engine would give it for --security-opt label=VALUE.
func allocate(t *testing.T, id string, values ...string) selinux.Labels {
	t.Helper()
	o, err := selinux.ParseOptions(values)
	if err != nil {
		t.Fatal(err)
	}
	pool, err := selinux.OpenPool(filepath.Join(work, "categories"))
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	l, err := pool.Allocate(t.Context(), id, o)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// relabel is what :z and :Z behind a volume do.
func relabel(t *testing.T, path, label string, shared bool) {
	t.Helper()
	if done, err := selinux.Relabel(t.Context(), path, selinux.Volume{Label: label, Shared: shared}); err != nil || done.Unsupported {
		t.Fatalf("%+v, %v", done, err)
	}
}

// labelled makes a container with labels of its own: its image, its process and its mounts.
func labelled(t *testing.T, values ...string) *box {
	t.Helper()
	b := newBox(t)
	b.labels = allocate(t, b.id, values...)
	b.spec.Process.SelinuxLabel, b.spec.Linux.MountLabel = b.labels.Process, b.labels.Mount
	relabel(t, filepath.Join(b.dir, "rootfs"), b.labels.Mount, b.labels.Level == "s0")
	return b
}

// bind shows a directory or file of the host to a container.
func (b *box) bind(source, destination string) {
	b.spec.Mounts = append(b.spec.Mounts, specs.Mount{Destination: destination, Type: "bind", Source: source, Options: []string{"bind"}})
}

// volume is a directory with a file in it, and the label that it has from where it was made.
func volume(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "volume")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "secret"), []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, mode := range map[string]os.FileMode{dir: 0o777, filepath.Join(dir, "secret"): 0o666} { // whatever the umask: labels alone keep out
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// A try is a command in a container and whether it shall succeed.
type try struct {
	command string
	ok      bool
}

func (b *box) try(who string, tries ...try) {
	b.t.Helper()
	for _, c := range tries {
		if r := b.exec("sh", "-c", c.command); c.ok != (r.code == 0) {
			b.t.Errorf("%s: %s: %d: %s", who, c.command, r.code, r.out)
		}
	}
}

// TestSELinuxVolumes: two containers, root with all capabilities, are kept from each other's files and from the host's by labels alone: a volume with :Z
// is for one, with :z for both, without either for none.
func TestSELinuxVolumes(t *testing.T) {
	enforcing(t)
	volumes := map[string]string{"/one": volume(t), "/two": volume(t), "/both": volume(t), "/host": volume(t)}
	boxes := map[string]*box{"/one": labelled(t), "/two": labelled(t)}
	relabel(t, volumes["/both"], boxes["/one"].labels.Mount, true)
	for own, b := range boxes {
		b.spec.Linux.MaskedPaths = []string{"/var"}
		relabel(t, volumes[own], b.labels.Mount, false)
		for destination, source := range volumes {
			b.bind(source, destination)
		}
	}
	if a, b := boxes["/one"].labels, boxes["/two"].labels; a.Level == b.Level || a.Process == b.Process || a.Mount == b.Mount {
		t.Fatalf("two containers have one level: %+v, %+v", a, b)
	}
	for own, b := range boxes {
		other := map[string]string{"/one": "/two", "/two": "/one"}[own]
		b.start("sleep", "1000")
		if got := b.initLabel(); got != b.labels.Process {
			t.Errorf("init is %q, want %q", got, b.labels.Process)
		}
		b.try(own,
			try{"cat " + own + "/secret && echo x >" + own + "/new", true},
			try{"cat /both/secret && echo x >/both/new" + own[1:], true},
			try{"cat " + other + "/secret", false},
			try{"ls " + other, false},
			try{"echo x >" + other + "/new", false},
			try{"chmod 600 " + other + "/secret", false},
			try{"cat /host/secret", false},
			try{"ls /host", false},
			try{"echo x >/host/new", false},
			try{"echo x >/dev/shm/x && cat /dev/shm/x && rm /dev/shm/x", true},
			try{"echo x >/dev/null && touch /etc/new /tmp/new /dev/new", true},
			try{"touch /dev/mqueue/queue && rm /dev/mqueue/queue", true},
			try{"ls /var", true},
			try{"cat /proc/self/attr/current >" + own + "/exec", true},
		)
		// A program that joins has the label of the first, and what it makes belongs to the container.
		if got, err := os.ReadFile(filepath.Join(volumes[own], "exec")); strings.TrimRight(string(got), "\x00\n") != b.labels.Process {
			t.Errorf("exec is %q, %v, want %q", got, err, b.labels.Process)
		}
		if got := fileLabel(t, filepath.Join(volumes[own], "new")); got != b.labels.Mount {
			t.Errorf("a new file is %q, want %q", got, b.labels.Mount)
		}
	}
	off := newBox(t)
	for destination, source := range volumes {
		off.bind(source, destination)
	}
	if r := off.sh("cat /one/secret /two/secret /both/secret /host/secret && echo x >/one/off && chmod 600 /two/secret && ls /host"); r.code != 0 {
		t.Errorf("without labels: %d: %s", r.code, r.out)
	}
}

// TestSELinuxRefused: a label that the policy does not have is one sentence, and nothing is started.
func TestSELinuxRefused(t *testing.T) {
	enforcing(t)
	b := labelled(t)
	b.spec.Process.SelinuxLabel = "system_u:system_r:no_such_t:s0"
	if r := b.sh("echo started"); r.code == 0 || strings.Contains(r.out, "started") || !strings.Contains(r.out, "no_such_t") || !strings.Contains(r.out, "hint") {
		t.Errorf("%d: %s", r.code, r.out)
	}
	// A type that exists, but for which no program of an image is an entry point.
	b = labelled(t, "type:container_engine_t")
	if r := b.sh("echo started"); r.code == 0 || strings.Contains(r.out, "started") || !strings.Contains(r.out, "SELinux must let the runtime become "+b.labels.Process) {
		t.Errorf("%d: %s", r.code, r.out)
	}
	b = labelled(t)
	b.spec.Linux.MountLabel = "system_u:object_r:no_such_file_t:s0"
	if r := b.sh("echo started"); r.code == 0 || strings.Contains(r.out, "started") || !strings.Contains(r.out, "no_such_file_t") {
		t.Errorf("%d: %s", r.code, r.out)
	}
}

// TestSELinuxDisable: with label=disable a container is what the policy makes of it, here what the test is, and no label keeps it from anything; its
// files are nobody else's.
func TestSELinuxDisable(t *testing.T) {
	enforcing(t)
	private, confined, free := volume(t), labelled(t), labelled(t, "disable")
	relabel(t, private, confined.labels.Mount, false)
	if free.labels.Process != "" || !strings.HasSuffix(free.labels.Mount, ":c1022,c1023") {
		t.Errorf("labels: %+v", free.labels)
	}
	free.bind(private, "/data")
	free.start("sleep", "1000")
	want, err := selinux.Unlabelled(free.labels.Mount)
	if got := free.initLabel(); got != want || err != nil {
		t.Errorf("init is %q, want %q, %v", got, want, err)
	}
	free.try("disable", try{"cat /data/secret && echo x >/data/new && ls /proc/1/root/", true})
	confined.bind(filepath.Join(free.dir, "rootfs"), "/data")
	confined.start("sleep", "1000")
	confined.try("another", try{"cat /data/bin/busybox", false}, try{"ls /data", false})
}

// TestSELinuxOptions: what label= asks for is what the processes and the files have; who asks for one level shares it.
func TestSELinuxOptions(t *testing.T) {
	enforcing(t)
	data := volume(t)
	first, second, third := labelled(t, "level:s0:c100,c200"), labelled(t, "level:s0:c100,c200", "type:container_kvm_t"), labelled(t)
	for _, c := range []struct{ got, want string }{
		{first.labels.Process, "system_u:system_r:container_t:s0:c100,c200"},
		{second.labels.Process, "system_u:system_r:container_kvm_t:s0:c100,c200"},
		{second.labels.Mount, "system_u:object_r:container_file_t:s0:c100,c200"},
		{allocate(t, "ro", "filetype:container_ro_file_t", "level:s0").Mount, "system_u:object_r:container_ro_file_t:s0"},
	} {
		if c.got != c.want {
			t.Errorf("label %q, want %q", c.got, c.want)
		}
	}
	relabel(t, data, first.labels.Mount, false)
	for _, b := range []*box{first, second, third} {
		b.bind(data, "/data")
		b.start("sleep", "1000")
		if got := b.initLabel(); got != b.labels.Process {
			t.Errorf("init is %q, want %q", got, b.labels.Process)
		}
		b.try(b.labels.Process, try{"cat /data/secret && echo x >/data/secret", b != third})
	}
	// Read-only by type: container_ro_file_t is what layers of images have.
	readonly := labelled(t)
	relabel(t, data, allocate(t, "layer", "filetype:container_ro_file_t", "level:s0:c1,c2").Mount, true)
	readonly.bind(data, "/data")
	readonly.start("sleep", "1000")
	readonly.try("read-only", try{"cat /data/secret", true}, try{"echo x >/data/secret", false}, try{"rm /data/secret", false})
}

// initLabel is the label of the container's first process, as the host sees it: the container may not write into the test's pipe.
func (b *box) initLabel() string {
	b.t.Helper()
	var state struct{ Pid int }
	if err := json.Unmarshal([]byte(b.command("state", b.id).out), &state); err != nil {
		b.t.Fatal(err)
	}
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/attr/current", state.Pid))
	if err != nil {
		b.t.Fatal(err)
	}
	return strings.TrimRight(string(data), "\x00\n")
}
