package verify

import (
	"strconv"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/linux/procfs"
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/rootfs"
)

// params are the parameters of file systems that confine, and that the kernel shows in the mount table.
var params = map[string][]string{
	"tmpfs":  {"size", "nr_inodes", "mode"},
	"devpts": {"mode", "ptmxmode"},
	"proc":   {"hidepid", "subset"},
}

// data compares the parameters of a new file system with those that its superblock has.
func (c *comparison) data(at string, o *rootfs.Options, found *procfs.Mount) {
	have := map[string]string{}
	for word := range strings.SplitSeq(found.Super, ",") {
		key, value, _ := strings.Cut(word, "=")
		have[key] = value
	}
	for _, key := range params[found.Type] {
		want := ""
		for _, p := range o.Data { // the last one counts
			if p.Key == key {
				want = p.Value
			}
		}
		if want == "" || strings.HasSuffix(want, "%") {
			continue
		}
		got := have[key]
		if got == "" && key == "mode" && found.Type == "tmpfs" {
			got = "1777" // which is not shown
		}
		c.check("mounts", at+" "+key, want, got, sameParam(key, want, got)).hint("somebody remounted it: restart the container")
	}
}

func sameParam(key, want, got string) bool {
	switch key {
	case "mode", "ptmxmode":
		w, err1 := strconv.ParseUint(want, 8, 32)
		g, err2 := strconv.ParseUint(got, 8, 32)
		return err1 == nil && err2 == nil && w == g
	case "size":
		const page = 4 // KiB
		w, ok1 := kib(want)
		g, ok2 := kib(got)
		if w == 0 && ok1 {
			return got == "" // no limit
		}
		return ok1 && ok2 && (w == g || (w+page-1)/page*page == g || (w+63)/64*64 == g)
	}
	return want == got
}

// kib reads a size as memparse of the kernel does, rounded up to KiB.
func kib(text string) (uint64, bool) {
	shift := 0
	if text != "" {
		if at := strings.IndexByte("kmgt", text[len(text)-1]|0x20); at >= 0 {
			shift, text = 10*(at+1), text[:len(text)-1]
		}
	}
	n, err := strconv.ParseUint(text, 0, 44)
	if err != nil {
		return 0, false
	}
	return (n<<shift + 1023) >> 10, true
}
