// Package container is the engine's service for containers: create, start, stop, kill, wait, remove, list, attach, logs, exec, top, stats, update, rename, cp, prune.
//
//	s, err := container.Open(container.Options{Root: root, Run: run, Images: images})
//	c, err := s.Create(ctx, option.Create{Name: "web", Config: config, Host: host})
//	err = s.Start(ctx, c.ID)
//	end, err := s.Wait(ctx, c.ID, api.WaitConditionNotRunning, func() {})
//	err = s.Remove(ctx, c.ID, option.Remove{})
//
// The methods are those that the Engine API's server asks for (package dockerapi/server), one per operation, in the types of Docker's API and of package option.
//
// State is files. Below Root: containers/ID holds container.json (what was asked for, written once, and again only by rename and update), state.json and the log
// (the monitor's), fs (the writable layer) and the files that the engine mounts; names/NAME and ranges/N are claims: each names the container that has the name, or the range
// of user ids. Below Run, on a tmpfs: ID holds the bundle and the monitor's files, secrets/ID the secrets of a container, events/log what has happened.
//
// A container is made in its own directory first, under a temporary name, and appears by one rename; claims are made before, and are void when the
// directory that they name is not there. So whatever is killed when, nothing has to be undone but by the next command that wants the name.
//
// The same holds for a rename: a claim of a name counts only if the record has the name. What is left all the same is swept by the create that comes upon it, and by prune.
//
// Files go in and out (cp) on a thread that is in the container's mount namespace, or in one where its mounts are made for the time, as the container's root and with no capability but those that concern files;
// package archive does the rest by descriptors.
//
// What the kernel knows is never believed from a file: a container runs if its monitor holds its lock. One whose monitor was killed is ended by the next command that
// looks at it, and gets the exit status 137.
package container
