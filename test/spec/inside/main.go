// Command inside runs as the program of a container in the tests of package spec, and prints what it finds there and what it may do.
//
//	inside report            prints "name value" lines: ids, clocks, scheduling, memory policy, terminal ...
//	inside try STEP...       does each step and prints "STEP ok" or "STEP ERRNO"; a step is VERB:ARGUMENT[:ARGUMENT...]
//	inside hold N            touches N bytes of memory and prints "held"
//	inside call NR ARG...    makes one system call and prints its result or the name of its errno
//	inside int80 NR          makes one system call by the 32-bit entry of amd64
//	inside headless          ends its first thread, and goes on in others
//
// It is one static file that needs nothing of the image. It is no part of the engine, and protects nothing.
package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

func main() {
	runtime.LockOSThread() // the report is about the first thread: the others are its children, and a scheduling flag or two is not inherited
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: inside report | try STEP... | hold N | call NR ARG... | int80 NR | headless")
		os.Exit(2)
	}
	switch os.Args[1] {
	case "report":
		report()
	case "try":
		for _, step := range os.Args[2:] {
			fmt.Println(step, outcome(try(strings.Split(step, ":"))))
		}
	case "hold":
		hold(number(os.Args[2]))
	case "call":
		fmt.Println(call(os.Args[2:]))
	case "headless":
		go func() { time.Sleep(time.Hour) }()
		time.Sleep(10 * time.Millisecond) // until there is another thread
		_, _, _ = unix.RawSyscall(unix.SYS_EXIT, 0, 0, 0)
	case "int80":
		fmt.Println(int80(uintptr(number(os.Args[2]))))
	}
}

func number(s string) uint64 {
	n, err := strconv.ParseUint(s, 0, 64)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	return n
}

// outcome is "ok" or the name of the errno.
func outcome(err error) string {
	var errno unix.Errno
	switch {
	case err == nil:
		return "ok"
	case errors.As(err, &errno):
		return unix.ErrnoName(errno)
	}
	return err.Error()
}

// try does one step.
func try(step []string) error {
	verb, path := step[0], step[1]
	switch verb {
	case "read":
		f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = f.Read(make([]byte, 16))
		return err
	case "openr":
		return opened(unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NOCTTY|unix.O_NONBLOCK, 0))
	case "open":
		return opened(unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NOCTTY, 0))
	case "write": // write:PATH[:TEXT]
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = f.WriteString(strings.Join(step[2:], ":"))
		return err
	case "create":
		return opened(unix.Open(path, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, 0o600))
	case "fill": // fill:PATH:BYTES
		return fill(path, number(step[2]))
	case "mkdir":
		return unix.Mkdir(path, 0o755)
	case "exec":
		return execute(path)
	case "mknod": // mknod:PATH:TYPE:MAJOR:MINOR
		return makeNode(path, step[2], uint32(number(step[3])), uint32(number(step[4])))
	case "bind": // bind:SOURCE:TARGET
		return unix.Mount(path, step[2], "", unix.MS_BIND, "")
	case "setuid":
		return unix.Setuid(int(number(path)))
	case "chown": // chown:PATH:UID
		return unix.Lchown(path, int(number(step[2])), -1)
	}
	return fmt.Errorf("no such step: %s", verb)
}

func opened(fd int, err error) error {
	if err == nil {
		err = unix.Close(fd)
	}
	return err
}

func fill(path string, n uint64) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.Write(make([]byte, n))
	return err
}

func makeNode(path, kind string, major, minor uint32) error {
	mode := uint32(unix.S_IFCHR)
	if kind == "b" {
		mode = unix.S_IFBLK
	}
	return unix.Mknod(path, mode|0o666, int(unix.Mkdev(major, minor)))
}

// hold makes its memory its own page by page.
func hold(n uint64) {
	b, err := unix.Mmap(-1, 0, int(n), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		fmt.Println(outcome(err))
		os.Exit(3)
	}
	for i := 0; i < len(b); i += os.Getpagesize() {
		b[i] = 1
	}
	fmt.Println("held")
}

func call(words []string) string {
	var a [7]uintptr
	for i, w := range words {
		a[i] = uintptr(number(w))
	}
	r, _, errno := unix.Syscall6(a[0], a[1], a[2], a[3], a[4], a[5], a[6])
	if errno != 0 {
		return unix.ErrnoName(errno)
	}
	return strconv.FormatUint(uint64(r), 10)
}
