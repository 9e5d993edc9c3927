package refusal

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	searchTime = 100 * time.Millisecond // for the process of a socket
	mostLines  = 1 << 16
)

// Process finds the process of a container that has a socket: pid is one of the container's processes, local the socket's own address. A socket that is closed meanwhile, as that of a
// connection that failed, has none: 0.
func Process(pid int, protocol uint8, local netip.AddrPort) (owner int, name string) {
	if pid <= 0 {
		return 0, ""
	}
	deadline := time.Now().Add(searchTime)
	inode := socketInode(pid, protocol, local)
	if inode == "" {
		return 0, ""
	}
	for _, p := range neighbours(pid) {
		if time.Now().After(deadline) {
			return 0, ""
		}
		if has(p, "socket:["+inode+"]") {
			b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", p))
			return p, strings.TrimSuffix(string(b), "\n")
		}
	}
	return 0, ""
}

// socketInode finds a socket in the tables of the network namespace that a process is in.
func socketInode(pid int, protocol uint8, local netip.AddrPort) string {
	var table string
	switch protocol {
	case unix.IPPROTO_TCP:
		table = "tcp"
	case unix.IPPROTO_UDP:
		table = "udp"
	default:
		return ""
	}
	for _, suffix := range []string{"", "6"} {
		f, err := os.Open(fmt.Sprintf("/proc/%d/net/%s%s", pid, table, suffix))
		if err != nil {
			continue
		}
		lines := bufio.NewScanner(f)
		for range mostLines {
			if !lines.Scan() {
				break
			}
			fields := strings.Fields(lines.Text())
			if len(fields) < 10 || fields[9] == "0" {
				continue
			}
			if a, ok := tableAddr(fields[1]); ok && a.Port() == local.Port() && (a.Addr() == local.Addr() || a.Addr().IsUnspecified()) {
				f.Close()
				return fields[9]
			}
		}
		f.Close()
	}
	return ""
}

// tableAddr reads an address of /proc/net/tcp: words of the machine's byte order, in hexadecimal digits.
func tableAddr(s string) (netip.AddrPort, bool) {
	host, port, ok := strings.Cut(s, ":")
	b, err := hex.DecodeString(host)
	n, err2 := strconv.ParseUint(port, 16, 16)
	if !ok || err != nil || err2 != nil || len(b) != 4 && len(b) != 16 {
		return netip.AddrPort{}, false
	}
	for i := 0; i < len(b); i += 4 {
		binary.NativeEndian.PutUint32(b[i:], binary.BigEndian.Uint32(b[i:]))
	}
	a, _ := netip.AddrFromSlice(b)
	return netip.AddrPortFrom(a.Unmap(), uint16(n)), true
}

// neighbours are the processes in the cgroup of a process and below it, and itself: a container's.
func neighbours(pid int) []int {
	out := []int{pid}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		return out
	}
	for l := range bytes.Lines(b) {
		parts := strings.SplitN(strings.TrimSuffix(string(l), "\n"), ":", 3)
		if len(parts) != 3 || parts[2] == "/" || strings.Contains(parts[2], "..") {
			continue
		}
		dir := filepath.Join("/sys/fs/cgroup", strings.TrimPrefix(parts[1], "name="), parts[2])
		list, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
		if err != nil {
			continue
		}
		for f := range strings.FieldsSeq(string(list)) {
			if p, err := strconv.Atoi(f); err == nil && !slices.Contains(out, p) {
				out = append(out, p)
			}
		}
		break
	}
	return out
}

// has reports whether a process has something open.
func has(pid int, what string) bool {
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	f, err := os.Open(dir)
	if err != nil {
		return false
	}
	defer f.Close()
	names, _ := f.Readdirnames(4096)
	for _, n := range names {
		if target, err := os.Readlink(filepath.Join(dir, n)); err == nil && target == what {
			return true
		}
	}
	return false
}
