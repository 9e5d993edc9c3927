package archtest

import (
	"fmt"
	"go/ast"
	"go/token"
	"path"
	"strconv"
	"strings"
)

// The budgets. They bound the tail, which is where good and bad trees differ.
const (
	MaxFileLines     = 500
	MaxTestFileLines = 800
	MaxFuncLines     = 60
	MaxParameters    = 5
)

// emptyNames say nothing about what is in a package or file that has one of them.
var emptyNames = map[string]bool{
	"util": true, "utils": true, "common": true, "helper": true, "helpers": true, "types": true, "base": true, "misc": true, "shared": true, "lib": true,
}

// linknameDir is the one package that may reach into the Go runtime.
const linknameDir = "internal/sandbox/forkexec"

// CheckFiles holds the Go files to the house rules.
func CheckFiles(t *Tree) []Finding {
	var out []Finding
	for _, dir := range t.Dirs() {
		p := t.Packages[dir]
		out = append(out, checkNames(p)...)
		out = append(out, checkPackageComment(t, p)...)
		for _, f := range p.Files {
			out = append(out, checkLength(f)...)
			out = append(out, checkDangerous(t, p, f)...)
			out = append(out, checkDecls(t, f)...)
			out = append(out, checkCalls(t, f)...)
		}
	}
	return out
}

func checkNames(p *Package) []Finding {
	var out []Finding
	if emptyNames[p.Name] || emptyNames[path.Base(p.Dir)] {
		out = append(out, Finding{p.Dir, 0, "name", "a package of this name has no subject"})
	}
	for _, f := range p.Files {
		base := strings.TrimSuffix(strings.TrimSuffix(path.Base(f.Path), ".go"), "_test")
		if emptyNames[base] {
			out = append(out, Finding{f.Path, 0, "name", "a file of this name has no subject: call it after its main type"})
		}
	}
	return out
}

// checkPackageComment wants one comment in the files that are built, or, in a directory of tests only, one in the tests.
func checkPackageComment(t *Tree, p *Package) []Finding {
	var built, commented []*File
	for _, f := range p.Files {
		if !f.Test && !f.Ignored {
			built = append(built, f)
		}
	}
	if len(built) == 0 {
		built = p.Files
	}
	for _, f := range built {
		if f.AST.Doc != nil && strings.TrimSpace(f.AST.Doc.Text()) != "" {
			commented = append(commented, f)
		}
	}
	if len(commented) == 0 {
		return []Finding{{p.Dir, 0, "package comment", "there is none"}}
	}
	var out []Finding
	for _, f := range commented[1:] {
		out = append(out, Finding{f.Path, t.line(f.AST.Doc.Pos()), "package comment", "a second one, after that of " + commented[0].Path})
	}
	f := commented[0]
	want := "Package " + f.AST.Name.Name + " "
	if p.Name == "main" {
		want = "Command " + path.Base(p.Dir) + " "
	}
	if text := f.AST.Doc.Text(); !strings.HasPrefix(text, want) {
		out = append(out, Finding{f.Path, t.line(f.AST.Doc.Pos()), "package comment", fmt.Sprintf("it should begin with %q", want)})
	}
	return out
}

func checkLength(f *File) []Finding {
	limit := MaxFileLines
	if f.Test {
		limit = MaxTestFileLines
	}
	if f.Made || f.Lines <= limit {
		return nil
	}
	return []Finding{{f.Path, 0, "length", fmt.Sprintf("%d lines, at most %d", f.Lines, limit)}}
}

// checkDangerous looks for unsafe, cgo and linkname where they may not stand.
func checkDangerous(t *Tree, p *Package, f *File) []Finding {
	var out []Finding
	base := path.Base(f.Path)
	for _, spec := range f.AST.Imports {
		switch spec.Path.Value {
		case `"unsafe"`:
			if !strings.HasSuffix(base, "_unsafe.go") && !strings.HasSuffix(base, "_unsafe_test.go") {
				out = append(out, Finding{f.Path, t.line(spec.Pos()), "unsafe", "it belongs in a file named *_unsafe.go"})
			}
		case `"C"`:
			out = append(out, Finding{f.Path, t.line(spec.Pos()), "cgo", "what we ship has no cgo"})
		}
	}
	for _, group := range f.AST.Comments {
		for _, c := range group.List {
			if strings.HasPrefix(c.Text, "//go:linkname ") && p.Dir != linknameDir {
				out = append(out, Finding{f.Path, t.line(c.Pos()), "linkname", "only " + linknameDir + " reaches into the Go runtime"})
			}
		}
	}
	return out
}

// checkDecls holds functions to their budgets. Tests may be as long as their tables; a declaration without a body is assembly.
func checkDecls(t *Tree, f *File) []Finding {
	if f.Test || f.Made {
		return nil
	}
	var out []Finding
	for _, decl := range f.AST.Decls {
		fn, ok := decl.(*ast.FuncDecl)
		if !ok || fn.Body == nil {
			continue
		}
		line := t.line(fn.Pos())
		if n := t.line(fn.End()) - line + 1; n > MaxFuncLines {
			out = append(out, Finding{f.Path, line, "function", fmt.Sprintf("%s has %d lines, at most %d", fn.Name.Name, n, MaxFuncLines)})
		}
		if n := fn.Type.Params.NumFields(); n > MaxParameters {
			out = append(out, Finding{f.Path, line, "parameters", fmt.Sprintf("%s takes %d, at most %d", fn.Name.Name, n, MaxParameters)})
		}
		if fn.Name.Name == "init" && fn.Recv == nil {
			out = append(out, Finding{f.Path, line, "init", "nothing runs by being imported: use an explicit table or sync.Once"})
		}
	}
	return out
}

// checkCalls looks at the texts of errors and at skipped tests.
func checkCalls(t *Tree, f *File) []Finding {
	var out []Finding
	ast.Inspect(f.AST, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		sel, ok := call.Fun.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		line := t.line(call.Pos())
		switch sel.Sel.Name {
		case "Errorf", "New":
			for _, arg := range call.Args[:min(2, len(call.Args))] {
				if text, ok := literal(arg); ok && saysFailed(text) {
					out = append(out, Finding{f.Path, line, "error text", fmt.Sprintf("%q: name the step and the object, the reason follows", text)})
				}
			}
		case "SkipNow":
			out = append(out, Finding{f.Path, line, "skip", "SkipNow gives no reason"})
		case "Skip", "Skipf":
			if f.Test && !hasReason(call.Args) {
				out = append(out, Finding{f.Path, line, "skip", "a test is skipped without a reason in words"})
			}
		}
		return true
	})
	return out
}

func saysFailed(text string) bool {
	text = strings.ToLower(text)
	return strings.HasPrefix(text, "failed to ") || strings.HasPrefix(text, "unable to ")
}

// hasReason reports whether some argument carries words: a literal with a space in it, or an expression that is not a literal.
func hasReason(args []ast.Expr) bool {
	for _, arg := range args {
		if text, ok := literal(arg); !ok || strings.Contains(strings.TrimSpace(text), " ") {
			return true
		}
	}
	return false
}

// literal returns the text of a string literal, or of the first operand of a sum of them.
func literal(e ast.Expr) (string, bool) {
	switch e := e.(type) {
	case *ast.BasicLit:
		if e.Kind == token.STRING {
			text, err := strconv.Unquote(e.Value)
			return text, err == nil
		}
	case *ast.BinaryExpr:
		return literal(e.X)
	}
	return "", false
}
