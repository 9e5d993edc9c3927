package apparmor

import (
	"sort"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/sandbox/rootfs"
)

// Access is what may be done with the files of a region.
type access struct{ read, write, exec bool }

// A region is a path and everything below it, as far as no other region begins there.
type region struct {
	path string // clean, absolute
	access
}

// regions are kept sorted by path, the root first.
type regions []region

// over puts a region over what is there: a mount hides what it covers.
func (r regions) over(path string, a access) regions {
	var kept regions
	for _, old := range r {
		if !rootfs.Under(old.path, path) {
			kept = append(kept, old)
		}
	}
	kept = append(kept, region{path, a})
	sort.Slice(kept, func(i, j int) bool { return kept[i].path < kept[j].path })
	return kept
}

// holding returns the region that a path is in.
func (r regions) holding(path string) region {
	var best region
	for _, one := range r {
		if rootfs.Under(path, one.path) && len(one.path) >= len(best.path) {
			best = one
		}
	}
	return best
}

// freeze takes the right to write from a path and what is below it, and leaves mounts there alone, as the runtime does.
func (r regions) freeze(path string) regions {
	a := r.holding(path).access
	a.write = false
	return r.set(path, a)
}

// set says what may be done with a path and what is below it, and leaves mounts there alone.
func (r regions) set(path string, a access) regions {
	for i := range r {
		if r[i].path == path {
			r[i].access = a
			return r
		}
	}
	r = append(r, region{path, a})
	sort.Slice(r, func(i, j int) bool { return r[i].path < r[j].path })
	return r
}

// An area is a path and what is below it, without some of that.
type area struct {
	path   string
	except []string // paths below it, none below another
}

// areas returns what of the file system has a right, in as few pieces as there can be.
func (r regions) areas(has func(access) bool) []area {
	up := r.parents()
	below := make([][]int, len(r))
	for i, parent := range up {
		if parent >= 0 {
			below[parent] = append(below[parent], i)
		}
	}
	var out []area
	for i, one := range r {
		if !has(one.access) || up[i] >= 0 && has(r[up[i]].access) {
			continue // not there, or part of the area around it
		}
		a := area{path: one.path}
		for todo := []int{i}; len(todo) > 0; todo = todo[1:] {
			for _, child := range below[todo[0]] {
				if has(r[child].access) {
					todo = append(todo, child)
				} else {
					a.except = append(a.except, r[child].path)
				}
			}
		}
		sort.Strings(a.except)
		out = append(out, a)
	}
	return out
}

// parents returns for each region the index of the one around it, -1 for the root.
func (r regions) parents() []int {
	up := make([]int, len(r))
	for i := range r {
		up[i] = -1
		for j := range r {
			if i != j && rootfs.Under(r[i].path, r[j].path) && (up[i] < 0 || len(r[j].path) > len(r[up[i]].path)) {
				up[i] = j
			}
		}
	}
	return up
}

// ruleBytes is about how long the globs of all rights are together, without making them.
func (r regions) ruleBytes() int {
	n := 0
	for _, has := range []func(access) bool{func(a access) bool { return a.read }, func(a access) bool { return a.write }, func(a access) bool { return a.exec }} {
		for _, a := range r.areas(has) {
			n += len(a.path)
			before := a.path
			for _, e := range a.except { // in order: each adds a glob for every byte after what it shares with the one before
				shared := 0
				for shared < min(len(e), len(before)) && e[shared] == before[shared] {
					shared++
				}
				n += (len(e)*(len(e)+1) - shared*(shared+1)) / 2
				before = e
			}
		}
	}
	return n
}

// globs returns patterns, in the language of apparmor.d(5) and already quoted where that must be, that match exactly the paths of an area: a file,
// and a directory with its slash, and everything below.
func (a *area) globs() []string {
	base := a.path
	if base == "/" {
		base = ""
	}
	if len(a.except) == 0 {
		if base == "" {
			return []string{"/{,**}"}
		}
		return []string{quote(base) + "{,/,/**}"}
	}
	root := &node{}
	for _, e := range a.except {
		root.insert(e[len(base):])
	}
	var out []string
	if base != "" {
		out = append(out, quote(base))
	}
	root.next['/'].walk(base+"/", func(path, next string, end bool) {
		if g := complement(path, next, end); g != "" {
			out = append(out, g)
		}
	})
	return out
}

// A node of a tree of prefixes: what was excepted, byte by byte.
type node struct {
	next map[byte]*node
	end  bool // an excepted path ends here
}

func (n *node) insert(path string) {
	for i := range len(path) {
		if n.next == nil {
			n.next = map[byte]*node{}
		}
		c := path[i]
		if n.next[c] == nil {
			n.next[c] = &node{}
		}
		n = n.next[c]
	}
	n.end = true
}

// walk calls visit for every node with the path to it, the bytes that go on from it, and whether an excepted path ends there.
func (n *node) walk(path string, visit func(path, next string, end bool)) {
	var next []byte
	for c := range n.next {
		next = append(next, c)
	}
	sort.Slice(next, func(i, j int) bool { return next[i] < next[j] })
	visit(path, string(next), n.end)
	for _, c := range next {
		if n.end && c == '/' {
			continue // excepted already, with all below
		}
		n.next[c].walk(path+string(c), visit)
	}
}

// complement matches what begins with path and goes on with none of the bytes of next: path itself, too, unless it is excepted, and then nothing
// that goes on with a slash.
func complement(path, next string, end bool) string {
	if end && !strings.Contains(next, "/") {
		next += "/"
	}
	class := ""
	if set, ok := charClass(next); ok {
		class = "[^" + set + "]**"
	} // a byte that no class can name: what begins so is left out, which denies more
	slash := ""
	if class != "" && !strings.Contains(next, "/") {
		slash = ",/,/**" // whatever a parser makes of a slash in a negated class
	}
	switch {
	case end && class == "":
		return ""
	case end:
		return quote(path) + class
	case class == "":
		return quote(path)
	}
	return quote(path) + "{" + slash + "," + class + "}"
}
