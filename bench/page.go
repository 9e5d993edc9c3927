package main

import (
	"fmt"
	"os"
	"strings"
)

// lastRun is the heading in the page below which the figures stand; everything behind it is written anew.
const lastRun = "## The last run\n"

// writePage puts the report into the page at path, in place of the figures that are there.
func (r *report) writePage(path string) error {
	page, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read page: %w", err)
	}
	head, _, found := strings.Cut(string(page), lastRun)
	if !found {
		return fmt.Errorf("page %s: no line %q", path, strings.TrimSpace(lastRun))
	}
	if err := os.WriteFile(path, []byte(head+lastRun+"\n"+r.markdown()), 0o644); err != nil {
		return fmt.Errorf("write page: %w", err)
	}
	return nil
}

// markdown formats the rows, the targets and what was left out.
func (r *report) markdown() string {
	var s strings.Builder
	fmt.Fprintf(&s, "%s, kernel %s, %s, %s, %d rounds; %d of %d measurements began while something else ran.\n",
		r.Time[:10], r.Kernel, r.Machine, r.Go, r.Rounds, r.Busy, r.Taken)
	for _, p := range r.Programs {
		if p.Version != "" {
			fmt.Fprintf(&s, "%s is %s. ", p.Name, p.Version)
		}
	}
	s.WriteString("Times are milliseconds: median, least and 90th percentile of wall, median of user+sys; memory is KiB.\n\n")
	s.WriteString("| series | operation | program | wall | min | p90 | user+sys | peak |\n|---|---|---|---|---|---|---|---|\n")
	for _, c := range r.ordered() {
		fmt.Fprintf(&s, "| %s | %s | %s | %.2f | %.2f | %.2f | %.2f | %d |\n",
			c.Series, c.Operation, c.Program, c.Wall, c.WallMin, c.WallP90, c.CPU, c.Peak)
	}
	s.WriteString("\n| ratio | target | wall | user+sys | |\n|---|---|---|---|---|\n")
	for _, t := range r.Targets {
		fmt.Fprintf(&s, "| %s | %.2f | %.3f | %.3f | %s |\n", t.What, t.Limit, t.Ratio, t.CPU, t.Verdict)
	}
	if len(r.Skipped) > 0 {
		s.WriteString("\nLeft out:\n")
	}
	for _, line := range r.Skipped {
		fmt.Fprintf(&s, "- %s\n", line)
	}
	if len(r.Seccomp) > 0 {
		fmt.Fprintf(&s, "\nSeccomp, as `go test -bench` prints it:\n\n    %s\n", strings.Join(r.Seccomp, "\n    "))
	}
	return s.String()
}
