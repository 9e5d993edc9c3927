package cli

import (
	"context"
	"slices"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/image"
	"github.com/bulkhead-engine/bulkhead/internal/image/reference"
	"github.com/spf13/cobra"
)

// policyFlag is the value of --policy.
type policyFlag struct {
	text   string
	policy image.Policy
}

func (f *policyFlag) String() string { return f.text }
func (f *policyFlag) Type() string   { return "always|missing|never|newer" }
func (f *policyFlag) Set(s string) error {
	p, err := image.ParsePolicy(s)
	f.text, f.policy = s, p
	return err
}

func pullCommand(p *program) *cobra.Command {
	var (
		r        remote
		quiet    bool
		all      bool
		platform platformFlag
		policy   = policyFlag{text: "always"}
	)
	c := &cobra.Command{
		Use: "pull [OPTIONS] NAME[:TAG|@DIGEST] [NAME...]", Short: "Download images from their registries", Args: count(1, -1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := p.images(&r)
			if err != nil {
				return err
			}
			return each(cmd.Context(), args, func(name string) error {
				names := []string{name}
				if all {
					if names, err = allTags(cmd.Context(), s, name); err != nil {
						return err
					}
				}
				for _, n := range names {
					if err := p.pull(cmd.Context(), s, n, image.PullOptions{Platform: platform.p, Policy: policy.policy}, quiet); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
	f := c.Flags()
	f.BoolVarP(&quiet, "quiet", "q", false, "print only the names of what was pulled")
	f.BoolVarP(&all, "all-tags", "a", false, "pull every tag of the repository")
	f.Var(&platform, "platform", "of which platform, if there are several (default the host's)")
	f.Var(&policy, "policy", "when to ask the registry")
	r.register(f)
	r.registerMirrors(f)
	contentTrust(f)
	refuseOthers(f, "pull")
	return c
}

// pull brings one image here.
func (p *program) pull(ctx context.Context, s *image.Service, name string, o image.PullOptions, quiet bool) error {
	ref, err := reference.Parse(name)
	if err != nil {
		return err
	}
	if ref.Digest == "" && !quiet && !tagged(name, ref) {
		if err := p.print("Using default tag: " + ref.Tag); err != nil {
			return err
		}
	}
	show, end := p.progress(quiet)
	o.Progress = show
	_, err = s.Pull(ctx, name, o)
	if closed := end(); err == nil {
		err = closed
	}
	if err != nil {
		return err
	}
	return p.print(ref.String())
}

// allTags returns the names of all tags that the registry has of a repository.
func allTags(ctx context.Context, s *image.Service, name string) ([]string, error) {
	ref, err := reference.Parse(name)
	if err != nil {
		return nil, err
	}
	if ref.Digest != "" || tagged(name, ref) {
		return nil, errdef.WithHint(errdef.Errorf(errdef.Invalid, "pull %q: --all-tags wants a repository, without tag and digest", name), "pull --all-tags "+ref.Repository())
	}
	tags, err := s.Registry().Tags(ctx, ref)
	if err != nil {
		return nil, err
	}
	slices.Sort(tags)
	var out []string
	for _, t := range tags {
		one, err := ref.WithTag(t)
		if err != nil {
			return nil, err
		}
		out = append(out, one.String())
	}
	if len(out) == 0 {
		return nil, errdef.Errorf(errdef.NotFound, "pull %s: the registry has no tag of it", ref.Repository())
	}
	return out, nil
}

// tagged reports whether the user wrote the tag.
func tagged(name string, ref reference.Reference) bool { return strings.HasSuffix(name, ":"+ref.Tag) }
