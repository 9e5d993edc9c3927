// Package container is the engine's service for containers: create, start, stop, kill, wait, remove, list, attach, logs, exec.
//
//	s, err := container.Open(container.Options{Root: root, Run: run, Images: images})
//	c, err := s.Create(ctx, container.Request{Name: "web", Config: config, Host: host})
//	err = s.Start(ctx, c.ID, nil)
//	code, err := s.Wait(ctx, c.ID)
//	err = s.Remove(ctx, c.ID, container.RemoveOptions{})
//
// State is files. Below Root: containers/ID holds container.json (what was asked for, written once, and again only by rename and update), state.json and the log
// (the monitor's), fs (the writable layer) and the files that the engine mounts; names/NAME and ranges/N are claims: each names the container that has the name, or the range
// of user ids. Below Run, on a tmpfs: ID holds the bundle and the monitor's files.
//
// A container is made in its own directory first, under a temporary name, and appears by one rename; claims are made before, and are void when the
// directory that they name is not there. So whatever is killed when, nothing has to be undone but by the next command that wants the name.
//
// What the kernel knows is never believed from a file: a container runs if its monitor holds its lock. One whose monitor was killed is ended by the next command that
// looks at it, and gets the exit status 137.
package container
