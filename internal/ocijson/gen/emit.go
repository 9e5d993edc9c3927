package main

import (
	"fmt"
	"go/types"
	"reflect"
	"slices"
	"strings"
)

// field is a field of a struct, those of embedded ones included.
type field struct {
	name      string // in JSON
	goName    string
	typ       types.Type
	omitEmpty bool
	omitZero  bool
}

// maxFields is how many fields ocijson.Fields can tell apart.
const maxFields = 64

// fields returns what encoding/json would write of a struct, in its order.
func fields(owner string, s *types.Struct) ([]field, error) {
	var out []field
	for i := range s.NumFields() {
		v := s.Field(i)
		tag := reflect.StructTag(s.Tag(i)).Get("json")
		if tag == "-" {
			continue
		}
		name, opts, _ := strings.Cut(tag, ",")
		if v.Embedded() && name == "" {
			if k, _, err := classify(v.Type()); err != nil || k != kindStruct {
				return nil, fmt.Errorf("%s.%s: embedded, and not a plain struct", owner, v.Name())
			}
			inner := v.Type().Underlying().(*types.Struct)
			more, err := fields(owner+"."+v.Name(), inner)
			if err != nil {
				return nil, err
			}
			out = append(out, more...)
			continue
		}
		if !v.Exported() {
			continue
		}
		if name == "" {
			name = v.Name()
		}
		f := field{name: name, goName: v.Name(), typ: v.Type()}
		for _, o := range strings.Split(opts, ",") {
			switch o {
			case "":
			case "omitempty":
				f.omitEmpty = true
			case "omitzero":
				f.omitZero = true
			default:
				return nil, fmt.Errorf("%s.%s: option %q is not supported", owner, v.Name(), o)
			}
		}
		out = append(out, f)
	}
	for i, f := range out {
		if slices.ContainsFunc(out[:i], func(o field) bool { return strings.EqualFold(o.name, f.name) }) {
			return nil, fmt.Errorf("%s: two fields are named %s", owner, f.name)
		}
		if strings.ContainsFunc(f.name, func(r rune) bool { return r < ' ' || r > '~' || r == '"' || r == '\\' }) {
			return nil, fmt.Errorf("%s: the name %q would need escapes", owner, f.name)
		}
	}
	if len(out) > maxFields {
		return nil, fmt.Errorf("%s: %d fields, want at most %d", owner, len(out), maxFields)
	}
	return out, nil
}

// emit returns the code in pieces: a variable or function each, never split between files.
func (g *generator) emit() ([]string, error) {
	var chunks []string
	for _, named := range g.bases {
		chunks = append(chunks, g.unmarshal(named))
	}
	for len(g.queue) > 0 {
		named := g.queue[0]
		g.queue = g.queue[1:]
		if _, _, err := classify(named); err != nil {
			return nil, err
		}
		fs, err := fields(named.String(), named.Underlying().(*types.Struct))
		if err != nil {
			return nil, err
		}
		dec, err := g.decoder(named, fs)
		if err != nil {
			return nil, err
		}
		enc, err := g.appender(named, fs)
		if err != nil {
			return nil, err
		}
		chunks = append(chunks, dec, enc)
	}
	return chunks, nil
}

func (g *generator) typ(t types.Type) string { return types.TypeString(t, g.qualifier) }

func (g *generator) unmarshal(n *types.Named) string {
	name := g.names[n]
	return fmt.Sprintf("// Unmarshal%s sets *v to the document in data; see [%s].\nfunc Unmarshal%s(data []byte, v *%s) error {\n\treturn %s(data, v, Decode%s)\n}\n",
		name, g.prim("Unmarshal"), name, g.typ(n), g.prim("Unmarshal"), name)
}

func (g *generator) decoder(n *types.Named, fs []field) (string, error) {
	var b strings.Builder
	list := "fields" + upper(g.names[n])
	fmt.Fprintf(&b, "var %s = []string{", list)
	for i, f := range fs {
		if i%8 == 0 {
			b.WriteString("\n\t")
		}
		fmt.Fprintf(&b, "%q, ", f.name)
	}
	b.WriteString("\n}\n\n")
	fn := g.fn("decode", n)
	if fn[0] == 'D' {
		fmt.Fprintf(&b, "// %s reads the object that comes next.\n", fn)
	}
	fmt.Fprintf(&b, "func %s(d *%s, v *%s) {\n", fn, g.prim("Decoder"), g.typ(n))
	fmt.Fprintf(&b, "for f := d.Object(%s); f.Next(); {\nswitch f.I {\n", list)
	for i, f := range fs {
		stmt, err := g.read(f.typ, "v."+f.goName, true)
		if err != nil {
			return "", fmt.Errorf("%s.%s: %w", n, f.goName, err)
		}
		fmt.Fprintf(&b, "case %d:\n%s\n", i, stmt)
	}
	b.WriteString("}\n}\n}\n")
	return b.String(), nil
}

