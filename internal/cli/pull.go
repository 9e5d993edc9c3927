package cli

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/cli/progress"
	"github.com/bulkhead-engine/bulkhead/internal/dockerapi/client"
	"github.com/bulkhead-engine/bulkhead/internal/engine/option"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/image/reference"
	"github.com/spf13/cobra"
)

// The policies of --policy.
const (
	policyAlways  = "always"
	policyMissing = "missing"
	policyNever   = "never"
	policyNewer   = "newer"
)

// policyFlag is the value of --policy.
type policyFlag string

func (f *policyFlag) String() string { return string(*f) }
func (f *policyFlag) Type() string   { return "always|missing|never|newer" }
func (f *policyFlag) Set(s string) error {
	switch s {
	case policyAlways, policyMissing, policyNever, policyNewer:
	case "true", "":
		s = policyAlways
	case "false", "ifnotpresent":
		s = policyMissing
	case "ifnewer":
		s = policyNewer
	default:
		err := errdef.Errorf(errdef.Invalid, "pull policy %q: there is no such one", s)
		return errdef.WithHint(err, "one of always, missing, never, newer")
	}
	*f = policyFlag(s)
	return nil
}

// A pulling is what to pull, and how.
type pulling struct {
	remote   *remote // nil: registries are reached as the engine does
	platform string  // "": the host's
	policy   policyFlag
	all      bool // tags
	quiet    bool
	aside    bool // what it says goes to standard error: the output is a program's
}

func pullCommand(p *program) *cobra.Command {
	o := pulling{remote: &remote{}, policy: policyAlways}
	var platform platformFlag
	c := &cobra.Command{
		Use: "pull [OPTIONS] NAME[:TAG|@DIGEST] [NAME...]", Short: "Download images from their registries", Args: count(1, -1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.platform = platform.text
			return each(cmd.Context(), args, func(name string) error { return p.pullWith(cmd.Context(), name, o) })
		},
	}
	f := c.Flags()
	f.BoolVarP(&o.quiet, "quiet", "q", false, "print only the names of what was pulled")
	f.BoolVarP(&o.all, "all-tags", "a", false, "pull every tag of the repository")
	f.Var(&platform, "platform", "of which platform, if there are several (default the host's)")
	f.Var(&o.policy, "policy", "when to ask the registry")
	o.remote.register(f)
	o.remote.registerMirrors(f)
	contentTrust(f)
	refuseOthers(f, "pull")
	return c
}

// pullWith brings one image here, or all of a repository.
func (p *program) pullWith(ctx context.Context, name string, o pulling) error {
	ref, err := reference.Parse(name)
	if err != nil {
		return err
	}
	whole := ref.String()
	if o.all {
		if ref.Digest != "" || tagged(name, ref) {
			return errdef.WithHint(errdef.Errorf(errdef.Invalid, "pull %q: --all-tags wants a repository, without tag and digest", name), "pull --all-tags "+ref.Repository())
		}
		whole = ref.Repository()
	}
	q := client.Request{Method: http.MethodPost, Path: "/images/create", Query: url.Values{"fromImage": {whole}}}
	if o.platform != "" {
		q.Query.Set("platform", o.platform)
	}
	if o.policy != "" {
		q.Query.Set("policy", string(o.policy))
	}
	if o.policy != policyNever { // which needs no credential
		if q.Header, err = o.remote.headers(ctx, p, ref); err != nil {
			return err
		}
	}
	if ref.Digest == "" && !o.quiet && !o.all && !o.aside && !tagged(name, ref) {
		if err := p.print("Using default tag: " + ref.Tag); err != nil {
			return err
		}
	}
	show, end := p.progressTo(o.quiet, o.aside)
	var names []string
	err = p.follow(ctx, q, show, results(func(a option.Aux) error {
		if a.Name != "" {
			names = append(names, a.Name)
		}
		return nil
	}))
	if closed := end(); err == nil {
		err = closed
	}
	for _, n := range names {
		if o.aside {
			continue
		}
		if perr := p.print(n); err == nil {
			err = perr
		}
	}
	return err
}

// progressTo is progress, or the same on standard error, where every step is a line.
func (p *program) progressTo(quiet, aside bool) (show func(progress.Event), end func() error) {
	if quiet || !aside {
		return p.progress(quiet)
	}
	return func(e progress.Event) {
		if e.Total == 0 {
			p.line(strings.TrimPrefix(e.ID+": "+e.Action, ": "))
		}
	}, func() error { return nil }
}

// tagged reports whether the user wrote the tag.
func tagged(name string, ref reference.Reference) bool { return strings.HasSuffix(name, ":"+ref.Tag) }
