package command

import (
	"strings"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/ocijson"
	"golang.org/x/sys/unix"
)

// A logger writes lines to standard error and to a file. The zero value writes text to standard error.
type logger struct {
	fd    int // of --log; 0: none
	json  bool
	debug bool
}

// open opens the log file for appending; "" is none.
func (l *logger) open(path string) error {
	if path == "" {
		return nil
	}
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_CREAT|unix.O_APPEND|unix.O_CLOEXEC, 0o644)
	if err != nil {
		return errdef.Errorf(errdef.Denied, "open log %q: %w", path, err)
	}
	l.fd = fd
	return nil
}

func (l *logger) close() {
	if l.fd > 0 {
		unix.Close(l.fd)
		l.fd = 0
	}
}

// fail logs the error that ends the command.
func (l *logger) fail(err error) { l.line("error", message(err)) }

// warn logs what went wrong and ended nothing.
func (l *logger) warn(err error) { l.line("warning", message(err)) }

// longest bounds a message, in bytes: values of a configuration stand in it, and whoever wrote that chose their length.
const longest = 2048

func message(err error) string {
	text := shorten(err.Error())
	if hint := errdef.Hint(err); hint != "" {
		text += " (hint: " + shorten(hint) + ")"
	}
	return text
}

// shorten cuts a long text in the middle: what went wrong stands at both ends.
func shorten(text string) string {
	if len(text) <= longest {
		return text
	}
	const cut = " ... "
	half := (longest - len(cut)) / 2
	return strings.ToValidUTF8(text[:half], "") + cut + strings.ToValidUTF8(text[len(text)-half:], "")
}

// line writes one message. With a log file, standard error gets what people read; without one, it is the log.
func (l *logger) line(level, text string) {
	if l.fd > 0 {
		writeAll(l.fd, l.format(level, text))
	}
	switch {
	case l.fd > 0 && level == "debug":
	case l.fd == 0 && l.json:
		writeAll(2, l.format(level, text))
	case level == "error":
		writeAll(2, []byte(Name+": "+printable(text)+"\n"))
	default:
		writeAll(2, []byte(Name+": "+level+": "+printable(text)+"\n"))
	}
}

// format makes a line of the log, in the two forms that logrus has and callers parse.
func (l *logger) format(level, text string) []byte {
	now := time.Now().Format(time.RFC3339)
	if l.json {
		dst := append(ocijson.AppendString([]byte(`{"level":`), level), `,"msg":`...)
		dst = append(ocijson.AppendString(dst, text), `,"time":`...)
		return append(ocijson.AppendString(dst, now), "}\n"...)
	}
	dst := append([]byte(`time="`+now+`" level=`+level+` msg=`), ocijson.AppendString(nil, text)...)
	return append(dst, '\n')
}

// printable replaces control characters: an error may quote what an image says.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\t' && r != '\n' || r >= 0x7f && r < 0xa0 {
			return '?'
		}
		return r
	}, strings.TrimRight(text, "\n"))
}

// writeAll writes in one call where it can, so that lines of several programs in one log stay whole.
func writeAll(fd int, data []byte) {
	for len(data) > 0 {
		n, err := unix.Write(fd, data)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return
		}
		data = data[n:]
	}
}
