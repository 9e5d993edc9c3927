// Command gen writes zsysnum.go: the system call numbers of every architecture that the runtime-spec names.
//
//	go run ./gen -headers DIR -xsys DIR
//
// Both inputs are public packages, so the result can be made again:
//
//   - headers: Debian's linux-libc-dev (13 "trixie", architecture all: it carries the headers of every architecture), unpacked with
//     `dpkg-deb -x`. The numbers are the __NR_ macros of usr/lib/linux/uapi/ARCH/asm/unistd*.h.
//   - xsys: the directory of golang.org/x/sys in the module cache. Its tables know kernels newer than the package's, for fewer
//     architectures; since Linux 5.1 a new call has the same number everywhere, so those of amd64 serve all.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"go/format"
	"log"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// firstCommon is the first number that all architectures share: pidfd_send_signal, Linux 5.1.
const firstCommon = 424

// absent marks a call that an architecture does not have; private is added to the offset of an ARM private call (__ARM_NR_BASE).
const (
	absent  = 0xffff
	private = 0xf000
)

// tables are the architectures, in the order of seccomp.archs, and the header of each.
var tables = []struct{ name, header string }{
	{"X86", "x86/asm/unistd_32.h"},
	{"X8664", "x86/asm/unistd_64.h"},
	{"X32", "x86/asm/unistd_x32.h"},
	{"ARM", "arm/asm/unistd-eabi.h"},
	{"AARCH64", "arm64/asm/unistd_64.h"},
	{"MIPS", "mips/asm/unistd_o32.h"},
	{"MIPS64", "mips/asm/unistd_n64.h"},
	{"MIPS64N32", "mips/asm/unistd_n32.h"},
	{"PPC", "powerpc/asm/unistd_32.h"},
	{"PPC64", "powerpc/asm/unistd_64.h"},
	{"S390", "s390/asm/unistd_32.h"},
	{"S390X", "s390/asm/unistd_64.h"},
	{"PARISC", "parisc/asm/unistd_32.h"},
	{"PARISC64", "parisc/asm/unistd_64.h"},
	{"RISCV64", "riscv/asm/unistd_64.h"},
	{"LOONGARCH64", "loongarch/asm/unistd_64.h"},
	{"M68K", "m68k/asm/unistd_32.h"},
	{"SH", "sh/asm/unistd_32.h"},
}

var (
	macro  = regexp.MustCompile(`(?m)^#define\s+__(ARM_)?NR_(\w+)\s+(?:\(\w+\s*\+\s*)?(\d+|0x0f0000)\)?\s*$`)
	xsysNR = regexp.MustCompile(`(?m)^\s+SYS_(\w+)\s+= (\d+)$`)
)

func main() {
	log.SetFlags(0)
	headers := flag.String("headers", "", "where linux-libc-dev is unpacked")
	xsys := flag.String("xsys", "", "directory of golang.org/x/sys")
	out := flag.String("out", "zsysnum.go", "file to write")
	flag.Parse()
	src, err := generate(*headers, *xsys)
	if err != nil {
		log.Fatal(err)
	}
	if err := os.WriteFile(*out, src, 0o644); err != nil {
		log.Fatal(err)
	}
}

func generate(headers, xsys string) ([]byte, error) {
	newer, err := common(xsys)
	if err != nil {
		return nil, err
	}
	numbers := make([]map[string]int, len(tables))
	all := map[string]bool{}
	for i, t := range tables {
		m, err := readHeader(filepath.Join(headers, "usr/lib/linux/uapi", t.header))
		if err != nil {
			return nil, err
		}
		if t.name == "ARM" {
			if err := addPrivate(headers, m); err != nil {
				return nil, err
			}
		}
		addNewer(m, newer)
		numbers[i] = m
		for name := range m {
			all[name] = true
		}
	}
	return write(slices.Sorted(maps.Keys(all)), numbers)
}

// readHeader returns the calls of one header, numbered without the base of the ABI (4000 and the like on MIPS, bit 30 on x32).
func readHeader(path string) (map[string]int, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	m := map[string]int{}
	for _, g := range macro.FindAllStringSubmatch(string(text), -1) {
		n, err := strconv.Atoi(g[3])
		if g[1] != "" || err != nil || g[2] == "Linux" || g[2] == "SYSCALL_BASE" || g[2] == "syscalls" {
			continue
		}
		m[g[2]] = n
	}
	if len(m) < 200 {
		return nil, fmt.Errorf("%s: only %d calls found", path, len(m))
	}
	return m, nil
}

