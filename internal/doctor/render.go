package doctor

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/bulkhead-engine/bulkhead/internal/ocijson"
)

// JSON returns the report as one object: host, missing, weak, and checks, whose fields are id, group, status, title, found, cost and fix,
// all of them strings and always there.
func (r *Report) JSON() []byte {
	out := append([]byte(`{"host":`), ocijson.AppendString(nil, r.Host)...)
	out = append(strconv.AppendInt(append(out, `,"missing":`...), int64(r.Missing()), 10), `,"weak":`...)
	out = append(strconv.AppendInt(out, int64(r.count(Weak)), 10), `,"checks":[`...)
	for i := range r.Findings {
		f := &r.Findings[i]
		for n, field := range [...]struct{ name, value string }{
			{"id", f.ID}, {"group", f.Group}, {"status", string(f.Status)}, {"title", f.Title}, {"found", f.Found}, {"cost", f.Cost}, {"fix", f.Fix},
		} {
			switch {
			case n > 0:
				out = append(out, ',')
			case i > 0:
				out = append(out, ",{"...)
			default:
				out = append(out, '{')
			}
			out = append(ocijson.AppendString(out, field.name), ':')
			out = ocijson.AppendString(out, field.value)
		}
		out = append(out, '}')
	}
	return append(out, "]}"...)
}

// The columns of the text.
const (
	statusWidth = 9
	titleWidth  = 28
)

// Text returns the report for people: a line for each finding under its heading, below it what a lack costs, and the command, alone on its
// line.
func (r *Report) Text() []byte {
	var b strings.Builder
	b.WriteString(clean(r.Host) + "\n")
	group := ""
	for i := range r.Findings {
		f := &r.Findings[i]
		if f.Group != group {
			group = f.Group
			b.WriteString("\n" + group + "\n")
		}
		b.WriteString("  " + pad(string(f.Status), statusWidth) + pad(clean(f.Title), titleWidth) + clean(f.Found) + "\n")
		if f.Cost != "" {
			b.WriteString("  " + pad("", statusWidth) + clean(f.Cost) + "\n")
		}
		if f.Fix != "" {
			b.WriteString("  " + pad("", statusWidth) + "  " + clean(f.Fix) + "\n")
		}
	}
	b.WriteString("\n" + r.summary() + "\n")
	return []byte(b.String())
}

// summary is the last line.
func (r *Report) summary() string {
	text := "Containers run here"
	if n := r.Missing(); n > 0 {
		text = count(n, "thing is missing", "things are missing") + " that containers need"
	}
	if n := r.count(Weak); n > 0 {
		text += "; " + count(n, "is weak", "are weak")
	}
	if n := r.count(Unknown); n > 0 {
		text += "; " + count(n, "is not known", "are not known")
	}
	return text + "; " + strconv.Itoa(r.count(OK)) + " ok."
}

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + many
}

func pad(s string, width int) string {
	return s + strings.Repeat(" ", max(1, width-utf8.RuneCountInString(s)))
}

// clean replaces what could speak to a terminal.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 || r == utf8.RuneError || r >= 0x2028 && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
			return '?'
		}
		return r
	}, s)
}

// bytesText is a number of bytes with its unit, rounded down.
func bytesText(n uint64) string {
	const units = "KMGTPE"
	unit := -1
	for n >= 10240 && unit < len(units)-1 || unit < 0 && n >= 1024 {
		n >>= 10
		unit++
	}
	if unit < 0 {
		return strconv.FormatUint(n, 10) + " B"
	}
	return strconv.FormatUint(n, 10) + " " + units[unit:unit+1] + "iB"
}

// countText is a number in thousands or millions once it is long.
func countText(n uint64) string {
	switch {
	case n >= 10_000_000:
		return strconv.FormatUint(n/1_000_000, 10) + " million"
	case n >= 10_000:
		return strconv.FormatUint(n/1000, 10) + " thousand"
	}
	return strconv.FormatUint(n, 10)
}

// limitText is a resource limit.
func limitText(n uint64, bytes bool) string {
	switch {
	case n == ^uint64(0):
		return "unlimited"
	case bytes:
		return bytesText(n)
	}
	return strconv.FormatUint(n, 10)
}
