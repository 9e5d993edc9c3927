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
