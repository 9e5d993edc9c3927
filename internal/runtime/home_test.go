package runtime

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// What an image has as /etc/passwd is not opened unless it is a file: to open a device does what its driver does then.
func TestOnlyAFileIsOpenedAsPasswd(t *testing.T) {
	root := t.TempDir()
	passwd := filepath.Join(root, "etc", "passwd")
	if err := os.Mkdir(filepath.Dir(passwd), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(passwd, 0o644); err != nil {
		t.Fatal(err)
	}
	watch, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(watch)
	if _, err := unix.InotifyAddWatch(watch, passwd, unix.IN_OPEN); err != nil {
		t.Fatal(err)
	}
	if home := homeInRoot(root, 0); home != "/" {
		t.Errorf("the home directory is %q", home)
	}
	if n, err := unix.Read(watch, make([]byte, 256)); err != unix.EAGAIN {
		t.Errorf("the FIFO was opened: %d bytes of events, %v", n, err)
	}
	if err := os.Remove(passwd); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(passwd, []byte("x:x:7:7::/home/x:\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if home := homeInRoot(root, 7); home != "/home/x" {
		t.Errorf("the home directory is %q", home)
	}
}

func TestCompleteEnv(t *testing.T) {
	for _, test := range []struct{ env, want []string }{
		{nil, []string{"HOME=/passwd"}},
		{[]string{"A=1", "HOME=/own"}, []string{"A=1", "HOME=/own"}},
		{[]string{"HOME=", "A=1"}, []string{"A=1", "HOME=/passwd"}},
		{[]string{"HOME=/own", "HOME="}, []string{"HOME=/passwd"}},
		{[]string{"HOME=", "HOME=/own"}, []string{"HOME=/own"}},
		{[]string{"A=1", "B=2", "A=3", "HOMER=x"}, []string{"B=2", "A=3", "HOMER=x", "HOME=/passwd"}},
		{[]string{"A=", "A=1", "A="}, []string{"A=", "HOME=/passwd"}},
		{[]string{"A=b=c", "A=b=d"}, []string{"A=b=d", "HOME=/passwd"}},
	} {
		before := slices.Clone(test.env)
		got := completeEnv(test.env, func() string { return "/passwd" })
		if !slices.Equal(got, test.want) {
			t.Errorf("%q gives %q, want %q", test.env, got, test.want)
		}
		if !slices.Equal(test.env, before) {
			t.Errorf("%q has become %q", before, test.env)
		}
	}
}
