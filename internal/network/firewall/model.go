package firewall

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
)

// A table is what is wanted of one, as data: it has a text, as nft would list it, and a form for the kernel.
type table struct {
	family nftables.TableFamily
	sets   []*set
	chains []*chain
}

// plainName is that of all tables of ours, one for each family, of the engine that has the usual run directory.
const plainName = "bulkhead"

var tableName = plainName

var familyNames = map[nftables.TableFamily]string{
	nftables.TableFamilyINet: "inet", nftables.TableFamilyIPv4: "ip", nftables.TableFamilyIPv6: "ip6", nftables.TableFamilyBridge: "bridge",
}

func (t *table) set(name string) *set {
	i := slices.IndexFunc(t.sets, func(s *set) bool { return s.name == name })
	if i < 0 {
		panic("firewall: no set " + name)
	}
	return t.sets[i]
}

// A set is one of elements, or a map from them.
type set struct {
	name     string
	key      []kind
	value    []kind // of a map; kindVerdict: a verdict map
	interval bool
	timeout  bool
	counter  bool
	elements []element
}

// A kind is a type of data in sets.
type kind struct{ nftables.SetDatatype }

var (
	kindName    = kind{nftables.TypeIFName}
	kindMAC     = kind{nftables.TypeEtherAddr}
	kindIPv4    = kind{nftables.TypeIPAddr}
	kindIPv6    = kind{nftables.TypeIP6Addr}
	kindProto   = kind{nftables.TypeInetProto}
	kindPort    = kind{nftables.TypeInetService}
	kindVerdict = kind{nftables.TypeVerdict}
)

// An element is a key, from the first to the last of each part, with what it leads to.
type element struct {
	first, last []byte
	text        string
	value       []byte
	valueText   string
	chain       string // that a verdict map goes to
	comment     string
	timeout     time.Duration
}

// Parts of keys, besides netip.Addr and netip.Prefix.
type (
	device string
	mac    [6]byte
	proto  uint8
	port   uint16
	span   [2]uint16
)

var protoNames = map[proto]string{1: "icmp", 6: "tcp", 17: "udp", 58: "ipv6-icmp", 132: "sctp"}

// key makes an element from the parts of its key.
func key(parts ...any) element {
	var e element
	var texts []string
	for _, p := range parts {
		first, last, text := part(p)
		texts = append(texts, text)
		e.first, e.last = append(e.first, padded(first)...), append(e.last, padded(last)...)
		if len(parts) == 1 {
			e.first, e.last = first, last
		}
	}
	e.text = strings.Join(texts, " . ")
	return e
}

// to gives an element of a map its value.
func (e element) to(parts ...any) element {
	v := key(parts...)
	e.value, e.valueText = v.first, v.text
	return e
}

// of says which container an element is for.
func (e element) of(name string) element {
	e.comment = name
	return e
}

// padded fills a part of a key up to whole registers.
func padded(b []byte) []byte {
	return append(slices.Clip(b), make([]byte, (4-len(b)%4)%4)...)
}

func part(p any) (first, last []byte, text string) {
	switch p := p.(type) {
	case device:
		b := make([]byte, 16)
		copy(b, p)
		return b, b, fmt.Sprintf("%q", string(p))
	case mac:
		return p[:], p[:], fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", p[0], p[1], p[2], p[3], p[4], p[5])
	case netip.Addr:
		return p.AsSlice(), p.AsSlice(), p.String()
	case netip.Prefix:
		p = p.Masked()
		first, last = p.Addr().AsSlice(), p.Addr().AsSlice()
		for bit := p.Bits(); bit < len(last)*8; bit++ {
			last[bit/8] |= 0x80 >> (bit % 8)
		}
		text = p.String()
		if p.IsSingleIP() {
			text = p.Addr().String()
		}
		return first, last, text
	case proto:
		return []byte{byte(p)}, []byte{byte(p)}, protoNames[p]
	case port:
		b := binary.BigEndian.AppendUint16(nil, uint16(p))
		return b, b, fmt.Sprint(uint16(p))
	case span:
		text = fmt.Sprintf("%d-%d", p[0], p[1])
		if p[0] == p[1] {
			text = fmt.Sprint(p[0])
		}
		return binary.BigEndian.AppendUint16(nil, p[0]), binary.BigEndian.AppendUint16(nil, p[1]), text
	}
	panic(fmt.Sprintf("firewall: %T in a key", p))
}

// A chain is a list of rules; one with a hook is where packets come in.
type chain struct {
	name     string
	typ      nftables.ChainType
	hook     *nftables.ChainHook
	hookName string
	priority int32
	rules    []rule
}

// A rule is a list of statements.
type rule struct {
	statements []statement
	comment    string
}

// A statement is a part of a rule.
type statement interface {
	text() string
	lower(l *lowering) []expr.Any
}

// when makes a rule.
func when(s ...statement) rule { return rule{statements: s} }

// because gives a rule a comment.
func (r rule) because(comment string) rule {
	r.comment = comment
	return r
}

// Text is the table as nft would list it.
func (t *table) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "table %s %s {\n", familyNames[t.family], tableName)
	for _, s := range t.sets {
		s.write(&b)
	}
	for i, c := range t.chains {
		if i > 0 {
			b.WriteByte('\n')
		}
		c.write(&b)
	}
	b.WriteString("}\n")
	return b.String()
}

func kindsText(list []kind) string {
	var out []string
	for _, k := range list {
		out = append(out, k.Name)
	}
	return strings.Join(out, " . ")
}

func (s *set) write(b *strings.Builder) {
	word, typ := "set", kindsText(s.key)
	if s.value != nil {
		word, typ = "map", typ+" : "+kindsText(s.value)
	}
	fmt.Fprintf(b, "\t%s %s {\n\t\ttype %s\n", word, s.name, typ)
	var flags []string
	if s.interval {
		flags = append(flags, "interval")
	}
	if s.timeout {
		flags = append(flags, "timeout")
	}
	if flags != nil {
		fmt.Fprintf(b, "\t\tflags %s\n", strings.Join(flags, ","))
	}
	if s.counter {
		b.WriteString("\t\tcounter\n")
	}
	for i, e := range s.elements {
		lead := "\t\t\t     "
		if i == 0 {
			lead = "\t\telements = { "
		}
		b.WriteString(lead + e.line(s.counter))
		if i == len(s.elements)-1 {
			b.WriteString(" }\n")
		} else {
			b.WriteString(",\n")
		}
	}
	b.WriteString("\t}\n\n")
}

// line is an element in words.
func (e element) line(counter bool) string {
	out := e.text
	if counter {
		out += " counter"
	}
	if e.timeout > 0 {
		out += " timeout " + e.timeout.String()
	}
	if e.comment != "" {
		out += fmt.Sprintf(" comment %q", e.comment)
	}
	switch {
	case e.chain != "":
		out += " : goto " + e.chain
	case e.valueText != "":
		out += " : " + e.valueText
	}
	return out
}

func (c *chain) write(b *strings.Builder) {
	fmt.Fprintf(b, "\tchain %s {\n", c.name)
	if c.hook != nil {
		fmt.Fprintf(b, "\t\ttype %s hook %s priority %d; policy accept;\n", c.typ, c.hookName, c.priority)
	}
	for _, r := range c.rules {
		var parts []string
		for _, s := range r.statements {
			parts = append(parts, s.text())
		}
		line := strings.Join(parts, " ")
		if r.comment != "" {
			line += fmt.Sprintf(" comment %q", r.comment)
		}
		b.WriteString("\t\t" + line + "\n")
	}
	b.WriteString("\t}\n")
}
