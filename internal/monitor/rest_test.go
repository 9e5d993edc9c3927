package monitor

import (
	"bufio"
	"os"
	"strconv"
	"strings"
	"testing"
)

// smaps are three mappings as the kernel shows them, of which only the first may be given back.
const smaps = `00400000-006a8000 r-xp 00000000 fe:00 10282174                           /usr/bin/bulkhead-monitor
Rss:                2720 kB
Anonymous:             0 kB
VmFlags: rd ex mr mw me
006a8000-00950000 r--p 002a8000 fe:00 10282174                           /usr/bin/bulkhead-monitor
Anonymous:             4 kB
00950000-0096d000 rw-p 00550000 fe:00 10282174                           /usr/bin/bulkhead-monitor
Anonymous:             0 kB
0096d000-0096e000 r--p 00000000 00:00 0
Anonymous:             0 kB
7f0000000000-7f0000001000 r--s 00000000 fe:00 7                          /etc/x
Anonymous:             0 kB
7feeada25000-7feeada27000 r-xp 00000000 00:00 0                          [vdso]
Anonymous:             0 kB
`

func TestUnchanged(t *testing.T) {
	got := unchanged(bufio.NewScanner(strings.NewReader(smaps)))
	if len(got) != 1 || got[0] != [2]uintptr{0x400000, 0x6a8000} {
		t.Errorf("%x", got)
	}
}

// code is where this program's code is, and what of it is in memory of this process, in KiB.
func code(t *testing.T) (at [2]uintptr, resident int) {
	t.Helper()
	b, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		t.Skip(err)
	}
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		switch {
		case at[1] == 0 && len(f) == 6 && f[1] == "r-xp" && strings.HasPrefix(f[5], "/"):
			at = span(f[0])
		case at[1] != 0 && f[0] == "Rss:":
			if resident, err = strconv.Atoi(f[1]); err != nil {
				t.Fatal(err)
			}
			return at, resident
		}
	}
	t.Skip("no code in smaps")
	return at, 0
}

// TestRest: the code goes, and comes again for whoever runs it, the one that looks at it included.
func TestRest(t *testing.T) {
	at, _ := code(t)
	mem, err := os.Open("/proc/self/mem")
	if err != nil {
		t.Fatal(err)
	}
	defer mem.Close()
	all := make([]byte, at[1]-at[0])
	for range 20 {
		if _, err := mem.ReadAt(all, int64(at[0])); err != nil { // which brings all of it into this process's memory
			t.Fatal(err)
		}
		_, before := code(t)
		rest()
		if _, after := code(t); after == 0 || after > before*2/3 {
			t.Errorf("%d KiB of code after a rest, %d before", after, before)
		}
	}
}
