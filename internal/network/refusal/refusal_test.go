package refusal

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestLog(t *testing.T) {
	dir := t.TempDir()
	l, err := OpenLog(dir)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().Round(0)
	r := Record{Time: now, Protocol: "tcp", Address: netip.MustParseAddr("192.0.2.1"), Port: 443, Name: "a.example", Rule: "egress: none"}
	l.Add(r)
	r.Time = now.Add(time.Second)
	l.Add(r)
	r.Port = 80
	l.Add(r)
	if err := l.Flush(); err != nil {
		t.Fatal(err)
	}
	list, err := Read(dir)
	if err != nil || len(list) != 2 || list[0].Count != 2 || !list[0].Last.Equal(now.Add(time.Second)) || list[1].Port != 80 || list[1].Count != 1 {
		t.Fatalf("%+v, %v", list, err)
	}
	again, err := OpenLog(dir)
	if err != nil {
		t.Fatal(err)
	}
	again.Add(r)
	if err := again.Flush(); err != nil {
		t.Fatal(err)
	}
	if list, err = Read(dir); err != nil || len(list) != 3 {
		t.Fatalf("gone on: %+v, %v", list, err)
	}
}

func TestLogIsBounded(t *testing.T) {
	dir := t.TempDir()
	l, err := OpenLog(dir)
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now().Add(-time.Hour)
	for i := range 20000 {
		l.Add(Record{Time: start.Add(time.Duration(i) * time.Millisecond), Protocol: "dns", Name: fmt.Sprintf("%d.%s", i, strings.Repeat("x", 500)), Rule: "egress"})
		if i%500 == 499 {
			if err := l.Flush(); err != nil {
				t.Fatal(err)
			}
		}
	}
	st, err := os.Stat(filepath.Join(dir, fileName))
	if err != nil || st.Size() > fullFile {
		t.Fatalf("%v, %v", st, err)
	}
	list, err := Read(dir)
	if err != nil || len(list) == 0 || !strings.HasPrefix(list[len(list)-1].Name, "19999.") {
		t.Fatalf("%d records, %v", len(list), err)
	}
}

func TestReadHostile(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, fileName), []byte("{}\nnot json\n\x00\n{\"Port\":\"x\"}\n{\"Port\":7}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	list, err := Read(dir)
	if err != nil || len(list) != 2 || list[1].Port != 7 {
		t.Fatalf("%+v, %v", list, err)
	}
	if list, err := Read(t.TempDir()); list != nil || err != nil {
		t.Fatalf("%v, %v", list, err)
	}
}
