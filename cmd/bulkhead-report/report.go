package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

// Verdicts of an item.
const (
	fact  = ""     // neither good nor bad
	holds = "ok"   // a wall that stands
	open  = "open" // a door that is open
)

// A report is what confines the process that made it.
type report struct {
	Sections []section `json:"sections"`
	Summary  summary   `json:"summary"`
}

type section struct {
	Name  string `json:"name"`
	Items []item `json:"items"`
}

type item struct {
	Name    string `json:"name"`
	Value   string `json:"value"`
	Verdict string `json:"verdict,omitempty"`
}

type summary struct {
	Holds int      `json:"ok"`
	Open  int      `json:"open"`
	Doors []string `json:"doors"` // names of the open ones
}

func (r *report) add(name string, items []item) {
	r.Sections = append(r.Sections, section{name, items})
}

// sum counts the verdicts of all sections.
func (r *report) sum() {
	r.Summary = summary{Doors: []string{}}
	for _, s := range r.Sections {
		for _, i := range s.Items {
			switch i.Verdict {
			case holds:
				r.Summary.Holds++
			case open:
				r.Summary.Open++
				r.Summary.Doors = append(r.Summary.Doors, i.Name)
			}
		}
	}
}

// maxDoors is how many open doors the last line names; all of them stand above it.
const maxDoors = 12

// text writes the report for people.
func (r *report) text(w io.Writer) error {
	out := bufio.NewWriter(w)
	marks := map[string]string{holds: "ok", open: "!!", fact: "  "}
	for _, s := range r.Sections {
		fmt.Fprintf(out, "%s\n", s.Name)
		for _, i := range s.Items {
			fmt.Fprintf(out, "  %s %-28s %s\n", marks[i.Verdict], printable(i.Name), printable(i.Value))
		}
	}
	fmt.Fprintf(out, "summary: %d walls stand, %d doors are open", r.Summary.Holds, r.Summary.Open)
	if r.Summary.Open > 0 {
		shown := r.Summary.Doors[:min(len(r.Summary.Doors), maxDoors)]
		fmt.Fprintf(out, ": %s", printable(strings.Join(shown, ", ")))
		if more := r.Summary.Open - len(shown); more > 0 {
			fmt.Fprintf(out, " and %d more", more)
		}
	}
	fmt.Fprintln(out)
	return out.Flush()
}

// printable makes a name that the image chose safe for a terminal.
func printable(s string) string {
	for _, c := range s {
		if !strconv.IsPrint(c) {
			return strconv.Quote(s)
		}
	}
	return s
}

// A view is the file system that the report looks at: the root itself, or a tree that a test made.
type view struct{ root string }

func (v view) path(name string) string { return v.root + name }

// read returns the trimmed text of a file of procfs or sysfs, "" if it cannot be read.
func (v view) read(name string) string {
	data, err := os.ReadFile(v.path(name))
	if err != nil {
		return ""
	}
	return strings.TrimRight(string(data), "\n\x00")
}

// status returns the fields of /proc/self/status, see proc_pid_status(5).
func (v view) status() map[string]string {
	fields := map[string]string{}
	for _, line := range strings.Split(v.read("/proc/self/status"), "\n") {
		if key, value, ok := strings.Cut(line, ":"); ok {
			fields[key] = strings.TrimSpace(value)
		}
	}
	return fields
}
