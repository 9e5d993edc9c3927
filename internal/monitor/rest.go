package monitor

import (
	"bufio"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// restTime is how long after something has happened memory is given back again. One timer runs from the first event on, so that a program that prints all the time costs two collections a minute.
const restTime = 30 * time.Second

// stir says that something happens: code and memory are in use that were given back.
func (m *monitor) stir() {
	if m.stirred.Load() || !m.stirred.CompareAndSwap(false, true) {
		return
	}
	time.AfterFunc(restTime, func() {
		m.stirred.Store(false)
		rest()
	})
}

// settle gives back what a start has used, and makes the collector a tight one. What lives shorter is gone before that is worth anything.
func settle() {
	debug.SetGCPercent(25)
	rest()
}

// rest gives back the memory that is free, and this program's code and constants, which are the page cache's and come from there again when they are needed: of the five megabytes that a start runs
// through, what waits afterwards touches some hundred kilobytes.
func rest() {
	debug.FreeOSMemory()
	f, err := os.Open("/proc/self/smaps")
	if err != nil {
		return
	}
	defer f.Close()
	for _, r := range unchanged(bufio.NewScanner(f)) {
		_, _, _ = unix.Syscall(unix.SYS_MADVISE, r[0], r[1]-r[0], unix.MADV_DONTNEED)
	}
}

// unchanged returns from smaps (proc_pid_smaps(5)) where files are mapped, private and not to be written, and no page is this process's own: a page that the linker has changed would be lost.
func unchanged(s *bufio.Scanner) (out [][2]uintptr) {
	var at [2]uintptr
	for s.Scan() {
		f := strings.Fields(s.Text())
		if len(f) >= 3 && strings.Contains(f[0], "-") {
			at = [2]uintptr{}
			if len(f) == 6 && strings.HasPrefix(f[5], "/") && (f[1] == "r-xp" || f[1] == "r--p") {
				at = span(f[0])
			}
			continue
		}
		if len(f) == 3 && f[0] == "Anonymous:" && f[1] == "0" && at[1] > at[0] {
			out = append(out, at)
		}
	}
	return out
}

// span reads START-END.
func span(text string) (at [2]uintptr) {
	from, to, _ := strings.Cut(text, "-")
	for i, word := range []string{from, to} {
		n, err := strconv.ParseUint(word, 16, 64)
		if err != nil {
			return [2]uintptr{}
		}
		at[i] = uintptr(n)
	}
	return at
}
