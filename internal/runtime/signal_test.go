package runtime

import (
	"testing"

	"golang.org/x/sys/unix"
)

func TestParseSignal(t *testing.T) {
	for text, want := range map[string]unix.Signal{
		"9": 9, "KILL": 9, "SIGKILL": 9, "kill": 9, "sigkill": 9, "0": 0, "64": 64, "TERM": 15, "SIGUSR1": unix.SIGUSR1, "WINCH": unix.SIGWINCH,
		"RTMIN": 34, "SIGRTMIN+3": 37, "rtmin+30": 64, "RTMAX": 64, "SIGRTMAX-14": 50,
	} {
		got, err := ParseSignal(text)
		if err != nil || got != want {
			t.Errorf("%q gives %d, %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "SIG", "NOPE", "-1", "65", "SIGSIGKILL", "RTMIN+31", "RTMAX+1", "RTMIN-1", "RTMIN+", "9 ", "RTMAX-31", "999999999999999999999"} {
		if got, err := ParseSignal(text); err == nil {
			t.Errorf("%q gives %d", text, got)
		}
	}
}
