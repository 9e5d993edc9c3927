package cli

import (
	"context"
	"net/url"
	"strconv"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/cli/format"
	"github.com/bulkhead-engine/bulkhead/internal/image/reference"
	"github.com/moby/moby/api/types/image"
	"github.com/spf13/cobra"
)

// listFlags are those of `images`.
type listFlags struct {
	filters                filters
	quiet, noTrunc, digest bool
	format                 string
}

func listCommand(p *program, use string) *cobra.Command {
	var o listFlags
	o.filters.known = []string{"dangling", "reference", "before", "since", "label", "until"}
	c := &cobra.Command{
		Use: use, Short: "List images", Args: count(0, 1), ValidArgsFunction: p.completeImages,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				o.filters.add("reference", args[0])
			}
			found, err := p.listImages(cmd.Context(), &o.filters)
			if err != nil {
				return err
			}
			return p.writeSummaries(found, &o)
		},
	}
	f := c.Flags()
	f.BoolP("all", "a", false, "all images; there are no intermediate ones to hide, so this changes nothing")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "print only ids")
	f.BoolVar(&o.noTrunc, "no-trunc", false, "print whole ids")
	f.BoolVar(&o.digest, "digests", false, "print digests")
	f.VarP(&o.filters, "filter", "f", "only images of which this is true: dangling=BOOL, reference=PATTERN, before=IMAGE, since=IMAGE, label=KEY[=VALUE], until=TIME")
	f.StringVar(&o.format, "format", "", "table, json, or a template")
	refuse(f, "tree", "", refusedFlag{reason: "platforms of an image are not shown as a tree", hint: "bulkhead image inspect --platform tells of each", boolean: true})
	return c
}

// listImages asks which images there are.
func (p *program) listImages(ctx context.Context, fs *filters) ([]image.Summary, error) {
	c, err := p.engine()
	if err != nil {
		return nil, err
	}
	var out []image.Summary
	return out, c.Get(ctx, "/images/json", fs.query(url.Values{}), &out)
}

const none = "<none>"

// writeSummaries writes images as Docker does: a line per name.
func (p *program) writeSummaries(found []image.Summary, o *listFlags) error {
	l := format.List{
		Columns: []format.Column{{Field: "Repository", Header: "REPOSITORY"}, {Field: "Tag", Header: "TAG"}},
		Extra: []format.Column{
			{Field: "Digest", Header: "DIGEST"},
			{Field: "CreatedAt", Header: "CREATED AT"},
			{Field: "Containers", Header: "CONTAINERS"},
			{Field: "VirtualSize", Header: "SIZE"},
			{Field: "SharedSize", Header: "SHARED SIZE"},
			{Field: "UniqueSize", Header: "UNIQUE SIZE"},
		},
	}
	if o.digest {
		l.Columns = append(l.Columns, format.Column{Field: "Digest", Header: "DIGEST"})
	}
	l.Columns = append(l.Columns, format.Column{Field: "ID", Header: "IMAGE ID"}, format.Column{Field: "CreatedSince", Header: "CREATED"}, format.Column{Field: "Size", Header: "SIZE"})
	var rows []format.Row
	for i := range found {
		rows = append(rows, summaryRows(&found[i], o)...)
	}
	if !o.quiet {
		return l.Write(p.stdout(), o.format, rows)
	}
	for _, r := range rows {
		if err := p.print(r["ID"].(string)); err != nil {
			return err
		}
	}
	return nil
}

// summaryRows are the lines of one image: each tag with the digest of its repository, then repositories that have only a digest.
func summaryRows(s *image.Summary, o *listFlags) []format.Row {
	row := func(repository, tag, digest string) format.Row {
		r := format.Row{
			"ID": shortID(s.ID, o.noTrunc), "Repository": repository, "Tag": tag, "Digest": digest, "CreatedSince": format.Ago(s.Created), "CreatedAt": "N/A",
			"Size": format.Bytes(s.Size), "VirtualSize": format.Digits(s.Size, 4), "SharedSize": "N/A", "UniqueSize": "N/A", "Containers": "N/A",
		}
		if s.Created > 0 {
			r["CreatedAt"] = time.Unix(s.Created, 0).String()
		}
		return r
	}
	digests, order := map[string]string{}, []string{}
	for _, name := range s.RepoDigests {
		if ref, err := reference.Parse(name); err == nil {
			repository := familiarRepository(ref)
			digests[repository], order = ref.Digest.String(), append(order, repository)
		}
	}
	var out []format.Row
	seen := map[string]bool{}
	for _, name := range s.RepoTags {
		ref, err := reference.Parse(name)
		if err != nil {
			continue
		}
		repository := familiarRepository(ref)
		seen[repository] = true
		digest := digests[repository]
		if digest == "" {
			digest = none
		}
		out = append(out, row(repository, ref.Tag, digest))
	}
	for _, repository := range order {
		if !seen[repository] {
			out = append(out, row(repository, none, digests[repository]))
		}
	}
	if len(out) == 0 {
		out = append(out, row(none, none, none))
	}
	return out
}

// familiarRepository is the name of a repository as people write it.
func familiarRepository(ref reference.Reference) string {
	ref.Tag, ref.Digest = reference.DefaultTag, ""
	name := ref.Familiar()
	return name[:len(name)-len(":"+reference.DefaultTag)]
}

// shortID is an id as it is shown.
func shortID(id string, whole bool) string {
	if whole {
		return id
	}
	const prefix = "sha256:"
	if len(id) > len(prefix)+12 && id[:len(prefix)] == prefix {
		return id[len(prefix):][:12]
	}
	return id
}

// human is a size for people, or in bytes.
func human(n int64, yes bool) string {
	if yes {
		return format.Bytes(n)
	}
	return strconv.FormatInt(n, 10)
}
