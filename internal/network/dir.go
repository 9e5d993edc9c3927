package network

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/atomicfile"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"golang.org/x/sys/unix"
)

const (
	lockTime     = 30 * time.Second
	maxEndpoint  = 1 << 20 // bytes of one file
	endpointsDir = "endpoints"
	networkFile  = "network"
	containerLen = 64
)

// A Dir is the directory of what running containers have of networks, RUN/network.
type Dir string

// Lock serialises those who change bridges, rules and ends.
func (d Dir) Lock(ctx context.Context) (unlock func(), err error) {
	if err := os.MkdirAll(string(d), 0o700); err != nil {
		return nil, errdef.Errorf(errdef.Unavailable, "networks: %w", err)
	}
	fd, err := unix.Open(filepath.Join(string(d), "lock"), unix.O_RDONLY|unix.O_CREAT|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, errdef.Errorf(errdef.Unavailable, "networks: lock: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, lockTime)
	defer cancel()
	if err := atomicfile.Flock(ctx, fd, atomicfile.Exclusive); err != nil {
		_ = unix.Close(fd)
		return nil, errdef.Errorf(errdef.KindOf(err), "networks: another command changes them: %w", err)
	}
	return func() { _ = unix.Close(fd) }, nil
}

// Flock takes an exclusive lock of a file for what networks of several engines have in common.
func Flock(ctx context.Context, fd int) error { return atomicfile.Flock(ctx, fd, atomicfile.Exclusive) }

// Of is where the files of one network are.
func (d Dir) Of(network string) string { return filepath.Join(string(d), network) }

// EndsOf is where the ends of one network are. It changes with each of them: they are replaced as whole files.
func (d Dir) EndsOf(network string) string { return filepath.Join(d.Of(network), endpointsDir) }

func (d Dir) endpoint(network, container string) string {
	return filepath.Join(d.EndsOf(network), container)
}

// Put writes an end down, or changes one.
func (d Dir) Put(e *Endpoint) error {
	data, err := json.Marshal(e)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(d.Of(e.Network), endpointsDir), 0o700); err != nil {
		return errdef.Errorf(errdef.Unavailable, "network: %w", err)
	}
	return atomicfile.Write(d.endpoint(e.Network, e.Container), data, atomicfile.Options{Volatile: true})
}

// Drop forgets an end. One that is not there is fine.
func (d Dir) Drop(network, container string) error {
	if err := os.Remove(d.endpoint(network, container)); err != nil && !os.IsNotExist(err) {
		return errdef.Errorf(errdef.Unavailable, "network: %w", err)
	}
	return nil
}

// Endpoint returns the end of a network in a container; of kind NotFound if there is none.
func (d Dir) Endpoint(network, container string) (*Endpoint, error) {
	path := d.endpoint(network, container)
	data, err := readBounded(path)
	if os.IsNotExist(err) {
		return nil, errdef.Errorf(errdef.NotFound, "container %s is not connected to network %s", container, network)
	}
	if err != nil {
		return nil, errdef.Errorf(errdef.Unavailable, "network: %w", err)
	}
	e := &Endpoint{}
	if err := json.Unmarshal(data, e); err != nil {
		return nil, errdef.Errorf(errdef.Internal, "network: %s: %w", path, err)
	}
	return e, nil
}

func readBounded(path string) ([]byte, error) {
	st, err := os.Lstat(path)
	if err == nil && st.Size() > maxEndpoint {
		return nil, errdef.Errorf(errdef.Internal, "%s: longer than %d bytes", path, maxEndpoint)
	}
	if err != nil {
		return nil, err
	}
	return os.ReadFile(path)
}

// PutNetwork keeps a network beside its ends, so that they can be looked after by whoever is there, wherever the engine's root is.
func (d Dir) PutNetwork(n *Network) error {
	data, err := json.Marshal(n)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(d.Of(n.ID), 0o700); err != nil {
		return errdef.Errorf(errdef.Unavailable, "network: %w", err)
	}
	return atomicfile.Write(filepath.Join(d.Of(n.ID), networkFile), data, atomicfile.Options{Volatile: true})
}

// Network returns what PutNetwork has kept; of kind NotFound if that is nothing.
func (d Dir) Network(id string) (*Network, error) {
	path := filepath.Join(d.Of(id), networkFile)
	data, err := readBounded(path)
	if os.IsNotExist(err) {
		return nil, errdef.Errorf(errdef.NotFound, "network %s has no ends", id)
	}
	if err != nil {
		return nil, errdef.Errorf(errdef.Unavailable, "network: %w", err)
	}
	n := &Network{}
	if err := json.Unmarshal(data, n); err != nil {
		return nil, errdef.Errorf(errdef.Internal, "network: %s: %w", path, err)
	}
	return n, nil
}

// Forget removes all that is kept of a network. The caller has the lock, and has seen that it has no ends.
func (d Dir) Forget(id string) error {
	if err := os.RemoveAll(d.Of(id)); err != nil {
		return errdef.Errorf(errdef.Unavailable, "network: %w", err)
	}
	return nil
}

// Networks returns the ids of the networks that have, or had, ends.
func (d Dir) Networks() ([]string, error) { return names(string(d)) }

// Endpoints returns the ends of a network, sorted by container; of all networks, if it is "". Void ones are among them.
func (d Dir) Endpoints(network string) ([]*Endpoint, error) {
	list := []string{network}
	if network == "" {
		var err error
		if list, err = d.Networks(); err != nil {
			return nil, err
		}
	}
	var out []*Endpoint
	for _, id := range list {
		containers, err := names(filepath.Join(d.Of(id), endpointsDir))
		if err != nil {
			return nil, err
		}
		for _, c := range containers {
			e, err := d.Endpoint(id, c)
			if errdef.Is(err, errdef.NotFound) {
				continue // gone at this moment
			}
			if err != nil {
				return nil, err
			}
			out = append(out, e)
		}
	}
	return out, nil
}

// Any reports whether a network has ends; if it is "", whether any has.
func (d Dir) Any(network string) (bool, error) {
	list := []string{network}
	if network == "" {
		var err error
		if list, err = d.Networks(); err != nil {
			return false, err
		}
	}
	for _, id := range list {
		if ends, err := names(d.EndsOf(id)); err != nil || len(ends) > 0 {
			return true, err
		}
	}
	return false, nil
}

// names lists the ids in a directory, sorted.
func names(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !os.IsNotExist(err) {
		return nil, errdef.Errorf(errdef.Unavailable, "networks: %w", err)
	}
	var out []string
	for _, e := range entries {
		if len(e.Name()) == containerLen {
			out = append(out, e.Name())
		}
	}
	return out, nil
}

// Alive reports whether the monitor of a container lives, which has the lock in its run directory beside the networks' (package monitor/control).
func (d Dir) Alive(container string) bool {
	fd, err := unix.Open(filepath.Join(filepath.Dir(string(d)), container, "lock"), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	free, err := atomicfile.TryFlock(fd, atomicfile.Shared)
	return err == nil && !free
}