// addPrivate adds ARM's private calls (asm/unistd.h: __ARM_NR_*) and the second name of arm_sync_file_range.
func addPrivate(headers string, m map[string]int) error {
	path := filepath.Join(headers, "usr/lib/linux/uapi/arm/asm/unistd.h")
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	found := 0
	for _, g := range macro.FindAllStringSubmatch(string(text), -1) {
		n, err := strconv.Atoi(g[3])
		if g[1] == "" || g[2] == "BASE" || err != nil {
			continue
		}
		m[g[2]] = private + n
		found++
	}
	if found == 0 {
		return fmt.Errorf("%s: no private calls found", path)
	}
	m["sync_file_range2"] = m["arm_sync_file_range"]
	return nil
}

// common returns the calls of x/sys' amd64 table whose number is the same on all architectures.
func common(xsys string) (map[string]int, error) {
	text, err := os.ReadFile(filepath.Join(xsys, "unix/zsysnum_linux_amd64.go"))
	if err != nil {
		return nil, err
	}
	m := map[string]int{}
	for _, g := range xsysNR.FindAllStringSubmatch(string(text), -1) {
		n, err := strconv.Atoi(g[2])
		if err != nil {
			return nil, err
		}
		if n >= firstCommon {
			m[strings.ToLower(g[1])] = n
		}
	}
	return m, nil
}

// addNewer adds what is newer than the newest common call that the header knows.
func addNewer(m, newer map[string]int) {
	last := 0
	for _, n := range m {
		if n < 512 { // 512 and up: x32's second range
			last = max(last, n)
		}
	}
	for name, n := range newer {
		if n > last {
			m[name] = n
		}
	}
}

// hash is seccomp.hashName.
func hash(name string) uint32 {
	h := uint32(2166136261)
	for i := range len(name) {
		h = (h ^ uint32(name[i])) * 16777619
	}
	return h ^ h>>15
}

func write(names []string, numbers []map[string]int) ([]byte, error) {
	var b bytes.Buffer
	b.WriteString("// Code generated by gen; DO NOT EDIT.\n\npackage seccomp\n\n")
	slots := make([]int, 2048)
	offsets := []int{0}
	for i, n := range names {
		offsets = append(offsets, offsets[i]+len(n))
		at := int(hash(n)) & (len(slots) - 1)
		for slots[at] != 0 {
			at = (at + 1) & (len(slots) - 1)
		}
		slots[at] = i + 1
	}
	fmt.Fprintf(&b, "const numNames = %d\n\n", len(names))
	b.WriteString("// nameBytes holds every name, sorted; name i is nameBytes[nameOffsets[i]:nameOffsets[i+1]].\nconst nameBytes = \"\" +\n")
	for i := 0; i < len(names); i += 8 {
		fmt.Fprintf(&b, "\t%q", strings.Join(names[i:min(i+8, len(names))], ""))
		if i+8 < len(names) {
			b.WriteString(" +")
		}
		b.WriteString("\n")
	}
	b.WriteString("\n")
	array(&b, "nameOffsets", "[numNames + 1]uint16", offsets)
	b.WriteString("// nameSlots is a hash table with open addressing: 1 + the name's index, 0 for an empty slot.\n")
	array(&b, "nameSlots", "[2048]uint16", slots)
	b.WriteString("// muxCalls says which calls are also reached through socketcall(2), below 128, or ipc(2), above.\n")
	array(&b, "muxCalls", "[numNames]uint8", muxCalls(names))
	for i, t := range tables {
		nr := make([]int, len(names))
		for j, n := range names {
			v, ok := numbers[i][n]
			if !ok {
				v = absent
			}
			nr[j] = v
		}
		array(&b, "sysnum"+t.name, "[numNames]uint16", nr)
	}
	return format.Source(b.Bytes())
}

// socketCalls and ipcCalls are the first arguments that socketcall(2) and ipc(2) take for a call: linux/net.h SYS_*, linux/ipc.h.
var (
	socketCalls = strings.Fields("socket bind connect listen accept getsockname getpeername socketpair send recv sendto recvfrom " +
		"shutdown setsockopt getsockopt sendmsg recvmsg accept4 recvmmsg sendmmsg")
	ipcCalls = map[string]int{
		"semop": 1, "semget": 2, "semctl": 3, "semtimedop": 4, "msgsnd": 11, "msgrcv": 12, "msgget": 13, "msgctl": 14,
		"shmat": 21, "shmdt": 22, "shmget": 23, "shmctl": 24,
	}
)

// muxCalls returns the code of each name: 0 none, below 128 of socketcall, above of ipc.
func muxCalls(names []string) []int {
	codes := make([]int, len(names))
	for i, n := range names {
		if at := slices.Index(socketCalls, n); at >= 0 {
			codes[i] = at + 1
		} else if c := ipcCalls[n]; c != 0 {
			codes[i] = 128 + c
		}
	}
	return codes
}

func array(b *bytes.Buffer, name, typ string, values []int) {
	fmt.Fprintf(b, "var %s = %s{", name, typ)
	for i, v := range values {
		if i%20 == 0 {
			b.WriteString("\n")
		}
		fmt.Fprintf(b, "%d, ", v)
	}
	b.WriteString("\n}\n\n")
}
