package monitor

import (
	"bytes"
	"net"
	"path/filepath"
	"testing"

	"github.com/bulkhead-engine/bulkhead/internal/monitor/control"
)

// TestJournalForge: no label and no variable takes the place of the engine's own fields, whatever it sorts before, nor makes the journal show an entry as another unit's.
func TestJournalForge(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.ListenPacket("unixgram", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	j, err := openJournal(&control.Log{Address: path, Tag: "t", Attrs: map[string]string{
		"CONTAINER_ID": "own", "CONTAINER_NAME": "own", "CONTAINER.ID": "forged", "0CONTAINER_NAME": "forged",
		"object_systemd_unit": "ssh.service", "Object.Pid": "1", "coredump_unit": "ssh.service", "message_id": "x", "unit": "ssh.service", "team": "red",
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer j.close()
	for _, bad := range []string{"forged", "OBJECT_", "COREDUMP_", "MESSAGE_ID", "UNIT=ssh"} {
		if bytes.Contains(j.fields, []byte(bad)) {
			t.Errorf("%s in %q", bad, j.fields)
		}
	}
	for _, want := range []string{"CONTAINER_ID=own\n", "CONTAINER_NAME=own\n", "TEAM=red\n"} {
		if !bytes.Contains(j.fields, []byte(want)) {
			t.Errorf("no %q in %q", want, j.fields)
		}
	}
}
