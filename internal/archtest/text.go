package archtest

import (
	"path"
	"strings"
)

// reminders are marks of work put off; what is to be done is an issue, not a comment. They are spelled in two parts so that this file
// has none of them.
var reminders = []string{"TO" + "DO", "FIX" + "ME", "XX" + "X:"}

// prose is where a reminder may be talked about.
var prose = map[string]bool{".md": true}

// CheckTexts looks at all files as text.
func CheckTexts(t *Tree) []Finding {
	var out []Finding
	for _, text := range t.Texts {
		if !prose[path.Ext(text.Path)] {
			for _, word := range reminders {
				if i := strings.Index(text.Data, word); i >= 0 {
					out = append(out, Finding{text.Path, lineOf(text.Data, i), "reminder", "work put off belongs in an issue"})
				}
			}
		}
		if i := mention(text.Data, t.Root); i >= 0 {
			out = append(out, Finding{text.Path, lineOf(text.Data, i), "machine", "it names the directory that it was written in"})
		}
	}
	return out
}

// mention finds the root in the data; a root of one element (/src) is too common a word to look for.
func mention(data, root string) int {
	if strings.Count(root, "/") < 2 {
		return -1
	}
	return strings.Index(data, root)
}

func lineOf(data string, offset int) int { return strings.Count(data[:offset], "\n") + 1 }

// Check runs all checks of the sources.
func Check(t *Tree, rows []Row) []Finding {
	out := CheckImports(t, rows)
	out = append(out, CheckFiles(t)...)
	return append(out, CheckTexts(t)...)
}
