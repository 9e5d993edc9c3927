package main

import (
	"bytes"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

const ocijsonPath = "github.com/bulkhead-engine/bulkhead/internal/ocijson"

// generator holds the types that code is made for.
type generator struct {
	here    *types.Package    // where the code goes
	from    *types.Package    // where the types are
	imports map[string]string // import path to the name that the code uses
	names   map[*types.Named]string
	queue   []*types.Named
	bases   []*types.Named // roots, for Unmarshal functions
}

// load finds out the types of the package in dir, and of pkg if it is another one.
func load(dir, pkg string) (*generator, error) {
	fset := token.NewFileSet()
	files, err := parseDir(fset, dir)
	if err != nil {
		return nil, err
	}
	path, err := goList(dir, "-e", "-f", "{{.ImportPath}}", ".")
	if err != nil {
		return nil, err
	}
	wanted := map[string]bool{}
	if pkg != "" {
		wanted[pkg] = true
	}
	for _, f := range files {
		for _, i := range f.Imports {
			wanted[strings.Trim(i.Path.Value, `"`)] = true
		}
	}
	imp, err := exportImporter(fset, dir, slices.Sorted(maps.Keys(wanted)))
	if err != nil {
		return nil, err
	}
	// The package may well not compile before its z_json.go exists: what counts is that the types asked for are whole.
	conf := types.Config{Importer: imp, Error: func(error) {}, IgnoreFuncBodies: true}
	here, err := conf.Check(strings.TrimSpace(path), fset, files, nil)
	if here == nil {
		return nil, err
	}
	g := &generator{here: here, from: here, imports: map[string]string{}, names: map[*types.Named]string{}}
	if pkg != "" {
		if g.from, err = imp.Import(pkg); err != nil {
			return nil, err
		}
	}
	return g, nil
}

// parseDir reads the package's files but for tests and what gen wrote.
func parseDir(fset *token.FileSet, dir string) ([]*ast.File, error) {
	names, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return nil, err
	}
	var files []*ast.File
	for _, name := range names {
		base := filepath.Base(name)
		if strings.HasSuffix(base, "_test.go") || strings.HasPrefix(base, "z_") {
			continue
		}
		f, err := parser.ParseFile(fset, name, nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("%s: no Go files", dir)
	}
	return files, nil
}

// exportImporter imports the packages at paths, and what they need, from the compiler's export data.
func exportImporter(fset *token.FileSet, dir string, paths []string) (types.Importer, error) {
	exports := map[string]string{}
	if len(paths) > 0 {
		out, err := goList(dir, append([]string{"-e", "-export", "-deps", "-f", "{{.ImportPath}}\t{{.Export}}"}, paths...)...)
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(out) {
			if path, file, ok := strings.Cut(strings.TrimSpace(line), "\t"); ok {
				exports[path] = file
			}
		}
	}
	return importer.ForCompiler(fset, "gc", func(path string) (io.ReadCloser, error) {
		file := exports[path]
		if file == "" {
			return nil, fmt.Errorf("package %s does not compile", path)
		}
		return os.Open(file)
	}), nil
}

func goList(dir string, args ...string) (string, error) {
	cmd := exec.Command("go", append([]string{"list"}, args...)...)
	cmd.Dir = dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("go list %s: %w: %s", strings.Join(args, " "), err, &stderr)
	}
	return string(out), nil
}

// roots looks up the types of a list T,T=Name,...
func (g *generator) roots(list string) error {
	if list == "" {
		return errors.New("-type is missing")
	}
	for item := range strings.SplitSeq(list, ",") {
		typ, name, renamed := strings.Cut(item, "=")
		if !renamed {
			name = typ
		}
		obj, ok := g.from.Scope().Lookup(typ).(*types.TypeName)
		if !ok {
			return fmt.Errorf("%s: no type %s", g.from.Path(), typ)
		}
		named, ok := obj.Type().(*types.Named)
		if !ok {
			return fmt.Errorf("%s.%s: not a defined type", g.from.Path(), typ)
		}
		if _, ok := named.Underlying().(*types.Struct); !ok {
			return fmt.Errorf("%s.%s: not a struct", g.from.Path(), typ)
		}
		g.names[named] = name
		g.queue = append(g.queue, named)
		g.bases = append(g.bases, named)
	}
	return nil
}

// qualifier names packages in the code, and notes that they are used.
func (g *generator) qualifier(p *types.Package) string {
	if p == g.here || p.Path() == g.here.Path() {
		return ""
	}
	g.imports[p.Path()] = p.Name()
	return p.Name()
}

// prim returns the name of one of ocijson's own functions as seen from here.
func (g *generator) prim(name string) string {
	if g.here.Path() == ocijsonPath {
		return name
	}
	g.imports[ocijsonPath] = "ocijson"
	return "ocijson." + name
}

func (g *generator) importPaths() []string { return slices.Sorted(maps.Keys(g.imports)) }
