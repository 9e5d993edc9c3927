// Package format writes what commands have found: tables, templates, JSON, sizes and times as Docker writes them.
//
//	list := format.List{Columns: []format.Column{{"ID", "IMAGE ID"}, {"Size", "SIZE"}}, Extra: []format.Column{{"Digest", "DIGEST"}}}
//	err := list.Write(out, flag, rows)                                     // --format of a list
//	err = format.Values(out, flag, []any{inspected})                       // --format of inspect
//
// The word of --format is one of
//
//	""  table               a table of Columns
//	table TEMPLATE          a table with the columns of the template: 'table {{.ID}}\t{{.Size}}'
//	json                    a line of JSON per row
//	TEMPLATE                text/template, a line per row
//
// with Docker's functions: json, split, join, title, lower, upper, pad, truncate, and println of text/template. A field that there is not is an error that names
// those there are.
//
// Security: what is in a row was written by others. Cells of tables never hold a control character (package printable). What a template makes is passed
// unchanged, for scripts, unless Out.Terminal says that a terminal gets it.
package format
