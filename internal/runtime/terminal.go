package runtime

import (
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"golang.org/x/sys/unix"
)

// A terminal connects the caller's terminal, if there is one, with the pty of a process in the foreground.
type terminal struct {
	host   int // the caller's, -1 for none
	opened bool
	saved  *unix.Termios
	master int
}

// newTerminal finds the caller's terminal: one of its standard descriptors, or the controlling one. Without any, the pty has no size
// and nothing is set raw, which serves scripts.
func newTerminal() *terminal {
	t := &terminal{host: -1, master: -1}
	for _, fd := range []int{2, 1, 0} {
		if isTerminal(fd) {
			t.host = fd
			return t
		}
	}
	if fd, err := unix.Open("/dev/tty", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0); err == nil {
		t.host, t.opened = fd, true
	}
	return t
}

func isTerminal(fd int) bool {
	_, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	return err == nil
}

// attach takes the pty's master, before the process runs.
func (t *terminal) attach(master int) error {
	t.master = master
	// Newlines are mapped once, by the caller's terminal, which keeps its output processing (raw): what is not a terminal then gets
	// plain newlines.
	if tio, err := unix.IoctlGetTermios(master, unix.TCGETS); err == nil {
		tio.Oflag &^= unix.ONLCR
		_ = unix.IoctlSetTermios(master, unix.TCSETS, tio)
	}
	t.resize()
	return nil
}

// resize gives the pty the size of the caller's terminal.
func (t *terminal) resize() {
	if t.host < 0 || t.master < 0 {
		return
	}
	if size, err := unix.IoctlGetWinsize(t.host, unix.TIOCGWINSZ); err == nil && size.Row > 0 {
		_ = unix.IoctlSetWinsize(t.master, unix.TIOCSWINSZ, size)
	}
}

// raw hands every key to the container: cfmakeraw of termios(3), except for output processing.
func (t *terminal) raw() error {
	if t.host < 0 {
		return nil
	}
	saved, err := unix.IoctlGetTermios(t.host, unix.TCGETS)
	if err != nil {
		return errdef.Errorf(errdef.Internal, "read the terminal's settings: %w", err)
	}
	tio := *saved
	tio.Iflag &^= unix.IGNBRK | unix.BRKINT | unix.PARMRK | unix.ISTRIP | unix.INLCR | unix.IGNCR | unix.ICRNL | unix.IXON
	tio.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
	tio.Cflag = tio.Cflag&^(unix.CSIZE|unix.PARENB) | unix.CS8
	tio.Cc[unix.VMIN], tio.Cc[unix.VTIME] = 1, 0
	if err := unix.IoctlSetTermios(t.host, unix.TCSETS, &tio); err != nil {
		return errdef.Errorf(errdef.Internal, "set the terminal raw: %w", err)
	}
	t.saved = saved
	return nil
}

// close gives the caller's terminal back as it was.
func (t *terminal) close() {
	if t.saved != nil {
		_ = unix.IoctlSetTermios(t.host, unix.TCSETS, t.saved)
		t.saved = nil
	}
	if t.opened {
		unix.Close(t.host)
		t.opened = false
	}
}
