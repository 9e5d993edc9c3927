package format

import (
	"bytes"
	"encoding/json"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"text/template"

	"github.com/bulkhead-engine/bulkhead/internal/cli/printable"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
)

// Out is where output goes.
type Out struct {
	io.Writer
	Terminal bool // it is shown to somebody
}

// A Column is a field of the rows and what stands above it in a table.
type Column struct{ Field, Header string }

// A Row is what is known of one thing, by field. A template sees the keys as fields, and the method.
type Row map[string]any

// Label is one of the labels, for templates: {{.Label "KEY"}}. In the head of a table it is the last word of the key.
func (r Row) Label(key string) string {
	if l, ok := r["Labels"].(Labels); ok {
		return l[key]
	}
	_, head := r["Labels"]
	if !head {
		return ""
	}
	return strings.NewReplacer("-", " ", "_", " ").Replace(key[strings.LastIndexByte(key, '.')+1:])
}

// Labels are labels in a row: as text and in JSON they are Docker's list with commas.
type Labels map[string]string

// String is the list.
func (l Labels) String() string {
	var out []string
	for k, v := range l {
		out = append(out, k+"="+v)
	}
	slices.Sort(out)
	return strings.Join(out, ",")
}

// MarshalJSON is json.Marshaler's.
func (l Labels) MarshalJSON() ([]byte, error) { return json.Marshal(l.String()) }

// A List is how rows are written.
type List struct {
	Columns []Column // of the default table
	Extra   []Column // other fields of templates
}

// Write writes the rows as the word of --format says.
func (l List) Write(out Out, format string, rows []Row) error {
	text, table := strings.CutPrefix(format, "table")
	switch {
	case format == "" || format == "table":
		return l.table(out, rows)
	case table && (text[0] == ' ' || text[0] == '\t'):
		return l.templateTable(out, strings.TrimSpace(text), rows)
	case format == "json":
		format = "{{json .}}"
	}
	t, err := Parse(format)
	if err != nil {
		return err
	}
	values := make([]any, len(rows))
	for i, r := range rows {
		values[i] = r
	}
	return l.explain(execute(out, t, values))
}

// explain names the fields there are.
func (l List) explain(err error) error {
	if err == nil || !strings.Contains(err.Error(), "map has no entry for key") {
		return err
	}
	var names []string
	for _, c := range slices.Concat(l.Columns, l.Extra) {
		names = append(names, "."+c.Field)
	}
	slices.Sort(names)
	return errdef.WithHint(err, "fields are "+strings.Join(slices.Compact(names), " "))
}

func tabs(w io.Writer) *tabwriter.Writer { return tabwriter.NewWriter(w, 10, 1, 3, ' ', 0) } // Docker's measures

func (l List) table(out Out, rows []Row) error {
	var b bytes.Buffer
	w := tabs(&b)
	line := func(cell func(Column) string) {
		for i, c := range l.Columns {
			if i > 0 {
				_, _ = w.Write([]byte{'\t'})
			}
			_, _ = io.WriteString(w, cell(c))
		}
		_, _ = w.Write([]byte{'\n'})
	}
	line(func(c Column) string { return c.Header })
	for _, r := range rows {
		line(func(c Column) string { return cell(r[c.Field]) })
	}
	_ = w.Flush() // to memory
	return write(out, b.Bytes())
}

// cell is a value in a table.
func cell(v any) string {
	switch s := v.(type) {
	case nil:
		return ""
	case string:
		return printable.Line(s)
	case Labels:
		return printable.Line(s.String())
	}
	return printable.Line(toJSON(v))
}

func (l List) templateTable(out Out, text string, rows []Row) error {
	t, err := Parse(text)
	if err != nil {
		return err
	}
	header, err := t.Clone()
	if err != nil {
		return errdef.Errorf(errdef.Internal, "template: %w", err)
	}
	header.Funcs(headerFunctions())
	headers := Row{}
	for _, c := range slices.Concat(l.Columns, l.Extra) {
		headers[c.Field] = c.Header
	}
	var b bytes.Buffer
	w := tabs(&b)
	if err := execute(Out{Writer: w}, header, []any{headers}); err != nil {
		return l.explain(err)
	}
	values := make([]any, len(rows))
	for i, r := range rows {
		clean := Row{}
		for k, v := range r {
			switch s := v.(type) {
			case string:
				v = printable.Line(s)
			case Labels:
				l := Labels{}
				for key, value := range s {
					l[printable.Line(key)] = printable.Line(value)
				}
				v = l
			}
			clean[k] = v
		}
		values[i] = clean
	}
	if err := execute(Out{Writer: w}, t, values); err != nil {
		return l.explain(err)
	}
	_ = w.Flush() // to memory
	return write(out, []byte(printable.Text(b.String())))
}

func write(w io.Writer, data []byte) error {
	if _, err := w.Write(data); err != nil {
		return errdef.Errorf(errdef.Unavailable, "write output: %w", err)
	}
	return nil
}

// execute writes a line per value. Nothing is written if one of them does not fit the template.
func execute(out Out, t *template.Template, values []any) error {
	var b bytes.Buffer
	for _, v := range values {
		if err := t.Execute(&b, v); err != nil {
			return errdef.Errorf(errdef.Invalid, "--format: %w", err)
		}
		b.WriteByte('\n')
	}
	data := b.Bytes()
	if out.Terminal {
		data = []byte(printable.Text(b.String()))
	}
	return write(out, data)
}
