package manual

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// commands is a program with what is hard to write.
func commands() *cobra.Command {
	root := &cobra.Command{Use: "prog [OPTIONS] COMMAND", Short: "Does things", DisableFlagsInUseLine: true}
	run := &cobra.Command{Use: "run [OPTIONS] IMAGE", Short: "Run it", Long: ".begin with a dot\n\nand a \\backslash", Aliases: []string{"go"}, Run: func(*cobra.Command, []string) {}, DisableFlagsInUseLine: true}
	run.Flags().StringP("name", "n", "x", "its `name`, not \"quoted\"")
	run.Flags().Bool("secret", false, "not for people")
	run.Flags().Lookup("secret").Hidden = true
	root.AddCommand(run, &cobra.Command{Use: "old", Short: "Old", Hidden: true, Run: func(*cobra.Command, []string) {}})
	return root
}

func TestWrite(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "man1")
	for range 2 { // again over what is there
		if err := Write(dir, commands(), "prog 1"); err != nil {
			t.Fatal(err)
		}
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 2 {
		t.Fatalf("%v %v", files, err)
	}
	page, err := os.ReadFile(filepath.Join(dir, "prog-run.1"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		".TH \"PROG-RUN\"", "prog\\-run \\- Run it", "\\&.begin with a dot", "a \\ebackslash", "\\fB\\-n\\fR, \\fB\\-\\-name\\fR \\fIname\\fR", "not \\(dqquoted\\(dq (default x).", "also called go",
		".BR prog (1)",
	} {
		if !strings.Contains(strings.ToUpper(string(page)), strings.ToUpper(want)) {
			t.Errorf("%q is not in\n%s", want, page)
		}
	}
	if strings.Contains(string(page), "secret") {
		t.Errorf("a hidden flag is told of:\n%s", page)
	}
	if groff, err := exec.LookPath("groff"); err == nil {
		for _, f := range files {
			if out, err := exec.Command(groff, "-man", "-Tascii", "-ww", "-z", filepath.Join(dir, f.Name())).CombinedOutput(); err != nil || len(out) > 0 {
				t.Errorf("%s: %v %s", f.Name(), err, out)
			}
		}
	}
	if err := Write("/dev/null/x", commands(), ""); err == nil {
		t.Error("a directory that cannot be made")
	}
}
