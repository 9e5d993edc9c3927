package cgroup

import (
	"fmt"
	"io"
	"os"
	goruntime "runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// load is the program inside of the containers.
func load(args []string) {
	debug.SetGCPercent(-1)
	n := func(i int) int {
		v, err := strconv.Atoi(args[i])
		if err != nil {
			fail(err)
		}
		return v
	}
	switch args[0] {
	case "sleep":
		pause()
	case "spin": // THREADS
		for range n(1) - 1 {
			go spin(0)
		}
		spin(0)
	case "bursts": // BUSY IDLE, in ms, for ever
		for {
			spin(time.Duration(n(1)) * time.Millisecond)
			time.Sleep(time.Duration(n(2)) * time.Millisecond)
		}
	case "hold": // BYTES
		hold(n(1))
		fmt.Println("held")
	case "keep": // BYTES, for ever
		hold(n(1))
		fmt.Println("held")
		pause()
	case "forks": // NUMBER, at most; then wait for ever
		forks(n(1))
		pause()
	case "children": // NUMBER, at most; then end
		forks(n(1))
	case "parent": // ARGS... of a child, whose end is told
		parent(args[1:])
	case "disk": // PATH read|write BLOCK MILLISECONDS
		disk(args[1], args[2], n(3), time.Duration(n(4))*time.Millisecond)
	case "cache": // PATH BYTES: reads through the page cache
		cache(args[1], n(2))
	case "huge": // PAGES of 2 MiB
		huge(n(1))
	case "watch": // ALLOWED DENIED STOP SAID
		watch(args[1], args[2], args[3], args[4])
	case "try":
		for _, step := range args[1:] {
			fmt.Println(step, try(step))
		}
	default:
		fail(fmt.Errorf("unknown load %q", args[0]))
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "inside:", err)
	os.Exit(3)
}

func pause() {
	for {
		_ = unix.Pause()
	}
}

// spin burns CPU time, for ever if d is 0.
func spin(d time.Duration) {
	goruntime.LockOSThread()
	defer goruntime.UnlockOSThread()
	for begin, n := time.Now(), 0; d == 0 || time.Since(begin) < d; {
		for range 10_000 {
			n++
		}
	}
}

// hold touches memory and keeps it.
func hold(bytes int) {
	data, err := unix.Mmap(-1, 0, bytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		fail(err)
	}
	_ = unix.Madvise(data, unix.MADV_NOHUGEPAGE)
	for i := 0; i < len(data); i += 4096 {
		data[i] = byte(i>>12) | 1
	}
}

// forks makes children that do nothing, until it has the number or the kernel refuses. The child of a fork has one thread, and does no more
// than one system call over and over.
func forks(most int) {
	goruntime.LockOSThread()
	made, why := 0, syscall.Errno(0)
	for made < most {
		pid, _, errno := unix.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
		if errno != 0 {
			why = errno
			break
		}
		if pid == 0 {
			for {
				_, _, _ = unix.RawSyscall(unix.SYS_PAUSE, 0, 0, 0)
			}
		}
		made++
	}
	fmt.Println("forked", made, unix.ErrnoName(why))
}

// parent starts this program once more and tells how it ended.
func parent(args []string) {
	p, err := os.StartProcess("/proc/self/exe", append([]string{"inside"}, args...), &os.ProcAttr{Files: []*os.File{os.Stdin, os.Stdout, os.Stderr}})
	if err != nil {
		fail(err)
	}
	state, err := p.Wait()
	if err != nil {
		fail(err)
	}
	fmt.Println("child:", state)
}

// disk moves blocks past the page cache until the time is up, and prints the bytes and the milliseconds.
func disk(path, what string, block int, d time.Duration) {
	flags := unix.O_RDONLY
	if what == "write" {
		flags = unix.O_WRONLY
	}
	fd, err := unix.Open(path, flags|unix.O_DIRECT|unix.O_CLOEXEC, 0)
	if err != nil {
		fail(fmt.Errorf("open %s: %w", path, err))
	}
	size, err := unix.Seek(fd, 0, io.SeekEnd)
	if err != nil {
		fail(err)
	}
	buf, err := unix.Mmap(-1, 0, block, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		fail(err)
	}
	var total, at int64
	begin := time.Now()
	for time.Since(begin) < d {
		var n int
		if what == "write" {
			n, err = unix.Pwrite(fd, buf, at)
		} else {
			n, err = unix.Pread(fd, buf, at)
		}
		if err != nil || n == 0 {
			fail(fmt.Errorf("%s %s: %d, %w", what, path, n, err))
		}
		total += int64(n)
		if at += int64(block); at+int64(block) > size {
			at = 0
		}
	}
	fmt.Println(total, time.Since(begin).Milliseconds())
}

// cache fills the page cache with the beginning of a file.
func cache(path string, bytes int) {
	f, err := os.Open(path)
	if err != nil {
		fail(err)
	}
	if n, err := io.CopyN(io.Discard, f, int64(bytes)); err != nil {
		fail(fmt.Errorf("read %s: %d, %w", path, n, err))
	}
}

// huge maps and touches huge pages one by one.
func huge(pages int) {
	const size = 2 << 20
	for i := range pages {
		data, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_HUGETLB)
		if err != nil {
			fmt.Println("huge", i, err.(syscall.Errno) == unix.ENOMEM)
			return
		}
		data[0] = 1
	}
	fmt.Println("huge", pages, "all")
}