func (g *generator) appender(n *types.Named, fs []field) (string, error) {
	var b strings.Builder
	fn := g.fn("append", n)
	if fn[0] == 'A' {
		fmt.Fprintf(&b, "// %s appends v as JSON to dst and returns the longer slice.\n", fn)
	}
	fmt.Fprintf(&b, "func %s(dst []byte, v *%s) []byte {\ndst = append(dst, '{')\n", fn, g.typ(n))
	for _, f := range fs {
		expr, err := g.write(f.typ, "v."+f.goName, fmt.Sprintf("%s(dst, %q)", g.prim("AppendKey"), f.name))
		if err != nil {
			return "", fmt.Errorf("%s.%s: %w", n, f.goName, err)
		}
		cond, err := condition(f)
		if err != nil {
			return "", fmt.Errorf("%s.%s: %w", n, f.goName, err)
		}
		if cond != "" {
			fmt.Fprintf(&b, "if %s {\ndst = %s\n}\n", cond, expr)
		} else {
			fmt.Fprintf(&b, "dst = %s\n", expr)
		}
	}
	b.WriteString("return append(dst, '}')\n}\n")
	return b.String(), nil
}

// condition returns when a field is written; "" for always.
func condition(f field) (string, error) {
	v := "v." + f.goName
	if f.omitZero {
		if !isTime(f.typ) {
			return "", fmt.Errorf("omitzero is supported for time.Time only")
		}
		return "!" + v + ".IsZero()", nil
	}
	if !f.omitEmpty {
		return "", nil
	}
	switch u := f.typ.Underlying().(type) {
	case *types.Pointer, *types.Interface:
		return v + " != nil", nil
	case *types.Slice, *types.Map:
		return "len(" + v + ") != 0", nil
	case *types.Struct:
		return "", nil // never empty, as for encoding/json
	case *types.Basic:
		switch info := u.Info(); {
		case info&types.IsString != 0:
			return v + ` != ""`, nil
		case info&types.IsBoolean != 0:
			if _, plain := f.typ.(*types.Basic); plain {
				return v, nil
			}
			return "bool(" + v + ")", nil
		default:
			return v + " != 0", nil
		}
	}
	return "", fmt.Errorf("type %s is not supported", f.typ)
}

// fn returns the name of the decode or append function of a struct, which is queued if it is new.
func (g *generator) fn(verb string, n *types.Named) string {
	pkg := n.Obj().Pkg()
	if pkg != g.from && pkg != g.here {
		if name, ok := specNames[pkg.Path()+"."+n.Obj().Name()]; ok {
			return g.prim(upper(verb) + name)
		}
		return g.qualifier(pkg) + "." + upper(verb) + n.Obj().Name()
	}
	if !slices.Contains(g.bases, n) {
		if _, ok := g.names[n]; !ok {
			g.names[n] = upper(pkg.Name()) + n.Obj().Name()
			if pkg == g.here {
				g.names[n] = upper(n.Obj().Name())
			}
			g.queue = append(g.queue, n)
		}
		return verb + g.names[n]
	}
	return upper(verb) + g.names[n]
}

const specPath = "github.com/opencontainers/runtime-spec/specs-go"

// specNames are the types of runtime-spec that ocijson has exported functions for (see the go:generate lines in its doc.go).
var specNames = map[string]string{
	specPath + ".Spec":                  "Spec",
	specPath + ".State":                 "State",
	specPath + ".Process":               "Process",
	specPath + ".LinuxResources":        "Resources",
	specPath + ".LinuxSeccomp":          "Seccomp",
	specPath + ".Hooks":                 "Hooks",
	specPath + ".Hook":                  "Hook",
	specPath + ".ContainerProcessState": "ContainerProcessState",
	specPath + "/features.Features":     "Features",
}

func upper(s string) string { return strings.ToUpper(s[:1]) + s[1:] }
