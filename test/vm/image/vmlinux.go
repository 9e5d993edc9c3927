package image

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
)

// packers are the compressions of a kernel's payload, by their first bytes.
var packers = []struct {
	magic []byte
	argv  []string
}{
	{[]byte("\xfd7zXZ"), []string{"xz", "-dc"}},
	{[]byte("\x28\xb5\x2f\xfd"), []string{"zstd", "-dcq"}},
	{[]byte("\x1f\x8b"), []string{"gzip", "-dc"}},
	{[]byte("\x02\x21\x4c\x18"), []string{"lz4", "-dcq"}},
	{[]byte("\x7fELF"), []string{"cat"}},
}

// extract takes the ELF kernel out of a bzImage: to unpack it under emulation costs more than the rest of the boot. Where it stands says the
// boot header (Documentation/arch/x86/boot.rst: setup_sects, payload_offset, payload_length; protocol 2.08).
func extract(from, to string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if len(data) < 0x250 || string(data[0x202:0x206]) != "HdrS" {
		return errors.New("no bzImage")
	}
	sectors := int(data[0x1f1])
	if sectors == 0 {
		sectors = 4
	}
	start := (sectors+1)*512 + int(binary.LittleEndian.Uint32(data[0x248:]))
	length := int(binary.LittleEndian.Uint32(data[0x24c:]))
	if start > len(data) || length > len(data)-start || length == 0 {
		return fmt.Errorf("payload of %d bytes at %d in a file of %d", length, start, len(data))
	}
	payload := data[start : start+length]
	for _, p := range packers {
		if !bytes.HasPrefix(payload, p.magic) {
			continue
		}
		return unpack(p.argv, payload, to)
	}
	return fmt.Errorf("payload in an unknown compression: % x", payload[:min(6, length)])
}

func unpack(argv []string, payload []byte, to string) error {
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdin, cmd.Stdout = bytes.NewReader(payload), out
	// After the packed data stands their length, in four bytes: some unpackers complain of it when all is done.
	runErr := cmd.Run()
	if err := out.Close(); err != nil {
		return err
	}
	magic := make([]byte, 4)
	if f, err := os.Open(to); err == nil {
		_, _ = f.Read(magic)
		_ = f.Close()
	}
	if string(magic) != "\x7fELF" {
		return fmt.Errorf("%s: no ELF kernel came out: %w", argv[0], errors.Join(runErr, errors.New("bad data")))
	}
	return nil
}
