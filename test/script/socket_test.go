package script

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// receiveFD listens on a socket and takes one descriptor: SOCKET FILE [TEXT]. It writes the name that came along to FILE. If the descriptor is a
// terminal's master, it types TEXT and adds what comes back; if it is a pidfd, it adds the pid.
func receiveFD(args []string) error {
	l, err := net.Listen("unix", args[0])
	if err != nil {
		return err
	}
	defer l.Close()
	_ = l.(*net.UnixListener).SetDeadline(time.Now().Add(20 * time.Second))
	conn, err := l.Accept()
	if err != nil {
		return err
	}
	defer conn.Close()
	buf, oob := make([]byte, 4096), make([]byte, unix.CmsgSpace(4))
	n, oobn, _, _, err := conn.(*net.UnixConn).ReadMsgUnix(buf, oob)
	if err != nil {
		return err
	}
	msgs, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil || len(msgs) != 1 {
		return fmt.Errorf("control messages: %d, %v", len(msgs), err)
	}
	fds, err := unix.ParseUnixRights(&msgs[0])
	if err != nil || len(fds) != 1 {
		return fmt.Errorf("descriptors: %v, %v", fds, err)
	}
	out, err := os.Create(args[1])
	if err != nil {
		return err
	}
	defer out.Close()
	fmt.Fprintf(out, "name %s\n", buf[:n])
	if _, err := unix.IoctlGetTermios(fds[0], unix.TCGETS); err != nil {
		info, err := os.ReadFile("/proc/self/fdinfo/" + strconv.Itoa(fds[0]))
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(info)) {
			if strings.HasPrefix(line, "Pid:") {
				fmt.Fprintf(out, "pid %s\n", strings.TrimSpace(line[4:]))
			}
		}
		return nil
	}
	master := os.NewFile(uintptr(fds[0]), "master")
	defer master.Close()
	if len(args) > 2 {
		if _, err := master.WriteString(args[2] + "\n"); err != nil {
			return err
		}
	}
	_, err = io.Copy(out, master)
	if errors.Is(err, syscall.EIO) { // the last one let go of the terminal
		err = nil
	}
	return err
}

// onPTY runs a program with a terminal of 33 rows and 77 columns as its standard streams: [-resize] PROGRAM ARG... Standard input is typed, and
// what the terminal shows goes to standard output. With -resize the terminal becomes 44 by 88 as soon as it shows READY. Afterwards
// it says whether the terminal's settings are as they were.
func onPTY(args []string) error {
	resize := args[0] == "-resize"
	if resize {
		args = args[1:]
	}
	master, slave, err := openPTY()
	if err != nil {
		return err
	}
	defer master.Close()
	before, err := unix.IoctlGetTermios(int(slave.Fd()), unix.TCGETS)
	if err != nil {
		return err
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	shown := make(chan string, 1)
	go func() {
		var all strings.Builder
		buf := make([]byte, 4096)
		for {
			n, err := master.Read(buf)
			all.Write(buf[:n])
			if resize && strings.Contains(all.String(), "READY") {
				resize = false
				_ = unix.IoctlSetWinsize(int(master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 44, Col: 88})
			}
			if err != nil {
				shown <- all.String()
				return
			}
		}
	}()
	go func() {
		time.Sleep(300 * time.Millisecond)
		_, _ = io.Copy(master, os.Stdin)
	}()
	werr := cmd.Wait()
	after, err := unix.IoctlGetTermios(int(slave.Fd()), unix.TCGETS)
	if err != nil {
		return err
	}
	slave.Close()
	fmt.Print(<-shown)
	if *before == *after {
		fmt.Println("terminal restored")
	}
	return werr
}

func openPTY() (master, slave *os.File, err error) {
	master, err = os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		return nil, nil, err
	}
	fd := int(master.Fd())
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		err = unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 33, Col: 77})
	}
	if err == nil {
		slave, err = os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|syscall.O_NOCTTY, 0)
	}
	return master, slave, err
}

// notifyDaemon is a service manager: SOCKET FILE. It writes the messages that it gets to FILE, and ends after BARRIER=1.
func notifyDaemon(args []string) error {
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: args[0], Net: "unixgram"})
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	out, err := os.Create(args[1])
	if err != nil {
		return err
	}
	defer out.Close()
	for {
		buf, oob := make([]byte, 4096), make([]byte, unix.CmsgSpace(4))
		n, _, _, _, err := conn.ReadMsgUnix(buf, oob)
		if err != nil {
			return err
		}
		fmt.Fprintln(out, strings.TrimSpace(string(buf[:n])))
		if string(buf[:n]) == "BARRIER=1" {
			return nil
		}
	}
}

// notifySend sends a message, as a container would: SOCKET LINE...
func notifySend(args []string) error {
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: args[0], Net: "unixgram"})
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = conn.Write([]byte(strings.Join(args[1:], "\n")))
	return err
}
