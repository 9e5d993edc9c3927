package archtest

import (
	"fmt"
	"strings"
)

// tableHeader is the line that the table of ARCHITECTURE.md begins with, without spaces.
const tableHeader = "|package|whatlivesthere|mayimport|"

// A Row is one line of the table: a package, and what it may import apart from the standard library.
type Row struct {
	Package string   // directory below the repository's root, as internal/errdef
	What    string   // what lives there
	Imports []string // directories of own packages, or import path prefixes of other modules
	Line    int      // in the page
}

// ParseTable finds the table in the page and returns its rows in order.
//
// The third column is a list of backquoted words: `sandbox/op` is internal/sandbox/op, a word that begins with bench/, cmd/ or test/
// stands for itself, and a word whose first element has a dot (`golang.org/x/sys`) is a module of others. A dash means nothing.
func ParseTable(page string) ([]Row, error) {
	lines := strings.Split(page, "\n")
	start := -1
	for i, line := range lines {
		if strings.ReplaceAll(strings.TrimSpace(line), " ", "") == tableHeader {
			if start >= 0 {
				return nil, fmt.Errorf("line %d: the table begins a second time", i+1)
			}
			start = i
		}
	}
	if start < 0 {
		return nil, fmt.Errorf("no line `| package | what lives there | may import |`")
	}
	var rows []Row
	for i := start + 2; i < len(lines) && strings.HasPrefix(lines[i], "|"); i++ {
		row, err := parseRow(lines[i])
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", i+1, err)
		}
		row.Line = i + 1
		rows = append(rows, row)
	}
	return rows, nil
}

func parseRow(line string) (Row, error) {
	cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
	if len(cells) != 3 {
		return Row{}, fmt.Errorf("%d cells, want 3", len(cells))
	}
	for i := range cells {
		cells[i] = strings.TrimSpace(cells[i])
	}
	names := backquoted(cells[0])
	if len(names) != 1 {
		return Row{}, fmt.Errorf("cell %q: want one backquoted package", cells[0])
	}
	if cells[1] == "" {
		return Row{}, fmt.Errorf("%s: nothing said about what lives there", names[0])
	}
	row := Row{Package: names[0], What: cells[1]}
	for _, word := range backquoted(cells[2]) {
		row.Imports = append(row.Imports, importOf(word))
	}
	if len(row.Imports) == 0 && cells[2] != "-" {
		return Row{}, fmt.Errorf("%s: want backquoted imports or a dash, not %q", row.Package, cells[2])
	}
	return row, nil
}

// importOf turns a word of the third column into a directory or an import path.
func importOf(word string) string {
	first, _, _ := strings.Cut(word, "/")
	switch {
	case strings.Contains(first, "."), first == "bench", first == "cmd", first == "internal", first == "test":
		return word
	}
	return "internal/" + word
}

// backquoted returns the words between backquotes.
func backquoted(cell string) []string {
	var words []string
	for i, part := range strings.Split(cell, "`") {
		if i%2 == 1 {
			words = append(words, part)
		}
	}
	return words
}
