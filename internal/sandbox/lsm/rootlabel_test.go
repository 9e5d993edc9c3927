package lsm

import "testing"

// A file system is labelled in one way: by an option, by its root, or by the policy.
func TestRootLabel(t *testing.T) {
	for fstype, want := range map[string]string{
		"tmpfs": "option", "devpts": "option", "overlay": "option", "ext4": "option", "mqueue": "root",
		"proc": "policy", "sysfs": "policy", "cgroup": "policy", "cgroup2": "policy",
	} {
		got := "policy"
		switch {
		case TakesContext(fstype) && TakesRootLabel(fstype):
			got = "both"
		case TakesContext(fstype):
			got = "option"
		case TakesRootLabel(fstype):
			got = "root"
		}
		if got != want {
			t.Errorf("%s is labelled by %s, want %s", fstype, got, want)
		}
	}
	if !IsContext("context") || !IsContext("rootcontext") || IsContext("mode") || IsContext("") {
		t.Error("options are mixed up")
	}
}
