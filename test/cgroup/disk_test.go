package cgroup

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// diskFile makes two files of that size, a and b, in a directory on a disk.
func diskFile(t *testing.T, size int) string {
	t.Helper()
	dir, err := os.MkdirTemp(work, "disk-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if _, ok := diskOf(dir); !ok {
		cannot(t, "%s is not on a disk", dir)
	}
	block := make([]byte, 1<<20)
	for i := range block {
		block[i] = byte(i)
	}
	for _, name := range []string{"a", "b"} {
		f, err := os.Create(filepath.Join(dir, name))
		for n := 0; err == nil && n < size; n += len(block) {
			_, err = f.Write(block)
		}
		if err == nil {
			err = f.Sync()
		}
		if err == nil { // out of the page cache, so that whoever reads first pays
			err = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
		}
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	return dir
}

func (b *box) mountDisk(dir string) {
	b.spec.Mounts = append(b.spec.Mounts, specs.Mount{Destination: "/disk", Type: "bind", Source: dir, Options: []string{"bind", "rw"}})
}

// diskOf is the number of the whole disk that a directory is on.
func diskOf(dir string) (dev [2]int64, ok bool) {
	var st syscall.Stat_t
	if err := syscall.Stat(dir, &st); err != nil {
		return dev, false
	}
	number := itoa(int(unix.Major(st.Dev))) + ":" + itoa(int(unix.Minor(st.Dev)))
	link, err := os.Readlink("/sys/dev/block/" + number)
	if err != nil {
		return dev, false
	}
	if exists("/sys/dev/block/" + number + "/partition") {
		data, _ := os.ReadFile(filepath.Join("/sys/dev/block", filepath.Dir(link), "dev"))
		number = strings.TrimSpace(string(data))
	}
	major, minor, _ := strings.Cut(number, ":")
	dev[0], _ = strconv.ParseInt(major, 10, 64)
	dev[1], _ = strconv.ParseInt(minor, 10, 64)
	return dev, true
}

// moved reads the answer of the load "disk".
func moved(t *testing.T, r result) (bytes, ms int64) {
	t.Helper()
	words := strings.Fields(r.out)
	if r.code != 0 || len(words) != 2 {
		t.Fatalf("exit status %d: %s%s", r.code, r.out, r.err)
	}
	return number(words[0]), max(number(words[1]), 1)
}

// TestIOMax: throughput past the page cache stays within the limit, which the same load exceeds many times when it is taken away. The kernel
// lets the first slice through at once, hence the tolerance.
func TestIOMax(t *testing.T) {
	dir := diskFile(t, 8*mib)
	dev, _ := diskOf(dir)
	each(t, func(t *testing.T, d driver) {
		throttle := func(rate uint64) []specs.LinuxThrottleDevice {
			l := specs.LinuxThrottleDevice{Rate: rate}
			l.Major, l.Minor = dev[0], dev[1]
			return []specs.LinuxThrottleDevice{l}
		}
		b := newBox(t, d, "sleep")
		b.mountDisk(dir)
		b.res.BlockIO = &specs.LinuxBlockIO{ThrottleReadBpsDevice: throttle(512 << 10), ThrottleWriteIOPSDevice: throttle(40)}
		b.up()
		rates := func() (read, writes float64) {
			t.Helper()
			n, ms := moved(t, b.exec("disk", "/disk/a", "read", "65536", "2000"))
			read = float64(n) / float64(ms) * 1000
			n, ms = moved(t, b.exec("disk", "/disk/b", "write", "4096", "2000"))
			return read, float64(n/4096) / float64(ms) * 1000
		}
		if d == units {
			reload(t)
		}
		read, writes := rates()
		if read > 1.4*512*1024 || read < 0.4*512*1024 || writes > 1.4*40 || writes < 0.4*40 {
			t.Errorf("read %.0f bytes/s, want 524288; %.1f writes/s, want 40", read, writes)
		}
		if r := b.update(&specs.LinuxResources{BlockIO: &specs.LinuxBlockIO{ThrottleReadBpsDevice: throttle(0), ThrottleWriteIOPSDevice: throttle(0)}}); r.code != 0 {
			t.Fatal(r.err)
		}
		if freeRead, freeWrites := rates(); freeRead < 2*read || freeWrites < 2*writes {
			t.Errorf("without the limits: %.0f bytes/s, %.1f writes/s, hardly more than %.0f and %.1f", freeRead, freeWrites, read, writes)
		}
	})
}

// TestIOWeight: Docker's weights, 10 to 1000, go as they are to BFQ and by a line through both ends to io.weight.
func TestIOWeight(t *testing.T) {
	if !unified {
		t.Skip("v1 is in the specification's suite")
	}
	each(t, func(t *testing.T, d driver) {
		for weight, want := range map[uint16]string{10: "default 1", 500: "default 4950", 1000: "default 10000"} {
			b := newBox(t, d, "sleep")
			b.res.BlockIO = &specs.LinuxBlockIO{Weight: &weight}
			b.up()
			if b.file("io.bfq.weight") != "" {
				if got := b.value("io.bfq.weight"); got != itoa(int(weight)) && got != "default "+itoa(int(weight)) {
					t.Errorf("io.bfq.weight %q, want %d", got, weight)
				}
			} else if got := b.value("io.weight"); got != want {
				t.Errorf("weight %d: io.weight %q, want %q", weight, got, want)
			}
			b.ok("delete", "--force", b.id)
		}
		for _, weight := range []uint16{9, 1001} {
			b := newBox(t, d, "sleep")
			b.res.BlockIO = &specs.LinuxBlockIO{Weight: &weight}
			b.refused("linux.resources.blockIO.weight", itoa(int(weight)))
		}
	})
}
