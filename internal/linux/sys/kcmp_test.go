package sys

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

func TestSameDescription(t *testing.T) {
	one, err := os.Create(t.TempDir() + "/file")
	if err != nil {
		t.Fatal(err)
	}
	defer one.Close()
	two, err := os.Open(one.Name())
	if err != nil {
		t.Fatal(err)
	}
	defer two.Close()
	dup, err := unix.Dup(int(one.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(dup)
	if !SameDescription(int(one.Fd()), dup) || SameDescription(int(one.Fd()), int(two.Fd())) || SameDescription(int(one.Fd()), -1) {
		t.Error("a duplicate is the same, a file opened twice is not, and what is closed is nothing")
	}
}
