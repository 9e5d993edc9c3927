package command

import (
	"context"
	"flag"
	"path/filepath"

	"github.com/bulkhead-engine/bulkhead/internal/atomicfile"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/ocijson"
	"github.com/bulkhead-engine/bulkhead/internal/runtime/bundle"
)

func specCommand() *command {
	var dir string
	var rootless bool
	return &command{
		name: "spec", summary: "write a config.json to begin with", min: 0, max: 0,
		flags: func(f *flag.FlagSet) {
			f.StringVar(&dir, "bundle", "", "`DIR` to write it to (default: the current directory)")
			alias(f, "b", "bundle")
			f.BoolVar(&rootless, "rootless", false, "for a user without privileges")
		},
		run: func(context.Context, *invocation) (int, error) {
			if dir == "" {
				dir = "."
			}
			path := filepath.Join(dir, bundle.ConfigName)
			doc := ocijson.AppendIndent(nil, ocijson.AppendSpec(nil, bundle.Default(rootless)), "\t")
			err := atomicfile.Create(path, append(doc, '\n'), atomicfile.Options{Mode: 0o644})
			if errdef.Is(err, errdef.Exists) {
				err = errdef.Errorf(errdef.Exists, "file %s exists", path)
				err = errdef.WithHint(err, "remove it first")
			}
			return 0, err
		},
	}
}
