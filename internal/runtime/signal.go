package runtime

import (
	"strconv"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"golang.org/x/sys/unix"
)

// Real-time signals as C libraries count them: the kernel's first two, 32 and 33, are used by the threads of glibc and musl (signal(7)).
const (
	signalRTMin = 34
	signalRTMax = 64
)

// ParseSignal reads a signal: a number from 1 to 64, a name with or without SIG in any case, or RTMIN+n and RTMAX-n.
func ParseSignal(text string) (unix.Signal, error) {
	if n, err := strconv.Atoi(text); err == nil {
		if n < 0 || n > signalRTMax {
			return 0, errdef.Errorf(errdef.Invalid, "signal %d: there are signals 1 to %d", n, signalRTMax)
		}
		return unix.Signal(n), nil
	}
	name := strings.TrimPrefix(strings.ToUpper(text), "SIG")
	if sig := unix.SignalNum("SIG" + name); sig != 0 {
		return sig, nil
	}
	if sig, ok := realTime(name); ok {
		return sig, nil
	}
	return 0, errdef.Errorf(errdef.Invalid, "unknown signal %q", text)
}

// deadly reports whether a signal's default action is to end a process: signal(7), actions Term and Core. 0 only asks whether there is one.
func deadly(sig unix.Signal) bool {
	switch sig {
	case 0, unix.SIGCHLD, unix.SIGURG, unix.SIGWINCH, unix.SIGCONT, unix.SIGSTOP, unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU:
		return false
	}
	return true
}

// realTime reads RTMIN, RTMIN+n, RTMAX, RTMAX-n.
func realTime(name string) (unix.Signal, bool) {
	base, sign := signalRTMin, 1
	rest, ok := strings.CutPrefix(name, "RTMIN")
	if !ok {
		base, sign = signalRTMax, -1
		if rest, ok = strings.CutPrefix(name, "RTMAX"); !ok {
			return 0, false
		}
	}
	n := 0
	if rest != "" {
		prefix := "+"
		if sign < 0 {
			prefix = "-"
		}
		digits, ok := strings.CutPrefix(rest, prefix)
		var err error
		if n, err = strconv.Atoi(digits); !ok || err != nil || n < 0 {
			return 0, false
		}
	}
	n = base + sign*n
	return unix.Signal(n), n >= signalRTMin && n <= signalRTMax
}
