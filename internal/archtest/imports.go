package archtest

import (
	"fmt"
	"strings"
)

// MaxDepth is the longest chain of own packages that import each other. Packages of one family of the kernel's, internal/linux, count as one
// (docs/adr/0010): they are the only door to the kernel, and how they stand to each other is nothing that a reader of the upper floors must know.
const MaxDepth = 8

// CheckImports holds the imports of the tree to the rows of the table.
func CheckImports(t *Tree, rows []Row) []Finding {
	const page = "ARCHITECTURE.md"
	var out []Finding
	at := map[string]int{} // package -> index of its row
	for i, row := range rows {
		if _, twice := at[row.Package]; twice {
			out = append(out, Finding{page, row.Line, "row", row.Package + " has two rows"})
		}
		at[row.Package] = i
		if t.Packages[row.Package] == nil {
			out = append(out, Finding{page, row.Line, "row", row.Package + " has a row but no Go file"})
		}
	}
	used := map[[2]string]bool{}
	for _, dir := range t.Dirs() {
		i, ok := at[dir]
		if !ok {
			out = append(out, Finding{dir, 0, "row", "the package has no row in " + page})
			continue
		}
		for _, e := range t.imports(t.Packages[dir]) {
			if !e.own && !strings.Contains(strings.SplitN(e.path, "/", 2)[0], ".") {
				continue // standard library
			}
			permission := permitting(rows[i], e)
			if permission == "" {
				out = append(out, Finding{e.file.Path, e.line, "import", fmt.Sprintf("the row of %s does not allow %s", dir, e.path)})
				continue
			}
			used[[2]string{dir, permission}] = true
			if j, ok := at[e.path]; e.own && ok && j <= i {
				out = append(out, Finding{e.file.Path, e.line, "order", fmt.Sprintf("the row of %s stands above that of %s: imports point down", e.path, dir)})
			}
		}
	}
	for _, row := range rows {
		for _, permission := range row.Imports {
			if !used[[2]string{row.Package, permission}] && t.Packages[row.Package] != nil {
				out = append(out, Finding{page, row.Line, "permission", fmt.Sprintf("%s may import %s but does not", row.Package, permission)})
			}
		}
	}
	return append(out, checkDepth(t)...)
}

// permitting returns the entry of the row that allows the import, "" if there is none.
func permitting(row Row, e edge) string {
	for _, allowed := range row.Imports {
		if allowed == e.path || !e.own && strings.HasPrefix(e.path, allowed+"/") {
			return allowed
		}
	}
	return ""
}

// checkDepth measures the longest chain of own packages; cycles are the compiler's to refuse, and end the walk here.
func checkDepth(t *Tree) []Finding {
	depth := map[string]int{}
	var walk func(dir string) int
	walk = func(dir string) int {
		if d, ok := depth[dir]; ok {
			return d
		}
		depth[dir] = 1
		if strings.HasPrefix(dir, "internal/linux/") {
			return 1
		}
		longest := 0
		for _, e := range t.imports(t.Packages[dir]) {
			if e.own && t.Packages[e.path] != nil {
				longest = max(longest, walk(e.path))
			}
		}
		depth[dir] = longest + 1
		return longest + 1
	}
	var out []Finding
	for _, dir := range t.Dirs() {
		if d := walk(dir); d > MaxDepth && !strings.HasPrefix(dir, "cmd/") { // a main that only calls is no floor
			out = append(out, Finding{dir, 0, "depth", fmt.Sprintf("a chain of %d own packages, at most %d", d, MaxDepth)})
		}
	}
	return out
}
