package selinux

import (
	"strings"
	"testing"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
)

func TestParseOptions(t *testing.T) {
	for _, c := range []struct {
		values string
		want   Options
	}{
		{"", Options{}},
		{"disable", Options{Disable: true}},
		{"disable disable", Options{Disable: true}},
		{"nested", Options{Nested: true}},
		{"user:u role:r type:t_t level:s0:c1,c2 filetype:f_t", Options{User: "u", Role: "r", Type: "t_t", Level: "s0:c1,c2", FileType: "f_t"}},
		{"type:one_t type:two_t", Options{Type: "two_t"}},
		{"level:s0-s0:c0.c1023 nested", Options{Level: "s0-s0:c0.c1023", Nested: true}},
	} {
		if got, err := ParseOptions(strings.Fields(c.values)); err != nil || got != c.want {
			t.Errorf("%q: %+v, %v", c.values, got, err)
		}
	}
	for _, values := range []string{
		"x", "Disable", "type", "type:", "user:", "role:", "level:", "filetype:", "disable:true", "nested:1", "kind:init", "type:a:b", "type:a/b", "type:é",
		"level:c1", "level:s0:", "level:s0:c1024", "level:s0:c2.c1", "level:s0:c01", "level:s", "level:s0:c1,", "level:s0-", "level:SystemLow", "level:s0:c1,c",
		"disable type:x_t", "nested disable", "level:s0 disable", "type:" + strings.Repeat("x", MaxOption+1),
	} {
		if got, err := ParseOptions(strings.Fields(values)); !errdef.Is(err, errdef.Invalid) || errdef.Hint(err) == "" || got != (Options{}) {
			t.Errorf("%q: %+v, %v", values, got, err)
		}
	}
	if _, err := ParseOptions([]string{"typ:x"}); !strings.Contains(err.Error(), `"typ:x"`) || !strings.Contains(errdef.Hint(err), "filetype:TYPE") {
		t.Errorf("neither the mistake nor what exists is named: %v (%s)", err, errdef.Hint(err))
	}
	if got, err := ParseOptions([]string{"type:a\nb"}); err == nil {
		t.Errorf("a line of its own: %+v", got)
	}
}

func TestOptionsOf(t *testing.T) {
	for label, want := range map[string]Options{
		"":                    {Disable: true},
		"u:r:t":               {User: "u", Role: "r", Type: "t"},
		"u:r:t:s0:c1,c2":      {User: "u", Role: "r", Type: "t", Level: "s0:c1,c2"},
		"u:r:t:s0-s0:c0.c9":   {User: "u", Role: "r", Type: "t", Level: "s0-s0:c0.c9"},
		"a_u:b_r:c_t:s1:c0.c": {User: "a_u", Role: "b_r", Type: "c_t", Level: "s1:c0.c"},
	} {
		if got, err := OptionsOf(label); err != nil || got != want {
			t.Errorf("%q: %+v, %v", label, got, err)
		}
	}
	for _, label := range []string{"u", "u:r", "u:r:", "::", ":r:t", "u:r:t\n", "u r:t:x"} {
		if got, err := OptionsOf(label); !errdef.Is(err, errdef.Invalid) {
			t.Errorf("%q: %+v, %v", label, got, err)
		}
	}
}

// What the options change in which label: as label.InitLabels of the library does.
func TestOptionsInLabels(t *testing.T) {
	process, file := parts{"u", "r", "p_t", "s0"}, parts{"u", "object_r", "f_t", "s0"}
	for _, c := range []struct{ values, process, mount string }{
		{"", "u:r:p_t:s0:c1,c2", "u:object_r:f_t:s0:c1,c2"},
		{"user:x", "x:r:p_t:s0:c1,c2", "x:object_r:f_t:s0:c1,c2"},
		{"role:x", "u:x:p_t:s0:c1,c2", "u:object_r:f_t:s0:c1,c2"},
		{"type:x", "u:r:x:s0:c1,c2", "u:object_r:f_t:s0:c1,c2"},
		{"filetype:x", "u:r:p_t:s0:c1,c2", "u:object_r:x:s0:c1,c2"},
	} {
		o, err := ParseOptions(strings.Fields(c.values))
		if err != nil {
			t.Fatal(err)
		}
		if l := o.labels(process, file, "s0:c1,c2"); l.Process != c.process || l.Mount != c.mount || l.Level != "s0:c1,c2" {
			t.Errorf("%q: %+v", c.values, l)
		}
	}
}

func TestNesting(t *testing.T) {
	if n := (Labels{}).Nesting(); n.MountOption != "context" || n.Show != nil {
		t.Errorf("not nested: %+v", n)
	}
	if n := (Labels{Nested: true}).Nesting(); n.MountOption != "rootcontext" || len(n.Show) != 1 {
		t.Errorf("nested: %+v", n)
	}
}
