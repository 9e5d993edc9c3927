package state

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/atomicfile"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/cgroup"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// TestMain fails when a test leaves a descriptor open.
func TestMain(m *testing.M) {
	_, _ = Identify(os.Getpid())         // opens /proc for good
	_, _ = exec.Command("true").Output() // has the Go runtime open its poller
	before := descriptors()
	code := m.Run()
	if after := descriptors(); code == 0 && after > before {
		println("descriptors: before", before, "after", after)
		code = 1
	}
	os.Exit(code)
}

func descriptors() int {
	entries, _ := os.ReadDir("/proc/self/fd")
	return len(entries)
}

func newStore(t *testing.T) *Store {
	t.Helper()
	s, err := Open(filepath.Join(t.TempDir(), "a", "root"), true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func claim(t *testing.T, s *Store, id string) *Dir {
	t.Helper()
	d, crashed, err := s.Claim(context.Background(), id)
	if err != nil || crashed != nil {
		t.Fatalf("claim %s: %v, %v", id, crashed, err)
	}
	t.Cleanup(d.Close)
	return d
}

func save(t *testing.T, d *Dir, phase Phase) {
	t.Helper()
	if err := d.Save(&Record{ID: d.ID, Phase: phase}); err != nil {
		t.Fatal(err)
	}
}

func TestValidID(t *testing.T) {
	for _, id := range []string{"a", "A-1_b+c.d", ".hidden", "...", "-f", strings.Repeat("x", maxID)} {
		if err := ValidID(id); err != nil {
			t.Errorf("%q: %v", id, err)
		}
	}
	for _, id := range []string{"", ".", "..", "a/b", "../a", "a b", "a\n", "ä", "a\x00", "~a", "a:b", strings.Repeat("x", maxID+1)} {
		if err := ValidID(id); !errdef.Is(err, errdef.Invalid) {
			t.Errorf("%q: %v", id, err)
		}
	}
}

func TestOpenRoot(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "root")
	if _, err := Open(path, false); !errdef.Is(err, errdef.NotFound) {
		t.Errorf("a missing root: %v", err)
	}
	s, err := Open(path, true)
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o700 {
		t.Errorf("the root was made as %v, %v", st.Mode(), err)
	}
	for _, mode := range []os.FileMode{0o770, 0o702, 0o777 | os.ModeSticky} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(path, true); !errdef.Is(err, errdef.Denied) {
			t.Errorf("a root of mode %v: %v", mode, err)
		}
	}
	if err := os.Chmod(path, 0o711); err != nil {
		t.Fatal(err)
	}
	if s, err = Open(path, true); err != nil {
		t.Errorf("mode 0711: %v", err)
	} else {
		s.Close()
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(link, true); !errdef.Is(err, errdef.Denied) {
		t.Errorf("a link as root: %v", err)
	}
	if _, err := Open("/", true); !errdef.Is(err, errdef.Invalid) {
		t.Errorf("/ as root: %v", err)
	}
	if os.Geteuid() == 0 {
		if err := os.Chown(path, 12345, 12345); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(path, true); !errdef.Is(err, errdef.Denied) {
			t.Errorf("somebody else's root: %v", err)
		}
	}
}

func TestRecord(t *testing.T) {
	s := newStore(t)
	d := claim(t, s, "web")
	if _, err := d.Load(); !errdef.Is(err, errdef.NotFound) {
		t.Errorf("no record yet: %v", err)
	}
	timeout := 3
	want := &Record{
		ID: "web", Phase: Complete, Made: time.Date(2026, 1, 2, 3, 4, 5, 678, time.UTC), OCIVersion: "1.3.0", Bundle: "/b", Rootfs: "/b/r",
		Annotations: map[string]string{"k": "v\n"}, Init: Process{7, 1 << 40}, Owner: 1000, CgroupMade: true, OwnPIDs: true, Rootless: true,
		Cgroup: &cgroup.Record{Mode: cgroup.V2, Dirs: []cgroup.RecordDir{{Mount: "/sys/fs/cgroup", Path: "web"}}},
		RDT:    &RDT{Path: "/sys/fs/resctrl/web", Made: true, Monitor: "/m"},
		Hooks:  &specs.Hooks{Poststop: []specs.Hook{{Path: "/x", Args: []string{"x"}, Timeout: &timeout}}},
	}
	if err := d.Save(want); err != nil {
		t.Fatal(err)
	}
	got, err := d.Load()
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v\nwant %+v", got, err, want)
	}
	if err := d.SaveConfig([]byte(`{"ociVersion":"1.3.0","hostname":"h"}`)); err != nil {
		t.Fatal(err)
	}
	if spec, err := d.Config(); err != nil || spec.Hostname != "h" {
		t.Errorf("got %+v, %v", spec, err)
	}
	for _, name := range []string{journalName} {
		if st, err := os.Stat(filepath.Join(d.Path, name)); err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, st, err)
		}
	}
}

