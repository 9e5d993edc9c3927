package format

import (
	"bytes"
	"encoding/json"
	"strings"
	"text/template"
	"unicode"

	"github.com/bulkhead-engine/bulkhead/internal/cli/printable"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
)

// Parse reads a template as a user writes it: \t and \n in it may be two characters each, since shells keep them so.
func Parse(text string) (*template.Template, error) {
	text = strings.NewReplacer(`\t`, "\t", `\n`, "\n").Replace(text)
	t, err := template.New("").Option("missingkey=error").Funcs(functions()).Parse(text)
	if err != nil {
		return nil, errdef.WithHint(errdef.Errorf(errdef.Invalid, "--format: %w", err), "table, json, or a template such as '{{.ID}}'")
	}
	return t, nil
}

// functions are those of Docker (docs.docker.com, "Format command and log output").
func functions() template.FuncMap {
	return template.FuncMap{
		"json":  toJSON,
		"split": strings.Split,
		"join":  func(list any, by string) string { return strings.Join(words(list), by) },
		"lower": strings.ToLower,
		"upper": strings.ToUpper,
		"title": title,
		"pad": func(s string, before, after int) string {
			if s == "" {
				return s
			}
			return strings.Repeat(" ", spaces(before)) + s + strings.Repeat(" ", spaces(after))
		},
		"truncate": func(s string, n int) string {
			if r := []rune(s); n >= 0 && len(r) > n {
				return string(r[:n])
			}
			return s
		},
	}
}

// title begins every word with a capital letter.
func title(s string) string {
	before := ' '
	return strings.Map(func(r rune) rune {
		inside := unicode.IsLetter(before) || unicode.IsDigit(before) || before == '_' || before == '\''
		before = r
		if inside {
			return r
		}
		return unicode.ToTitle(r)
	}, s)
}

// spaces bounds a number of them.
func spaces(n int) int { return min(max(n, 0), 1<<12) }

// headerFunctions are what the functions do to the head of a column: little.
func headerFunctions() template.FuncMap {
	same := func(v any) any { return v }
	return template.FuncMap{
		"json": same, "title": same, "lower": same, "upper": same,
		"split": func(v any, _ string) any { return v }, "join": func(v any, _ string) any { return v },
		"truncate": func(v any, _ int) any { return v },
	}
}

func words(list any) []string {
	switch l := list.(type) {
	case []string:
		return l
	case []any:
		out := make([]string, len(l))
		for i, v := range l {
			if s, ok := v.(string); ok {
				out[i] = s
			} else {
				out[i] = toJSON(v)
			}
		}
		return out
	case string:
		return []string{l}
	}
	return nil
}

func toJSON(v any) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return "null"
	}
	return string(printable.JSON(bytes.TrimRight(b.Bytes(), "\n")))
}

// Inspected is something that was asked for: its JSON as it came, and the same in a Go type.
type Inspected struct {
	Raw   json.RawMessage
	Value any
}

// Inspections writes what inspect got from an engine: with "" and json the JSON as it came, in an array, else by the template, which sees Go's fields and, where
// these do not do, those of the JSON.
func Inspections(out Out, format string, list []Inspected) error {
	if format == "" || format == "json" {
		raw := []json.RawMessage{}
		for _, i := range list {
			raw = append(raw, i.Raw)
		}
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		if format == "" {
			e.SetIndent("", "    ")
		}
		if err := e.Encode(raw); err != nil {
			return errdef.Errorf(errdef.Internal, "encode output: %w", err)
		}
		return write(out, printable.JSON(b.Bytes()))
	}
	values := make([]any, len(list))
	for i := range list {
		values[i] = list[i].Value
	}
	return byTemplate(out, format, values, func(i int) ([]byte, error) { return list[i].Raw, nil })
}

// Values writes what inspect found: with "" as one array of JSON, with json a line of it each, else by the template, which sees Go's fields and, where these do
// not do, those of the JSON.
func Values(out Out, format string, values []any) error {
	if format == "" {
		if values == nil {
			values = []any{}
		}
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		e.SetIndent("", "    ")
		if err := e.Encode(values); err != nil {
			return errdef.Errorf(errdef.Internal, "encode output: %w", err)
		}
		return write(out, printable.JSON(b.Bytes()))
	}
	if format == "json" {
		format = "{{json .}}"
	}
	return byTemplate(out, format, values, func(i int) ([]byte, error) { return json.Marshal(values[i]) })
}

// byTemplate writes values by a template, from their JSON where Go's fields do not do.
func byTemplate(out Out, format string, values []any, jsonOf func(int) ([]byte, error)) error {
	t, err := Parse(format)
	if err != nil {
		return err
	}
	first := execute(Out{Writer: new(bytes.Buffer)}, t, values)
	if first == nil {
		return execute(out, t, values)
	}
	raw := make([]any, len(values))
	for i := range values {
		data, err := jsonOf(i)
		if err == nil {
			err = json.Unmarshal(data, &raw[i])
		}
		if err != nil {
			return first
		}
	}
	if err := execute(out, t, raw); err != nil {
		return first
	}
	return nil
}
