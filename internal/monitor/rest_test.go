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

// resident is what of this program's code is in memory of this process, in KiB.
func resident(t *testing.T) int {
	t.Helper()
	b, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		t.Skip(err)
	}
	code := false
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		switch {
		case len(f) == 6 && f[1] == "r-xp" && strings.HasPrefix(f[5], "/"):
			code = true
		case code && f[0] == "Rss:":
			n, err := strconv.Atoi(f[1])
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Skip("no code in smaps")
	return 0
}

// TestRest: the code goes, and comes again for whoever runs it, the one that looks at it included.
func TestRest(t *testing.T) {
	for range 20 {
		rest()
		if n := resident(t); n == 0 {
			t.Fatal("nobody runs")
		}
	}
	least := resident(t)
	for range 20 {
		rest()
		least = min(least, resident(t))
	}
	if least > 1200 {
		t.Errorf("%d KiB of code after a rest", least)
	}
}
