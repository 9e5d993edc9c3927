package resolver

import (
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// Names is what a container can see of its networks. Names are in lower case, without the last dot. Calls come from many goroutines and must not block for long.
type Names interface {
	// Lookup returns the addresses of a name. A name can be known without an address.
	Lookup(name string) (addrs []netip.Addr, known bool)
	// Reverse returns the names of an address. If the address is mine, in one of the networks, nobody else is asked for it.
	Reverse(addr netip.Addr) (names []string, mine bool)
	// Networks returns the names of the networks.
	Networks() []string
	// Outside reports whether anybody outside may be asked at all: false for a container that is on internal networks only.
	Outside() bool
}

// A Table is Names as plain data. It is filled, and then only read. The zero value is empty, and has no outside.
type Table struct {
	// Out is what Outside answers.
	Out      bool
	forward  map[string][]netip.Addr
	back     map[netip.Addr][]string
	lesser   map[string]bool // of forward: names that give way
	networks []string
	subnets  []netip.Prefix
}

// Network adds a network that the container is on.
func (t *Table) Network(name string, subnets ...netip.Prefix) {
	t.networks = append(t.networks, strings.ToLower(name))
	t.subnets = append(t.subnets, subnets...)
}

// Add adds one end of a network: its names, the first of which is the one that its addresses lead back to, and its addresses. Each name also is known as NAME.NETWORK. Names
// that DNS cannot express are left out.
func (t *Table) Add(network string, names []string, addrs []netip.Addr) {
	if t.forward == nil {
		t.forward, t.back = map[string][]netip.Addr{}, map[netip.Addr][]string{}
	}
	for i, name := range names {
		name, long, ok := spell(name, network)
		if !ok {
			continue
		}
		t.add(name, addrs)
		t.add(long, addrs)
		for _, a := range addrs {
			if _, there := t.back[a.Unmap()]; i == 0 && !there {
				t.back[a.Unmap()] = []string{long}
			}
		}
	}
}

// AddLesser adds names of an end that hold only where they are nobody's otherwise. It is called when all others were added.
func (t *Table) AddLesser(network string, names []string, addrs []netip.Addr) {
	for _, name := range names {
		name, long, ok := spell(name, network)
		if !ok {
			continue
		}
		for _, n := range []string{name, long} {
			if _, taken := t.forward[n]; !taken || t.lesser[n] {
				if t.lesser == nil {
					t.lesser = map[string]bool{}
				}
				t.lesser[n] = true
				t.add(n, addrs)
			}
		}
	}
}

// spell makes both names that DNS has for a name on a network.
func spell(name, network string) (bare, long string, ok bool) {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	if _, err := putName(nil, name); err != nil || name == "" {
		return "", "", false
	}
	long = name + "." + strings.ToLower(network)
	if _, err := putName(nil, long); err != nil {
		long = name
	}
	return name, long, true
}

func (t *Table) add(name string, addrs []netip.Addr) {
	list := t.forward[name]
next:
	for _, a := range addrs {
		a = a.Unmap()
		for _, have := range list {
			if a == have {
				continue next
			}
		}
		list = append(list, a)
	}
	t.forward[name] = list
}

// Lookup is of Names.
func (t *Table) Lookup(name string) ([]netip.Addr, bool) {
	addrs, ok := t.forward[name]
	return addrs, ok
}

// Reverse is of Names.
func (t *Table) Reverse(addr netip.Addr) ([]string, bool) {
	names, ok := t.back[addr.Unmap()]
	for _, p := range t.subnets {
		ok = ok || p.Contains(addr.Unmap())
	}
	return names, ok
}

// Networks is of Names.
func (t *Table) Networks() []string { return t.networks }

// Outside is of Names.
func (t *Table) Outside() bool { return t.Out }

// settled is how old a directory's last change must be for a table that was read from it to be kept: a second change within the same tick of the clock that stamps
// files (at most 10 ms) does not show in the stamp.
const settled = 50 * time.Millisecond

// A Watch is Names read from files, and read again when one of the directories that they are in has changed, which is looked at for each question: files in it must be
// replaced, not written into. If they cannot be read, what was read last holds.
type Watch struct {
	load func() (*Table, []string, error)

	mu    sync.Mutex
	table *Table
	dirs  []string
	seen  []stamp
}

// A stamp tells whether a file is the one that it was.
type stamp struct {
	info fs.FileInfo // nil: there is none
	ripe bool        // the change is long enough ago
}

func stampOf(path string, now time.Time) stamp {
	info, err := os.Stat(path)
	if err != nil {
		return stamp{ripe: true}
	}
	return stamp{info, now.Sub(info.ModTime()) > settled}
}

// same reports whether a file is certainly unchanged since s.
func (s stamp) same(now stamp) bool {
	if s.info == nil || now.info == nil {
		return s.info == nil && now.info == nil
	}
	return s.ripe && os.SameFile(s.info, now.info) && s.info.ModTime().Equal(now.info.ModTime()) && s.info.Size() == now.info.Size()
}

// NewWatch returns Names that load reads, which also says what directories it has read from.
func NewWatch(load func() (*Table, []string, error)) *Watch {
	return &Watch{load: load, table: &Table{}}
}

func (w *Watch) now() *Table {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	fresh := w.seen != nil
	for i, dir := range w.dirs {
		fresh = fresh && w.seen[i].same(stampOf(dir, now))
	}
	if fresh {
		return w.table
	}
	// Stamped before they are read: a change meanwhile is seen the next time.
	seen := make([]stamp, len(w.dirs))
	for i, dir := range w.dirs {
		seen[i] = stampOf(dir, now)
	}
	table, dirs, err := w.load()
	if err != nil {
		return w.table
	}
	w.table, w.seen = table, seen
	if !slices.Equal(dirs, w.dirs) { // other directories than those that were stamped: the next question reads again
		w.dirs, w.seen = dirs, nil
	}
	return table
}

// Lookup is of Names.
func (w *Watch) Lookup(name string) ([]netip.Addr, bool) { return w.now().Lookup(name) }

// Reverse is of Names.
func (w *Watch) Reverse(addr netip.Addr) ([]string, bool) { return w.now().Reverse(addr) }

// Networks is of Names.
func (w *Watch) Networks() []string { return w.now().Networks() }

// Outside is of Names.
func (w *Watch) Outside() bool { return w.now().Outside() }
