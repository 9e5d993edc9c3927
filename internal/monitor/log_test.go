package monitor

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/monitor/control"
	"golang.org/x/sys/unix"
)

func opened(t *testing.T, o *control.Log) *log {
	t.Helper()
	l, err := openLog(o)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// entries reads the lines of a file of json-file.
func entries(t *testing.T, data []byte) []line {
	t.Helper()
	var out []line
	for s := range strings.Lines(string(data)) {
		var e line
		if err := json.Unmarshal([]byte(s), &e); err != nil {
			t.Fatalf("%q: %v", s, err)
		}
		out = append(out, e)
	}
	return out
}

// TestLines: lines, pieces of lines, bytes that are no text, and what has no end; put together it is what was written.
func TestLines(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	l := opened(t, &control.Log{Driver: "json-file", Path: path, Attrs: map[string]string{"tier": "front"}})
	long := strings.Repeat("x", 40000)
	exact := strings.Repeat("y", maxPiece)
	now := time.Now()
	for _, s := range []string{"one\ntw", "o\n\n", long + "\n", exact + "\n", exact, "\nbin\x00\xff\n", "no end"} {
		l.write(1, []byte(s), now)
	}
	l.write(2, []byte("problem\n"), now)
	l.close()
	l.write(1, []byte("late\n"), now)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	list := entries(t, data)
	all := ""
	for _, e := range list {
		if e.Stream == "stdout" {
			all += e.Log
		}
		if e.Attrs["tier"] != "front" || e.Time.Location() != time.UTC {
			t.Errorf("%+v", e)
		}
	}
	if all != "one\ntwo\n\n"+long+"\n"+exact+"\n"+exact+"\nbin\x00\uFFFD\nno end" {
		t.Errorf("%d bytes: %.100q", len(all), all)
	}
	if list[3].Log != long[:maxPiece] || list[5].Log != long[:40000-2*maxPiece]+"\n" {
		t.Errorf("the pieces are of %d and %d bytes", len(list[3].Log), len(list[5].Log))
	}
}

// TestRotation: as many files as were asked for, no line lost among them, the old ones packed.
func TestRotation(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(path, []byte(`{"log":"half`), 0o600); err != nil { // a killed monitor's
		t.Fatal(err)
	}
	l := opened(t, &control.Log{Driver: "json-file", Path: path, MaxSize: 4000, MaxFile: 3, Compress: true})
	for i := range 200 {
		l.write(1, fmt.Appendf(nil, "line %d\n", i), time.Now())
	}
	l.close()
	names, err := filepath.Glob(path + "*")
	if err != nil || len(names) != 3 {
		t.Fatalf("%v, %v", names, err)
	}
	next := -1
	for _, name := range []string{path + ".2.gz", path + ".1.gz", path} {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if st, err := f.Stat(); err != nil || st.Size() > 4000 || st.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, st, err)
		}
		r := io.Reader(f)
		if strings.HasSuffix(name, ".gz") {
			if r, err = gzip.NewReader(f); err != nil {
				t.Fatal(err)
			}
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries(t, data) {
			if next < 0 {
				if _, err := fmt.Sscanf(e.Log, "line %d", &next); err != nil {
					t.Fatal(err)
				}
			}
			if e.Log != fmt.Sprintf("line %d\n", next) {
				t.Errorf("%q, want line %d", e.Log, next)
			}
			next++
		}
	}
	if next != 200 {
		t.Errorf("the last line is %d", next-1)
	}
}

