package runtime

import (
	"os/exec"
	"os/signal"
	"syscall"
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

// TestDeadly asks the kernel what each signal does to a process that has no handlers. Those that stop it are undone.
func TestDeadly(t *testing.T) {
	for sig := unix.Signal(1); sig <= signalRTMax; sig++ {
		if signal.Ignored(sig) { // by nohup(1), say; the process would inherit it
			continue
		}
		cmd := exec.Command("sleep", "60")
		cmd.Dir = t.TempDir() // for a core file
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		if !deadly(sig) { // had it ended the process, its status would say so
			_ = cmd.Process.Signal(unix.SIGCONT)
			_ = cmd.Process.Kill()
		}
		_ = cmd.Wait()
		ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
		want := sig
		if !deadly(sig) {
			want = unix.SIGKILL
		}
		if !ok || !ws.Signaled() || ws.Signal() != want {
			t.Errorf("signal %d: deadly is %v, and the process ended with %+v", sig, deadly(sig), cmd.ProcessState)
		}
	}
	if deadly(0) {
		t.Error("0 ends nothing")
	}
}
