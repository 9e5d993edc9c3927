package wire

import (
	"bytes"
	"errors"
	"io"
	"testing"
)

func TestRoundTrip(t *testing.T) {
	frames := []Frame{{Kind: Ready}, {Kind: Output, Job: 70000, Data: []byte("a\x00b\n")}, {Kind: Output, Data: bytes.Repeat([]byte("x"), MaxData)}, {Kind: Done}}
	var b bytes.Buffer
	for _, f := range frames {
		if err := Write(&b, f); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range frames {
		got, err := Read(&b)
		if err != nil || got.Kind != want.Kind || got.Job != want.Job || !bytes.Equal(got.Data, want.Data) {
			t.Fatalf("read %c %d (%d bytes), %v; want %c %d (%d bytes)", got.Kind, got.Job, len(got.Data), err, want.Kind, want.Job, len(want.Data))
		}
	}
	if _, err := Read(&b); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %v, want io.EOF", err)
	}
}

// A guest that is taken over must not make the host allocate what it likes, nor take a cut frame for a whole one.
func TestHostile(t *testing.T) {
	if _, err := Read(bytes.NewReader([]byte{'o', 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff})); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("4 GiB of data: %v, want a refusal", err)
	}
	if _, err := Read(bytes.NewReader([]byte{'o', 0, 0, 0, 0, 4, 0, 0, 0, 'a'})); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("cut data: %v, want an error that is not the clean end", err)
	}
	if err := Write(io.Discard, Frame{Data: make([]byte, MaxData+1)}); err == nil {
		t.Error("a frame that is too long was written")
	}
}
