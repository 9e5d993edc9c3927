package cli

import (
	"context"
	"slices"

	"github.com/bulkhead-engine/bulkhead/internal/atomicfile"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/image"
	"github.com/bulkhead-engine/bulkhead/internal/image/reference"
	"github.com/spf13/cobra"
)

func pushCommand(p *program) *cobra.Command {
	var (
		r          remote
		quiet, all bool
		platform   platformFlag
		digestFile string
	)
	c := &cobra.Command{
		Use: "push [OPTIONS] NAME[:TAG]", Short: "Upload an image to its registry", Args: count(1, 1), ValidArgsFunction: p.completeImages,
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := p.images(&r)
			if err != nil {
				return err
			}
			names := args
			if all {
				if names, err = localTags(s, args[0]); err != nil {
					return err
				}
			}
			if digestFile != "" && len(names) > 1 {
				return errdef.Errorf(errdef.Invalid, "push %s: --digestfile holds one digest, and these are %d images", args[0], len(names))
			}
			return each(cmd.Context(), names, func(name string) error {
				return p.push(cmd.Context(), s, name, image.PushOptions{Platform: platform.p}, pushOutput{quiet, digestFile})
			})
		},
	}
	f := c.Flags()
	f.BoolVarP(&quiet, "quiet", "q", false, "print only the names of what was pushed")
	f.BoolVarP(&all, "all-tags", "a", false, "push every tag of the repository that is here")
	f.Var(&platform, "platform", "push only this platform's image")
	f.StringVar(&digestFile, "digestfile", "", "write the digest that the registry has now to this file")
	r.register(f)
	contentTrust(f)
	refuseOthers(f, "push")
	return c
}

type pushOutput struct {
	quiet      bool
	digestFile string
}

func (p *program) push(ctx context.Context, s *image.Service, name string, o image.PushOptions, out pushOutput) error {
	ref, err := reference.Parse(name)
	if err != nil {
		return err
	}
	show, end := p.progress(out.quiet)
	o.Progress = show
	pushed, err := s.Push(ctx, name, o)
	if closed := end(); err == nil {
		err = closed
	}
	if err != nil {
		return err
	}
	if out.digestFile != "" {
		if err := atomicfile.Write(out.digestFile, []byte(pushed.Target.Digest), atomicfile.Options{Mode: 0o644}); err != nil {
			return errdef.Errorf(errdef.KindOf(err), "--digestfile: %w", err)
		}
	}
	if !out.quiet {
		return nil
	}
	return p.print(ref.String())
}

// localTags returns the names of a repository that are here.
func localTags(s *image.Service, name string) ([]string, error) {
	ref, err := reference.Parse(name)
	if err != nil {
		return nil, err
	}
	if ref.Digest != "" || tagged(name, ref) {
		return nil, errdef.WithHint(errdef.Errorf(errdef.Invalid, "push %q: --all-tags wants a repository, without tag and digest", name), "push --all-tags "+ref.Repository())
	}
	images, err := s.List()
	if err != nil {
		return nil, err
	}
	var out []string
	for _, img := range images {
		for _, n := range img.Names {
			if r, err := reference.Parse(n); err == nil && r.Repository() == ref.Repository() && r.Tag != "" {
				out = append(out, n)
			}
		}
	}
	if len(out) == 0 {
		return nil, errdef.Errorf(errdef.NotFound, "push %s: there is no tag of it here", ref.Repository())
	}
	slices.Sort(out)
	return out, nil
}
