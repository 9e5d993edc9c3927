package container

import (
	"bytes"
	"os"
	"path/filepath"

	"github.com/bulkhead-engine/bulkhead/internal/atomicfile"
	"github.com/bulkhead-engine/bulkhead/internal/engine/assemble"
	"github.com/bulkhead-engine/bulkhead/internal/engine/pid1"
	"github.com/moby/moby/api/types/mount"
)

// initPath is where --init's program is in a container: in a file system of its own, so that the image gets no trace of it.
const initPath = "/dev/init"

func wantsInit(r *Record) bool { return r.Host.Init != nil && *r.Host.Init }

// initPoint mounts the program, which belongs to the host's root: nobody in a container may write it.
func (s *Service) initPoint() assemble.Point {
	return assemble.Point{Type: mount.TypeBind, Source: s.initFile(), Destination: initPath, ReadOnly: true, Flag: "init"}
}

func (s *Service) initFile() string { return filepath.Join(s.o.Root, "init") }

// writeInit puts the program on the disk, if it is not there as this engine has it. A container that runs keeps the one that it was started with.
func (s *Service) writeInit(r *Record) error {
	if !wantsInit(r) {
		return nil
	}
	image := pid1.Image()
	if data, err := os.ReadFile(s.initFile()); err == nil && bytes.Equal(data, image) {
		return nil
	}
	return atomicfile.Write(s.initFile(), image, atomicfile.Options{Mode: 0o555})
}