// watch opens two devices over and over until the file stop is there, and tells how often the wrong thing happened.
func watch(allowed, denied, stop, said string) {
	open := func(path string) bool {
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err == nil {
			unix.Close(fd)
		}
		return err == nil
	}
	refused, passed := 0, 0
	for {
		for range 50 {
			if !open(allowed) {
				refused++
			}
			if open(denied) {
				passed++
			}
		}
		if _, err := os.Stat(stop); err == nil {
			break
		}
	}
	if err := os.WriteFile(said+"~", fmt.Append(nil, refused, passed), 0o644); err != nil {
		fail(err)
	}
	if err := os.Rename(said+"~", said); err != nil {
		fail(err)
	}
}

// try does one step, "WHAT:PATH[:MORE]", and returns its outcome as a word.
func try(step string) string {
	f := strings.SplitN(step, ":", 3)
	var err error
	switch f[0] {
	case "read":
		var data []byte
		if data, err = os.ReadFile(f[1]); err == nil {
			return strings.ReplaceAll(strings.TrimSpace(string(data)), "\n", "|")
		}
	case "write":
		err = os.WriteFile(f[1], []byte(f[2]), 0)
	case "create":
		err = os.WriteFile(f[1], nil, 0o644)
	case "mkdir":
		err = os.Mkdir(f[1], 0o755)
	case "rmdir":
		err = os.Remove(f[1])
	case "openr", "openw", "openrw":
		flags := map[string]int{"openr": unix.O_RDONLY, "openw": unix.O_WRONLY, "openrw": unix.O_RDWR}[f[0]]
		var fd int
		if fd, err = unix.Open(f[1], flags|unix.O_NONBLOCK|unix.O_CLOEXEC, 0); err == nil {
			unix.Close(fd)
		}
	case "mknod": // PATH:KIND MAJOR MINOR
		var kind string
		var major, minor uint32
		if _, err = fmt.Sscan(f[2], &kind, &major, &minor); err == nil {
			mode := map[string]uint32{"c": unix.S_IFCHR, "b": unix.S_IFBLK}[kind]
			err = unix.Mknod(f[1], mode|0o666, int(unix.Mkdev(major, minor)))
		}
	default:
		return "unknown"
	}
	if err == nil {
		return "ok"
	}
	var errno syscall.Errno
	if e, ok := err.(*os.PathError); ok {
		err = e.Err
	}
	errno, _ = err.(syscall.Errno)
	return unix.ErrnoName(errno)
}
