package archtest

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"sort"
	"strconv"
	"strings"
)

// Options says what tree is loaded.
type Options struct {
	Module string // the module's path
	Root   string // where the tree lies on this machine, which no file may mention; "" when it is of no machine
}

// A Tree is the parsed sources of a repository.
type Tree struct {
	Options
	Packages map[string]*Package // by directory; only directories with Go files
	Texts    []*Text             // all files that a person writes
	fset     *token.FileSet
}

// A Package is a directory with Go files.
type Package struct {
	Dir   string
	Name  string
	Files []*File
}

// A File is a parsed Go file.
type File struct {
	Path    string // below the root
	AST     *ast.File
	Lines   int
	Test    bool // *_test.go
	Ignored bool // built by hand only: //go:build ignore
	Made    bool // generated: z*.go, or with the mark of generated code
}

// A Text is a file of any language.
type Text struct {
	Path string
	Data string
}

// A Finding is a breach of a rule.
type Finding struct {
	Path string // file or directory
	Line int    // 0: the whole of it
	Rule string
	Text string
}

func (f Finding) String() string {
	if f.Line == 0 {
		return fmt.Sprintf("%s: %s: %s", f.Path, f.Rule, f.Text)
	}
	return fmt.Sprintf("%s:%d: %s: %s", f.Path, f.Line, f.Rule, f.Text)
}

// written are the endings of files that a person writes and that are looked at as text.
var written = map[string]bool{
	".go": true, ".s": true, ".S": true, ".c": true, ".h": true, ".md": true, ".sh": true, ".yml": true, ".yaml": true, ".txtar": true, "": true,
}

// Load parses the tree. Directories named testdata, bin and build, and those that begin with a dot or an underscore (but .ci) are left
// out, as is any directory that is a module of its own.
func Load(fsys fs.FS, opt Options) (*Tree, error) {
	t := &Tree{Options: opt, Packages: map[string]*Package{}, fset: token.NewFileSet()}
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name != "." && leftOut(fsys, name) {
				return fs.SkipDir
			}
			return nil
		}
		if !d.Type().IsRegular() || !written[path.Ext(name)] {
			return nil
		}
		data, err := fs.ReadFile(fsys, name)
		if err != nil {
			return err
		}
		t.Texts = append(t.Texts, &Text{name, string(data)})
		if path.Ext(name) == ".go" {
			return t.add(name, data)
		}
		return nil
	})
	return t, err
}

func leftOut(fsys fs.FS, dir string) bool {
	base := path.Base(dir)
	if base == "testdata" || base == "bin" || base == "build" || base[0] == '_' || base[0] == '.' && base != ".ci" {
		return true
	}
	_, err := fs.Stat(fsys, path.Join(dir, "go.mod"))
	return err == nil
}

func (t *Tree) add(name string, data []byte) error {
	parsed, err := parser.ParseFile(t.fset, name, data, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	base := path.Base(name)
	f := &File{
		Path: name, AST: parsed, Lines: strings.Count(string(data), "\n"),
		Test: strings.HasSuffix(base, "_test.go"),
		Made: base[0] == 'z' || ast.IsGenerated(parsed),
	}
	for _, group := range parsed.Comments {
		for _, c := range group.List {
			f.Ignored = f.Ignored || c.Pos() < parsed.Package && c.Text == "//go:build ignore"
		}
	}
	p := t.Packages[path.Dir(name)]
	if p == nil {
		p = &Package{Dir: path.Dir(name)}
		t.Packages[p.Dir] = p
	}
	if !f.Ignored && (p.Name == "" || !f.Test) {
		p.Name = strings.TrimSuffix(parsed.Name.Name, "_test")
	}
	p.Files = append(p.Files, f)
	return nil
}

// Dirs returns the directories of the packages, sorted.
func (t *Tree) Dirs() []string {
	var dirs []string
	for dir := range t.Packages {
		dirs = append(dirs, dir)
	}
	sort.Strings(dirs)
	return dirs
}

// line returns the line of a position.
func (t *Tree) line(pos token.Pos) int { return t.fset.Position(pos).Line }

// An edge is one import of a file.
type edge struct {
	file *File
	path string // directory of an own package, or the import path
	own  bool
	line int
}

// imports returns the imports of the files of p that are built into programs: neither tests nor hand-built files.
func (t *Tree) imports(p *Package) []edge {
	var edges []edge
	for _, f := range p.Files {
		if f.Test || f.Ignored {
			continue
		}
		for _, spec := range f.AST.Imports {
			name, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				continue // the parser has accepted it, so it cannot be
			}
			e := edge{file: f, path: name, line: t.line(spec.Pos())}
			if rest, ok := strings.CutPrefix(name, t.Module+"/"); ok {
				e.path, e.own = rest, true
			}
			edges = append(edges, e)
		}
	}
	return edges
}
