package seccomp

import (
	"os"
	"strconv"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// compilerVersion is part of every key. It must rise with each change of what Compile returns: a test of the golden files says so.
const compilerVersion = 1

// The form of a file: magic, flags and length of the key (in the places of an instruction's K, like all numbers in the machine's byte
// order), the key, the program, and a digest of all that in the K of two instructions.
const (
	fileMagic  = "BHseccmp"
	headerSize = len(fileMagic) + 2*insnSize
	footerSize = 2 * insnSize
	maxKey     = 1 << 16 // larger profiles are compiled each time
	maxFile    = headerSize + maxKey + maxProgram*insnSize + footerSize
	// maxEntries is how many names a directory may hold before a new entry empties it.
	maxEntries = 256
)

// Cached returns what Compile returns, from the directory if it is there, and leaves it there if not. An empty dir means no cache.
// A directory that is not the effective user's or that others can write is not used, and an entry that is not exactly what this
// function wrote is compiled anew; neither is an error, nor is a failure to write. A missing directory is made, mode 0700, if its
// parent exists.
func Cached(dir string, p *specs.LinuxSeccomp) (*Filter, error) {
	if dir == "" || p == nil {
		return Compile(p)
	}
	key := profileKey(p)
	d := -1
	if len(key) <= maxKey {
		d = openDir(dir)
	}
	if d < 0 {
		return Compile(p)
	}
	defer unix.Close(d)
	name := strconv.FormatUint(digest(key), 16)
	if f := load(d, name, key); f != nil {
		return f, nil
	}
	f, err := Compile(p)
	if err == nil {
		store(d, name, f.entry(key))
	}
	return f, err
}

// openDir opens the directory if it can be trusted; -1 if not.
func openDir(dir string) int {
	const flags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	d, err := unix.Open(dir, flags, 0)
	if err == unix.ENOENT && unix.Mkdir(dir, 0o700) == nil {
		d, err = unix.Open(dir, flags, 0)
	}
	if err != nil {
		return -1
	}
	if _, ok := ours(d, unix.S_IFDIR); !ok {
		unix.Close(d)
		return -1
	}
	return d
}

// ours reports whether the file is of the type, belongs to the effective user, and can be written by no one else.
func ours(fd int, kind uint32) (size int64, ok bool) {
	var st unix.Stat_t
	err := unix.Fstat(fd, &st)
	return st.Size, err == nil && st.Mode&unix.S_IFMT == kind && st.Uid == uint32(os.Geteuid()) && st.Mode&0o022 == 0
}

// load reads an entry; nil if there is none that is right.
func load(dir int, name string, key []byte) *Filter {
	fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil
	}
	defer unix.Close(fd)
	size, ok := ours(fd, unix.S_IFREG)
	if !ok || size < int64(headerSize+footerSize) || size > int64(maxFile) {
		return nil
	}
	b := make([]byte, size)
	if n, err := unix.Read(fd, b); err != nil || n != len(b) {
		return nil
	}
	return parseEntry(b, key)
}

// parseEntry returns the filter of an entry, nil if it is not one for the key.
func parseEntry(b, key []byte) *Filter {
	start, end := headerSize+len(key), len(b)-footerSize
	if end <= start || (end-start)%insnSize != 0 || string(b[:len(fileMagic)]) != fileMagic || string(b[headerSize:start]) != string(key) {
		return nil
	}
	head, foot := decode(b[len(fileMagic):headerSize]), decode(b[end:])
	if int(head[1].K) != len(key) || digest(b[:end]) != uint64(foot[1].K)<<32|uint64(foot[0].K) {
		return nil
	}
	f := &Filter{Flags: head[0].K, Program: decode(b[start:end])}
	f.Notify = f.Flags&FlagNewListener != 0
	if Check(f.Program) != nil {
		return nil
	}
	return f
}

// entry returns the file of a filter.
func (f *Filter) entry(key []byte) []byte {
	b := make([]byte, 0, headerSize+len(key)+len(f.Program)*insnSize+footerSize)
	b = append(b, fileMagic...)
	b = append(b, encode([]Insn{{K: f.Flags}, {K: uint32(len(key))}})...)
	b = append(b, key...)
	b = append(b, encode(f.Program)...)
	sum := digest(b)
	return append(b, encode([]Insn{{K: uint32(sum)}, {K: uint32(sum >> 32)}})...)
}

// store puts an entry into the directory, whole or not at all. Nothing is synced: an entry that a crash truncates fails its checksum.
func store(dir int, name string, b []byte) {
	makeRoom(dir)
	temp := "." + name + "." + strconv.Itoa(os.Getpid())
	const flags = unix.O_WRONLY | unix.O_CREAT | unix.O_EXCL | unix.O_NOFOLLOW | unix.O_CLOEXEC
	fd, err := unix.Openat(dir, temp, flags, 0o600)
	if err != nil {
		_ = unix.Unlinkat(dir, temp, 0) // of an earlier process with this id
		return
	}
	n, err := unix.Write(fd, b)
	unix.Close(fd)
	if err != nil || n != len(b) || unix.Renameat(dir, temp, dir, name) != nil {
		_ = unix.Unlinkat(dir, temp, 0)
	}
}

// makeRoom empties a directory that has grown too full, so that changing profiles do not fill the file system.
func makeRoom(dir int) {
	d, err := unix.Openat(dir, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	f := os.NewFile(uintptr(d), "seccomp cache")
	defer f.Close()
	names, err := f.Readdirnames(-1)
	if err != nil || len(names) < maxEntries {
		return
	}
	for _, name := range names {
		_ = unix.Unlinkat(dir, name, 0)
	}
}
