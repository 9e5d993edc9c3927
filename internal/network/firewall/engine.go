package firewall

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"path/filepath"
	"strings"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/network"
	"github.com/google/nftables"
	"golang.org/x/sys/unix"
)

// probeSuffix is what a table is called, after ours, with which the kernel is tried.
const probeSuffix = "-probe"

// pairTime is how long another engine may take to make or remove the pair.
const pairTime = 10 * time.Second

// usualDir is the directory of networks of the engine whose tables are called bulkhead and nothing else.
const usualDir = "/run/bulkhead/network"

// For says for which engine this process works, before it does anything else here: by the directory of what runs of its networks. Two engines on one host have tables of their own, and neither
// repairs or removes what the other has. What they share is the pair of devices, which goes with the last table of either.
func For(dir network.Dir) {
	tableName = nameFor(dir)
}

func nameFor(dir network.Dir) string {
	path := filepath.Clean(string(dir))
	if real, err := filepath.EvalSymlinks(filepath.Dir(path)); err == nil {
		path = filepath.Join(real, filepath.Base(path))
	}
	if path == usualDir {
		return plainName
	}
	sum := sha256.Sum256([]byte(path))
	return plainName + "-" + hex.EncodeToString(sum[:4])
}

// strangers reports whether there is a table of another engine.
func strangers(list []*nftables.Table) bool {
	for _, t := range list {
		if t.Name != tableName && (t.Name == plainName || strings.HasPrefix(t.Name, plainName+"-")) && !strings.HasSuffix(t.Name, probeSuffix) {
			return true
		}
	}
	return false
}

// lockPair keeps other engines on this host from making or removing the pair of devices meanwhile: their locks of networks are others.
func lockPair() (unlock func(), err error) {
	fd, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, errdef.Errorf(errdef.Unavailable, "network namespace: %w", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), pairTime)
	defer cancel()
	if err := network.Flock(ctx, fd); err != nil {
		_ = unix.Close(fd)
		return nil, errdef.Errorf(errdef.KindOf(err), "network namespace: another engine changes %s: %w", loopNear, err)
	}
	return func() { _ = unix.Close(fd) }, nil
}