// TestFullDisk: what cannot be written is lost, no line is half there, and the log says how many were lost when it can again.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Skipf("needs root: %v", err)
	}
	defer func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	}()
	path := filepath.Join(dir, "log")
	l := opened(t, &control.Log{Driver: "json-file", Path: path})
	defer l.close()
	filler := filepath.Join(dir, "filler")
	l.write(1, []byte("before\n"), time.Now())
	if err := os.WriteFile(filler, make([]byte, 40<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 100 {
		l.write(1, []byte(strings.Repeat("x", 1000)+"\n"), time.Now())
	}
	lost := l.lost
	if lost == 0 || lost == 100 {
		t.Fatalf("%d of 100 lost", lost)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	l.write(1, []byte("after\n"), time.Now())
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	list := entries(t, data)
	if len(list) != 1+100-lost+2 || list[len(list)-2].Log != fmt.Sprintf("[bulkhead: %d lines of output could not be written here]\n", lost) || list[len(list)-1].Log != "after\n" {
		t.Errorf("%d entries, %d lost: %+v", len(list), lost, list[len(list)-2:])
	}
}

// TestSpeed: ten thousand lines a second are far from the limit.
func TestSpeed(t *testing.T) {
	l := opened(t, &control.Log{Driver: "json-file", Path: filepath.Join(t.TempDir(), "log"), MaxSize: 1 << 20, MaxFile: 3})
	defer l.close()
	begin := time.Now()
	for i := range 20000 {
		l.write(1, fmt.Appendf(nil, "a line of output with the number %d\n", i), time.Now())
	}
	if d := time.Since(begin); d > 2*time.Second {
		t.Errorf("20,000 lines took %v", d)
	} else {
		t.Logf("20,000 lines took %v", d)
	}
}

// fields reads a datagram of the journal's protocol.
func fields(t *testing.T, b []byte) map[string]string {
	t.Helper()
	out := map[string]string{}
	for len(b) > 0 {
		end := bytes.IndexByte(b, '\n')
		if end < 0 {
			t.Fatalf("%q", b)
		}
		head := string(b[:end])
		b = b[end+1:]
		name, value, plain := strings.Cut(head, "=")
		if !plain {
			n := binary.LittleEndian.Uint64(b)
			value, b = string(b[8:8+n]), b[8+n:]
			if b[0] != '\n' {
				t.Fatalf("%q", b)
			}
			b = b[1:]
		}
		if _, twice := out[name]; twice || !regexp.MustCompile(`^[A-Z][A-Z0-9_]*$`).MatchString(name) {
			t.Errorf("field %q", name)
		}
		out[name] = value
	}
	return out
}

func datagrams(t *testing.T, path string) *net.UnixConn {
	t.Helper()
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func take(t *testing.T, c net.Conn) []byte {
	t.Helper()
	b := make([]byte, 256<<10)
	_ = c.SetReadDeadline(time.Now().Add(30 * time.Second))
	n, err := c.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return b[:n]
}

func TestJournal(t *testing.T) {
	path := filepath.Join(t.TempDir(), "socket")
	o := &control.Log{Driver: "journald", Network: "unixgram", Address: path, Tag: "web", Attrs: map[string]string{"CONTAINER_ID": "abc", "my.label-1": "v\nMESSAGE=forged", "_PID": "1", "7": "x", "container.id": "forged", "message": "forged", "PRIORITY": "0"}}
	if _, err := openLog(o); !errdef.Is(err, errdef.Unavailable) || !strings.HasPrefix(err.Error(), "log driver journald: ") || errdef.Hint(err) == "" {
		t.Fatalf("without a journal: %v", err)
	}
	c := datagrams(t, path)
	l := opened(t, o)
	l.write(1, []byte("hello=1\n"), time.Now())
	l.write(2, []byte("bin\x00\xff\n"), time.Now())
	l.write(1, []byte(strings.Repeat("x", maxPiece)+"end\n"), time.Now())
	one, two, three, four := fields(t, take(t, c)), fields(t, take(t, c)), fields(t, take(t, c)), fields(t, take(t, c))
	if one["MESSAGE"] != "hello=1" || one["PRIORITY"] != "6" || one["CONTAINER_TAG"] != "web" || one["SYSLOG_IDENTIFIER"] != "web" || one["CONTAINER_ID"] != "abc" ||
		one["MY_LABEL_1"] != "v\nMESSAGE=forged" || one["PID"] != "1" || one["CONTAINER_PARTIAL_MESSAGE"] != "" {
		t.Errorf("%q", one)
	}
	if two["MESSAGE"] != "bin\x00\xff" || two["PRIORITY"] != "3" {
		t.Errorf("%q", two)
	}
	if len(three["MESSAGE"]) != maxPiece || four["MESSAGE"] != "end" || three["CONTAINER_PARTIAL_ID"] == "" || three["CONTAINER_PARTIAL_ID"] != four["CONTAINER_PARTIAL_ID"] ||
		three["CONTAINER_PARTIAL_LAST"] != "false" || four["CONTAINER_PARTIAL_LAST"] != "true" || four["CONTAINER_PARTIAL_ORDINAL"] != "2" {
		t.Errorf("%.200q, %q", three, four)
	}
	// A journal that was started anew gets what comes then, and hears of what nobody got.
	_ = c.Close()
	_ = os.Remove(path)
	l.write(1, []byte("nobody\n"), time.Now())
	c = datagrams(t, path)
	l.write(1, []byte("again\n"), time.Now())
	if m := fields(t, take(t, c))["MESSAGE"]; m != "[bulkhead: 1 lines of output could not be written here]" {
		t.Errorf("%q", m)
	}
	if m := fields(t, take(t, c))["MESSAGE"]; m != "again" {
		t.Errorf("%q", m)
	}
	// One that does not read holds the program up once, not for each line.
	begin := time.Now()
	for range 2000 {
		l.write(1, []byte("more\n"), time.Now())
	}
	if d := time.Since(begin); d < sendTime || d > 3*sendTime {
		t.Errorf("2,000 lines that nobody reads took %v", d)
	}
	l.close()
}

func TestSyslogFormats(t *testing.T) {
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	dir := t.TempDir()
	unixgram := datagrams(t, filepath.Join(dir, "log"))
	for _, test := range []struct {
		format, want string
		local        bool
	}{
		{"", `^<30>[A-Z][a-z]{2} [ 0-9]\d \d\d:\d\d:\d\d web\[\d+\]: hi\\rthere\n$`, true},
		{"rfc3164", `^<30>[A-Z][a-z]{2} [ 0-9]\d \d\d:\d\d:\d\d \S+ web\[\d+\]: hi\\rthere\n$`, false},
		{"rfc5424", `^<30>1 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(Z|[+-]\d\d:\d\d) \S+ web \d+ web - hi\\rthere\n$`, false},
		{"rfc5424micro", `^<30>1 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}(Z|[+-]\d\d:\d\d) \S+ web \d+ web - hi\\rthere\n$`, true},
	} {
		o := &control.Log{Driver: "syslog", Network: "udp", Address: udp.LocalAddr().String(), Tag: "web", Facility: 24, Format: test.format}
		if test.local {
			o.Network, o.Address = "unix", filepath.Join(dir, "log")
		}
		l := opened(t, o)
		l.write(1, []byte("hi\rthere\n"), time.Now())
		var got []byte
		if test.local {
			got = take(t, unixgram)
		} else {
			got = take(t, udp.(*net.UDPConn))
		}
		if !regexp.MustCompile(test.want).Match(got) {
			t.Errorf("%s: %q", test.format, got)
		}
		l.write(2, []byte("bad\n"), time.Now())
		l.close()
		if test.local {
			got = take(t, unixgram)
		} else {
			got = take(t, udp.(*net.UDPConn))
		}
		if !bytes.HasPrefix(got, []byte("<27>")) {
			t.Errorf("%s: %q", test.format, got)
		}
	}
	for _, o := range []control.Log{{Network: "tcp", Address: "127.0.0.1:1"}, {Network: "unix", Address: filepath.Join(dir, "absent")}} {
		o.Driver = "syslog"
		if _, err := openLog(&o); !errdef.Is(err, errdef.Unavailable) || !strings.HasPrefix(err.Error(), "log driver syslog: syslog-address "+o.Network) {
			t.Errorf("%v", err)
		}
	}
}

// A server takes lines over TCP.
type server struct {
	l     net.Listener
	mu    sync.Mutex
	lines []string
	conns []net.Conn
}

func serveTCP(t *testing.T, address string) *server {
	t.Helper()
	var err error
	s := &server{}
	for range 100 {
		if s.l, err = net.Listen("tcp", address); !errors.Is(err, unix.EADDRINUSE) {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			c, err := s.l.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.conns = append(s.conns, c)
			s.mu.Unlock()
			go func() {
				r := bufio.NewScanner(c)
				for r.Scan() {
					s.mu.Lock()
					s.lines = append(s.lines, r.Text())
					s.mu.Unlock()
				}
			}()
		}
	}()
	t.Cleanup(s.close)
	return s
}

func (s *server) close() {
	_ = s.l.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.conns {
		_ = c.Close()
	}
}

func (s *server) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.lines)
}

func (s *server) wait(t *testing.T, n int) {
	t.Helper()
	for range 500 {
		if s.count() >= n {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("%d lines have come, want %d", s.count(), n)
}

// TestSyslogReconnect: a server that goes and comes back gets what came meanwhile, up to the bound of the queue; the program never waits for it.
func TestSyslogReconnect(t *testing.T) {
	s := serveTCP(t, "127.0.0.1:0")
	address := s.l.Addr().String()
	l := opened(t, &control.Log{Driver: "syslog", Network: "tcp", Address: address, Tag: "web", Format: "rfc5424"})
	for i := range 1000 {
		l.write(1, fmt.Appendf(nil, "first %d\n", i), time.Now())
	}
	s.wait(t, 1000)
	s.close()
	begin := time.Now()
	for i := range 10000 {
		l.write(1, fmt.Appendf(nil, "second %d %s\n", i, strings.Repeat("x", 400)), time.Now())
	}
	if d := time.Since(begin); d > syslogDial {
		t.Errorf("10,000 lines to nobody took %v", d)
	}
	lost := l.lost
	if lost < 5000 || lost > 9000 {
		t.Errorf("%d of 10,000 lost: the queue takes about 2,200", lost)
	}
	s2 := serveTCP(t, address)
	s2.wait(t, 10000-lost)
	l.write(1, []byte("third\n"), time.Now())
	s2.wait(t, 10000-lost+2)
	l.close()
	if got := s2.lines[len(s2.lines)-2:]; !strings.HasSuffix(got[0], fmt.Sprintf("[bulkhead: %d lines of output could not be written here]", lost)) || !strings.HasSuffix(got[1], "- third") {
		t.Errorf("%q", got)
	}
	for i, text := range s.lines {
		if !strings.HasSuffix(text, fmt.Sprintf("- first %d", i)) {
			t.Fatalf("%d: %q", i, text)
		}
	}
}

// A slow takes an entry each time it is let.
type slow struct {
	turn chan bool
	mu   sync.Mutex
	got  []string
}

func (s *slow) put(e *entry) error {
	<-s.turn
	s.mu.Lock()
	defer s.mu.Unlock()
	s.got = append(s.got, string(e.text))
	return nil
}
func (s *slow) close() {}

// TestBuffer: with mode=non-blocking the program does not wait, what finds no room is lost, and that is told.
func TestBuffer(t *testing.T) {
	d := &slow{turn: make(chan bool)}
	b := newBuffer(d, 100)
	for i := range 50 {
		if err := b.put(&entry{stream: 1, text: fmt.Appendf(nil, "line %05d", i), whole: true, time: time.Now()}); err != nil {
			t.Fatal(err)
		}
	}
	go func() {
		for range 20 {
			d.turn <- true
		}
		close(d.turn)
	}()
	for range 500 {
		if b.mu.Lock(); b.size == 0 {
			b.mu.Unlock()
			break
		}
		b.mu.Unlock()
		time.Sleep(time.Millisecond)
	}
	_ = b.put(&entry{stream: 1, text: []byte("last"), whole: true, time: time.Now()})
	b.close()
	if n := len(d.got); n != 12 || d.got[0] != "line 00000" || d.got[9] != "line 00009" || d.got[10] != "[bulkhead: 40 lines of output could not be written here]" || d.got[11] != "last" {
		t.Errorf("%d: %q", n, d.got)
	}
}
