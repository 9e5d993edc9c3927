// Package progress shows how far something is: on a terminal a line per layer with a bar, redrawn in place; elsewhere a line per event, in Docker's words.
//
//	d := progress.New(os.Stdout, progress.Options{Size: size})     // Size nil: no terminal
//	d.Show(progress.Event{ID: "8ab3f0c1d2e3", Action: "Downloading", Current: 1 << 20, Total: 5 << 20})
//	d.Show(progress.Event{Action: "Digest: sha256:..."})           // ends the lines above it
//	err := d.Close()                                               // what was shown last stays
//
// An event with an ID moves the line of that ID; one without stands by itself. Of more lines than the terminal has, those that are done go up first. It draws
// when events come, ten times a second at most; nothing runs beside.
//
// Security: texts of events are escaped (package printable), and lines are cut to the width, so that none wraps and none reaches a terminal raw.
package progress

import (
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/bulkhead-engine/bulkhead/internal/cli/format"
	"github.com/bulkhead-engine/bulkhead/internal/cli/printable"
)

// An Event is news. With a Total and an ID it is a movement.
type Event struct {
	ID, Action     string
	Current, Total int64 // bytes
}

// Options say where it is shown. The zero value is no terminal.
type Options struct {
	// Size returns columns and rows of the terminal; nil: there is none.
	Size func() (columns, rows int)
}

// A Display shows events. It may be used from many goroutines.
type Display struct {
	w io.Writer
	o Options

	mu    sync.Mutex
	err   error
	live  []Event // in their order of coming
	drawn int     // lines on the terminal that are ours to draw anew
	last  time.Time
	// said is the last action of each ID, for what is no terminal.
	said map[string]string
}

// New returns a Display that writes to w.
func New(w io.Writer, o Options) *Display { return &Display{w: w, o: o, said: map[string]string{}} }

// pause is how long a picture stays at least, unless a line is done.
const pause = 100 * time.Millisecond

// moving are the actions that come again and again.
var moving = []string{"Downloading", "Extracting", "Verifying Checksum", "Download complete", "Pushing", "Loading layer", "Preparing", "Waiting"}

func (e Event) done() bool {
	return !slices.Contains(moving, e.Action) && e.Action != "Pulling fs layer"
}

// alone reports whether the event is no state of something that goes on.
func (e Event) alone() bool { return e.ID == "" || strings.HasPrefix(e.Action, "Pulling from ") }

// Show takes an event.
func (d *Display) Show(e Event) {
	d.mu.Lock()
	defer d.mu.Unlock()
	e.ID, e.Action = printable.Line(e.ID), printable.Line(e.Action)
	if e.alone() && e.Total > 0 {
		e.Action, e.Current, e.Total = e.Action+" size: "+strconv.FormatInt(e.Total, 10), 0, 0
	}
	if d.o.Size == nil {
		d.say(e)
		return
	}
	if e.alone() {
		d.settle()
		d.write(plain(e) + "\n")
		return
	}
	news := true
	if i := slices.IndexFunc(d.live, func(l Event) bool { return l.ID == e.ID }); i >= 0 {
		news = d.live[i].Action != e.Action
		d.live[i] = e
	} else {
		d.live = append(d.live, e)
	}
	if news || time.Since(d.last) >= pause {
		d.draw()
	}
}

// say writes an event as a line, unless it moves something that was said already.
func (d *Display) say(e Event) {
	if slices.Contains(moving, e.Action) || e.ID != "" && d.said[e.ID] == e.Action {
		return
	}
	if e.ID != "" {
		d.said[e.ID] = e.Action
	}
	d.write(plain(e) + "\n")
}

func plain(e Event) string {
	if e.ID == "" {
		return e.Action
	}
	return e.ID + ": " + e.Action
}

// draw writes the live lines over those that were drawn before.
func (d *Display) draw() {
	d.last = time.Now()
	columns, rows := d.o.Size()
	columns, rows = max(columns, 20), max(rows, 3)
	var b strings.Builder
	if d.drawn > 0 {
		b.WriteString("\x1b[" + strconv.Itoa(d.drawn) + "A\r\x1b[J")
	}
	for len(d.live) > rows-1 { // one line is the cursor's
		i := slices.IndexFunc(d.live, Event.done)
		if i < 0 {
			break
		}
		b.WriteString(line(d.live[i], columns) + "\n")
		d.live = slices.Delete(d.live, i, i+1)
	}
	shown := d.live[:min(len(d.live), rows-1)]
	for _, e := range shown {
		b.WriteString(line(e, columns) + "\n")
	}
	d.drawn = len(shown)
	d.write(b.String())
}

// settle leaves the live lines as they are.
func (d *Display) settle() {
	if len(d.live) > 0 {
		rows := len(d.live) + 2
		columns, _ := d.o.Size()
		size := d.o.Size
		d.o.Size = func() (int, int) { return columns, rows } // all of them, once
		d.draw()
		d.o.Size = size
	}
	d.live, d.drawn = nil, 0
}

// line is one line of the picture.
func line(e Event, columns int) string {
	text := plain(e)
	if e.Total > 0 && !e.done() {
		numbers := " " + format.Bytes(e.Current) + "/" + format.Bytes(e.Total)
		if width := min(columns-utf8.RuneCountInString(text)-len(numbers)-4, 50); width >= 10 {
			text += "  " + bar(e.Current, e.Total, width-2)
		}
		text += numbers
	}
	return cut(text, columns-1)
}

func bar(current, total int64, width int) string {
	n := min(int(float64(width)*float64(min(current, total))/float64(total)), width)
	head := ">"
	if n == width {
		head = ""
	}
	return "[" + strings.Repeat("=", n) + head + strings.Repeat(" ", width-n-len(head)) + "]"
}

func cut(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n])
	}
	return s
}

func (d *Display) write(s string) {
	if d.err == nil {
		_, d.err = io.WriteString(d.w, s)
	}
}

// Above lets f write to the terminal by another way, above what moves.
func (d *Display) Above(f func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.drawn > 0 {
		d.write("\x1b[" + strconv.Itoa(d.drawn) + "A\r\x1b[J")
		d.drawn = 0
	}
	f()
	if d.o.Size != nil && len(d.live) > 0 {
		d.draw()
	}
}

// Close shows the last of everything and reports whether something could not be written.
func (d *Display) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.o.Size != nil {
		d.settle()
	}
	return d.err
}