// TestOddRecords makes sure that what stands in the place of a record is neither followed nor waited for nor believed.
func TestOddRecords(t *testing.T) {
	other := filepath.Join(t.TempDir(), "other")
	if err := os.WriteFile(other, entry(AppendRecord(nil, &Record{ID: "web", Phase: Complete})), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, put := range map[string]func(path string) error{
		"link":    func(path string) error { return os.Symlink(other, path) },
		"fifo":    func(path string) error { return unix.Mkfifo(path, 0o600) },
		"dir":     func(path string) error { return os.Mkdir(path, 0o700) },
		"garbage": func(path string) error { return os.WriteFile(path, []byte("{\n"), 0o600) },
		"foreign": func(path string) error { return os.WriteFile(path, entry(AppendRecord(nil, &Record{ID: "db"})), 0o600) },
		"json":    func(path string) error { return os.WriteFile(path, AppendRecord(nil, &Record{ID: "web"}), 0o600) },
		"head":    func(path string) error { return os.WriteFile(path, []byte("record -1\n\n"), 0o600) },
		"length":  func(path string) error { return os.WriteFile(path, []byte("record 2\n{}}\n"), 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			d := claim(t, newStore(t), "web")
			if err := put(filepath.Join(d.Path, journalName)); err != nil {
				t.Fatal(err)
			}
			if r, err := d.Load(); err == nil || errdef.Is(err, errdef.NotFound) {
				t.Errorf("loaded %+v, %v", r, err)
			}
		})
	}
}

func TestClaim(t *testing.T) {
	ctx := context.Background()
	s := newStore(t)
	d := claim(t, s, "web")
	save(t, d, Creating)
	if _, _, err := s.Claim(ctx, "web"); !errdef.Is(err, errdef.Exists) {
		t.Errorf("a create at work: %v", err)
	}
	d.Close() // as if killed
	d, crashed, err := s.Claim(ctx, "web")
	if err != nil || crashed == nil || crashed.ID != "web" {
		t.Fatalf("after a killed create: %v, %v", crashed, err)
	}
	save(t, d, Complete)
	d.Close()
	if _, _, err := s.Claim(ctx, "web"); !errdef.Is(err, errdef.Exists) {
		t.Errorf("a complete container: %v", err)
	}
	if err := os.Mkdir(filepath.Join(s.Root, "empty"), 0o700); err != nil { // killed after mkdir
		t.Fatal(err)
	}
	claim(t, s, "empty")
	if err := os.WriteFile(filepath.Join(s.Root, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Claim(ctx, "file"); err == nil {
		t.Error("claimed a file")
	}
	if err := os.Symlink(d.Path, filepath.Join(s.Root, "link")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Claim(ctx, "link"); err == nil {
		t.Error("claimed a link")
	}
	if _, err := s.Dir("link"); err == nil {
		t.Error("followed a link")
	}
	if ids, err := s.IDs(); err != nil || strings.Join(ids, " ") != "empty web" {
		t.Errorf("ids: %q, %v", ids, err)
	}
}

// TestLockAfterRemoval waits for the lock of a container that is removed, and made anew, meanwhile.
func TestLockAfterRemoval(t *testing.T) {
	s := newStore(t)
	d := claim(t, s, "web")
	save(t, d, Complete)
	got := make(chan error, 1)
	go func() {
		other, err := s.Lock(context.Background(), "web", atomicfile.Shared)
		if err == nil {
			other.Close()
		}
		got <- err
	}()
	time.Sleep(20 * time.Millisecond)
	if err := d.Remove(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(d.Path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("still there: %v", err)
	}
	second := claim(t, s, "web")
	save(t, second, Complete)
	if err := d.Remove(); err != nil { // must not touch the new one
		t.Fatal(err)
	}
	if _, err := second.Load(); err != nil {
		t.Errorf("the new container suffered: %v", err)
	}
	d.Close()
	if err := <-got; !errdef.Is(err, errdef.NotFound) {
		t.Errorf("a lock of what is gone: %v", err)
	}
}

func TestLockTimeout(t *testing.T) {
	s := newStore(t)
	claim(t, s, "web")
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if _, err := s.Lock(ctx, "web", atomicfile.Exclusive); !errdef.Is(err, errdef.Timeout) || errdef.Hint(err) == "" {
		t.Errorf("got %v", err)
	}
}

// TestContenders lets many claim, lock and remove one name. Nobody may hold it beside somebody else, and nothing may be left.
func TestContenders(t *testing.T) {
	s := newStore(t)
	var holders, claimed atomic.Int32
	hold := func(d *Dir) {
		if n := holders.Add(1); n != 1 {
			t.Errorf("%d hold the lock", n)
		}
		time.Sleep(100 * time.Microsecond)
		holders.Add(-1)
	}
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			for j := range 20 {
				var d *Dir
				var err error
				switch (i + j) % 3 {
				case 0, 1:
					if d, _, err = s.Claim(context.Background(), "web"); err == nil {
						claimed.Add(1)
						if _, lerr := d.Load(); !errdef.Is(lerr, errdef.NotFound) {
							t.Errorf("claimed somebody else's: %v", lerr)
						}
						hold(d)
						err = d.Save(&Record{ID: "web", Phase: Complete})
					}
				case 2:
					if d, err = s.Lock(context.Background(), "web", atomicfile.Exclusive); err == nil {
						hold(d)
						err = d.Remove()
					}
				}
				if d != nil {
					d.Close()
				}
				if err != nil && !errdef.Is(err, errdef.Exists) && !errdef.Is(err, errdef.NotFound) && !errdef.Is(err, errdef.Conflict) {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if claimed.Load() < 2 {
		t.Errorf("claimed %d times", claimed.Load())
	}
	if d, err := s.Lock(context.Background(), "web", atomicfile.Exclusive); err == nil {
		if err := d.Remove(); err != nil {
			t.Error(err)
		}
		d.Close()
	}
	if entries, err := os.ReadDir(s.Root); err != nil || len(entries) != 0 {
		t.Errorf("left: %v, %v", entries, err)
	}
}

func TestProcess(t *testing.T) {
	cmd := exec.Command("sleep", "100")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p, err := Identify(cmd.Process.Pid)
	if err != nil || !p.Alive() {
		t.Fatalf("%+v, %v", p, err)
	}
	reused := Process{p.PID, p.StartTime - 1}
	if reused.Alive() {
		t.Error("a pid that was used again is taken for the process")
	}
	if _, err := reused.Open(); !errdef.Is(err, errdef.NotFound) {
		t.Errorf("opened a pid that was used again: %v", err)
	}
	fd, err := p.Open()
	if err != nil {
		t.Fatal(err)
	}
	if err := fd.Signal(unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := fd.Await(context.Background()); err != nil {
		t.Fatal(err)
	}
	fd.Close()
	if p.Alive() {
		t.Error("a zombie is alive")
	}
	_ = cmd.Wait()
	if p.Alive() {
		t.Error("alive after its end")
	}
	if _, err := p.Open(); !errdef.Is(err, errdef.NotFound) {
		t.Errorf("opened what has ended: %v", err)
	}
	if (Process{}).Alive() {
		t.Error("none is alive")
	}
}

// TestKilledHolder makes sure that the lock of a killed program is free at once.
func TestKilledHolder(t *testing.T) {
	if root := os.Getenv("STATE_TEST_HOLD"); root != "" {
		s, err := Open(root, true)
		if err != nil {
			t.Fatal(err)
		}
		d, _, err := s.Claim(context.Background(), "web")
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Save(&Record{ID: "web", Phase: Creating}); err != nil {
			t.Fatal(err)
		}
		os.Stdout.WriteString("held\n")
		time.Sleep(time.Hour) // until it is killed: with nothing to wait for the Go runtime would end it, as a deadlock
	}
	s := newStore(t)
	cmd := exec.Command(os.Args[0], "-test.run=^TestKilledHolder$")
	cmd.Env = append(os.Environ(), "STATE_TEST_HOLD="+s.Root)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line := make([]byte, 5)
	if _, err := io.ReadFull(out, line); err != nil || string(line) != "held\n" {
		t.Fatalf("%q %v", line, err)
	}
	d, err := s.Dir("web")
	if err != nil {
		t.Fatal(err)
	}
	if d.Idle() {
		t.Error("nobody holds the lock of pid " + strconv.Itoa(cmd.Process.Pid))
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if !d.Idle() {
		t.Error("a killed program holds the lock")
	}
	d.Close()
	d, crashed, err := s.Claim(context.Background(), "web")
	if err != nil || crashed == nil {
		t.Fatalf("%v, %v", crashed, err)
	}
	d.Close()
}

// entry is a record as it stands in a journal.
func entry(record []byte) []byte {
	return append(append([]byte("record "+strconv.Itoa(len(record))+"\n"), record...), '\n')
}

// TestCutShort cuts the journal at every byte: the entries before the cut count, and what is added later is read again.
func TestCutShort(t *testing.T) {
	d := claim(t, newStore(t), "web")
	for _, phase := range []Phase{Creating, Complete} {
		if err := d.Save(&Record{ID: "web", Phase: phase}); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(d.Path, journalName)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	first := len(entry(AppendRecord(nil, &Record{ID: "web", Phase: Creating})))
	for n := range len(whole) {
		if err := os.WriteFile(path, whole[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := d.Load()
		switch {
		case n < first && !errdef.Is(err, errdef.NotFound):
			t.Fatalf("cut at %d of %d: %+v, %v", n, first, r, err)
		case n >= first && (err != nil || r.Phase != Creating):
			t.Fatalf("cut at %d behind %d: %+v, %v", n, first, r, err)
		}
		again := &Dir{ID: d.ID, Path: d.Path, fd: d.fd, root: d.root}
		if err := again.Save(&Record{ID: "web", Phase: Complete, Bundle: "/mended"}); err != nil {
			t.Fatalf("add after a cut at %d: %v", n, err)
		}
		unix.Close(again.out)
		if r, err := d.Load(); err != nil || r.Bundle != "/mended" {
			t.Fatalf("after a cut at %d: %+v, %v", n, r, err)
		}
	}
}

// TestIdleKeepsLock asks a Dir that has the lock, which must not cost it.
func TestIdleKeepsLock(t *testing.T) {
	s := newStore(t)
	d := claim(t, s, "web")
	save(t, d, Creating)
	if !d.Idle() {
		t.Error("the holder takes itself for another")
	}
	other, err := s.Dir("web")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if !other.Busy() || other.Idle() {
		t.Error("the question gave the lock away")
	}
	d.Unlock()
	if other.Busy() || !other.Idle() {
		t.Error("the lock is held after Unlock")
	}
}

// TestFresh is a claim whose directory was removed and made by somebody else between mkdir and the lock.
func TestFresh(t *testing.T) {
	s := newStore(t)
	for _, phase := range []Phase{Creating, Complete} {
		d := claim(t, s, string(phase))
		save(t, d, phase)
		d.Close()
		if d, err := s.fresh(context.Background(), string(phase)); !errdef.Is(err, errdef.NotFound) {
			t.Errorf("somebody else's container, %s, was claimed: %v, %v", phase, d, err)
		}
		if d, err := s.Dir(string(phase)); err != nil || d.Busy() {
			t.Errorf("%s: the lock was kept, %v", phase, err)
		} else {
			d.Close()
		}
	}
}
