// Package launch turns a config.json into a running process: it gathers the facts, has the plan compiled, opens the descriptors that the
// plan asks for, starts the child and answers its questions until the container is created, or its program runs.
//
//	child, err := launch.Create(ctx, &launch.Options{ID: "c1", Bundle: dir, Dir: stateDir, Spec: spec})
//	err = launch.Start(ctx, stateDir)
//
// It keeps no state of its own but two FIFOs in the container's state directory: `start`, from which the waiting child reads one byte,
// and `reply`, through which the child tells `start` what failed; execve closes the child's end. A container is "created", and not running
// yet, while the FIFO is there and /proc/PID/exe is still the sealed program (see package forkexec): the kernel's word, not a file's.
//
// Every descriptor is opened once, close-on-exec, and handed to the child by number. What belongs to the image is never opened here.
//
// If the runtime dies at any point, the child reads end of file at its next barrier and ends; a child on the way between two barriers
// ends at the next one. Nothing else of a half-made container outlives it but its cgroup and state directory, which the caller heals.
package launch
