// Package archtest keeps the shape of the repository true: it reads the table of ARCHITECTURE.md and the house rules and holds the
// sources to them.
//
//	tree, err := archtest.Load(os.DirFS("../.."), archtest.Options{Module: "github.com/bulkhead-engine/bulkhead"})
//	rows, err := archtest.ParseTable(page)
//	for _, f := range archtest.Check(tree, rows) {
//		fmt.Println(f) // internal/runtime/exec.go:12: import: internal/runtime may not import internal/defaults
//	}
//
// What is checked of the table: every package has a row and every row a package; a package imports what its row allows and nothing
// else; every permission is used by somebody; imports point down, that is to rows that stand further down in the table; no chain of
// imports is longer than MaxDepth.
//
// What is checked of the sources: `unsafe` stands in *_unsafe.go only; exactly one package comment each; the budgets of file and
// function length and of parameters; no linkname outside sandbox/forkexec; no cgo; no init function; no reminder left for later; errors
// that name the step instead of saying that it failed; tests that say why they are skipped; no package or file with a name that says
// nothing; no path of the machine that a file was written on.
//
// What is not checked here: what staticcheck, vet and gofumpt find (make lint), and what programs link, which HotPath compares with a
// golden file, since that needs `go list`.
//
// The sources are parsed, never built, and all files count whatever their build constraints are. Everything but HotPath works on an
// fs.FS, so that the package's own tests hand it small broken trees and see each violation caught.
package archtest
