package conformance

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

// busyboxRoot is a root file system made of Debian's busybox-static: every applet in /bin, the
// accounts root and nobody, empty mount points. Sorted, with fixed times: the same bytes each time.
var busyboxRoot = sync.OnceValues(func() ([]byte, error) {
	program, err := os.ReadFile("/bin/busybox")
	if err != nil {
		return nil, err
	}
	applets, err := exec.Command("/bin/busybox", "--list").Output()
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	epoch := time.Unix(0, 0)
	add := func(h tar.Header, content string) {
		h.Size, h.ModTime, h.Format = int64(len(content)), epoch, tar.FormatPAX
		if err == nil {
			err = w.WriteHeader(&h)
		}
		if err == nil {
			_, err = w.Write([]byte(content))
		}
	}
	for _, dir := range []string{"./", "./bin/", "./dev/", "./etc/", "./home/", "./proc/", "./root/", "./sys/", "./usr/", "./usr/bin/", "./var/"} {
		add(tar.Header{Typeflag: tar.TypeDir, Name: dir, Mode: 0o755}, "")
	}
	add(tar.Header{Typeflag: tar.TypeDir, Name: "./tmp/", Mode: 0o1777}, "")
	add(tar.Header{Typeflag: tar.TypeReg, Name: "./bin/busybox", Mode: 0o755}, string(program))
	for applet := range strings.FieldsSeq(string(applets)) {
		if applet != "busybox" {
			add(tar.Header{Typeflag: tar.TypeSymlink, Name: "./bin/" + applet, Linkname: "busybox", Mode: 0o777}, "")
		}
	}
	add(tar.Header{Typeflag: tar.TypeReg, Name: "./etc/passwd", Mode: 0o644},
		"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/home:/bin/false\n")
	add(tar.Header{Typeflag: tar.TypeReg, Name: "./etc/group", Mode: 0o644}, "root:x:0:\nnogroup:x:65534:\n")
	if err == nil {
		err = w.Close()
	}
	return out.Bytes(), err
})

// busyboxTar returns busyboxRoot, or says what is missing.
func busyboxTar(t testing.TB) []byte {
	t.Helper()
	if !exists("/bin/busybox") {
		missing(t, "/bin/busybox is not installed (Debian: busybox-static)")
	}
	root, err := busyboxRoot()
	if err != nil {
		t.Fatal(err)
	}
	return root
}

func gzipped(t testing.TB, data []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}
