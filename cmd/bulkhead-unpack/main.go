// Command bulkhead-unpack unpacks the layers of images, confined. The engine starts it, nobody else has a use for it:
//
//	bulkhead-unpack start BOX TARGET     # makes a container of itself and stays as its parent; descriptor 3 is the socket to the engine
//	bulkhead-unpack work                 # inside of that container
//
// BOX is an empty directory for the container's root, TARGET the directory below which layers are unpacked. It ends when its standard input does.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/image/layer/confine"
	"github.com/bulkhead-engine/bulkhead/internal/image/layer/serve"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "%v\n", err)
		if hint := errdef.Hint(err); hint != "" {
			fmt.Fprintf(os.Stderr, "hint: %s\n", hint)
		}
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 1 && args[0] == "work":
		return serve.Run(confine.Socket, confine.Target)
	case len(args) == 3 && args[0] == "start":
		self, err := os.Executable()
		if err != nil {
			return errdef.Errorf(errdef.Internal, "find this program: %w", err)
		}
		if self, err = filepath.EvalSymlinks(self); err != nil {
			return errdef.Errorf(errdef.Internal, "find this program: %w", err)
		}
		return confine.Start(context.Background(), &confine.Options{Box: args[1], Target: args[2], Program: self, Args: []string{"work"}})
	}
	return errdef.Errorf(errdef.Invalid, "usage: bulkhead-unpack start BOX TARGET")
}
