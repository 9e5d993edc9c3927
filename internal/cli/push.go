package cli

import (
	"context"
	"net/http"
	"net/url"

	"github.com/bulkhead-engine/bulkhead/internal/atomicfile"
	"github.com/bulkhead-engine/bulkhead/internal/dockerapi/client"
	"github.com/bulkhead-engine/bulkhead/internal/engine/option"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/image/reference"
	"github.com/spf13/cobra"
)

// A pushing is what to push, and how.
type pushing struct {
	remote     remote
	platform   platformFlag
	quiet, all bool
	digestFile string
}

func pushCommand(p *program) *cobra.Command {
	var o pushing
	c := &cobra.Command{
		Use: "push [OPTIONS] NAME[:TAG]", Short: "Upload an image to its registry", Args: count(1, 1), ValidArgsFunction: p.completeImages,
		RunE: func(cmd *cobra.Command, args []string) error { return p.push(cmd.Context(), args[0], &o) },
	}
	f := c.Flags()
	f.BoolVarP(&o.quiet, "quiet", "q", false, "print only the names of what was pushed")
	f.BoolVarP(&o.all, "all-tags", "a", false, "push every tag of the repository that is here")
	f.Var(&o.platform, "platform", "push only this platform's image")
	f.StringVar(&o.digestFile, "digestfile", "", "write the digest that the registry has now to this file")
	o.remote.register(f)
	contentTrust(f)
	refuseOthers(f, "push")
	return c
}

func (p *program) push(ctx context.Context, name string, o *pushing) error {
	ref, err := reference.Parse(name)
	if err != nil {
		return err
	}
	q := client.Request{Method: http.MethodPost, Query: url.Values{}}
	switch {
	case !o.all && ref.Digest != "":
		err := errdef.Errorf(errdef.Invalid, "push %q: a name with a digest is what content is found by, not where it is put", name)
		return errdef.WithHint(err, "push "+ref.Repository()+":TAG")
	case !o.all:
		q.Query.Set("tag", ref.Tag)
	case ref.Digest != "" || tagged(name, ref):
		return errdef.WithHint(errdef.Errorf(errdef.Invalid, "push %q: --all-tags wants a repository, without tag and digest", name), "push --all-tags "+ref.Repository())
	case o.digestFile != "":
		return errdef.Errorf(errdef.Invalid, "push %s: --digestfile holds one digest, and --all-tags may be many images", name)
	}
	q.Path = imagePath(ref.Repository(), "/push")
	if o.platform.text != "" {
		q.Query.Set("platform", o.platform.text)
	}
	if q.Header, err = o.remote.headers(ctx, p, ref); err != nil {
		return err
	}
	show, end := p.progress(o.quiet)
	var pushed []option.Aux
	err = p.follow(ctx, q, show, results(func(a option.Aux) error {
		pushed = append(pushed, a)
		return nil
	}))
	if closed := end(); err == nil {
		err = closed
	}
	for _, a := range pushed {
		if werr := p.pushed(&a, o); err == nil {
			err = werr
		}
	}
	return err
}

func (p *program) pushed(a *option.Aux, o *pushing) error {
	if o.digestFile != "" {
		if err := atomicfile.Write(o.digestFile, []byte(a.Digest), atomicfile.Options{Mode: 0o644}); err != nil {
			return errdef.Errorf(errdef.KindOf(err), "--digestfile: %w", err)
		}
	}
	if !o.quiet {
		return nil
	}
	return p.print(a.Name)
}
