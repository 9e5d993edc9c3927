package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
)

// errDetached is how a conversation ends when the keys for that were typed.
var errDetached = errors.New("detached")

const detachText = "keys that leave it running and end this command (default ctrl-p,ctrl-q)"

// A keyReader ends with errDetached when the keys come one after the other.
type keyReader struct {
	r       io.Reader
	keys    []byte
	matched int
	pending []byte // read, and not returned
	err     error
}

// Read is io.Reader's. Keys that begin the sequence are held back until it is clear that they do not.
func (k *keyReader) Read(b []byte) (int, error) {
	for len(k.pending) == 0 {
		if k.err != nil {
			return 0, k.err
		}
		buf := make([]byte, 4096)
		n, err := k.r.Read(buf)
		k.err = err
		for _, c := range buf[:n] {
			if k.match(c) {
				k.matched, k.err = 0, errDetached
				break
			}
		}
		if k.err != nil { // what was held back was no beginning
			k.pending = append(k.pending, k.keys[:k.matched]...)
			k.matched = 0
		}
	}
	n := copy(b, k.pending)
	k.pending = k.pending[n:]
	return n, nil
}

// match takes one byte and reports whether the sequence is complete.
func (k *keyReader) match(c byte) bool {
	held := append(bytes.Clone(k.keys[:k.matched]), c)
	for len(held) > 0 && !bytes.HasPrefix(k.keys, held) {
		k.pending = append(k.pending, held[0])
		held = held[1:]
	}
	k.matched = len(held)
	return k.matched > 0 && k.matched == len(k.keys)
}

// parseKeys reads --detach-keys: a letter, or ctrl- and one of a-z@^[\_], more of them after commas.
func parseKeys(text string) ([]byte, error) {
	if text == "" {
		return []byte{16, 17}, nil // ctrl-p, ctrl-q
	}
	var out []byte
	for _, key := range strings.Split(text, ",") {
		letter, ctrl := strings.CutPrefix(strings.ToLower(key), "ctrl-")
		switch {
		case !ctrl && len(key) == 1:
			out = append(out, key[0])
		case ctrl && len(letter) == 1 && letter[0] >= 'a' && letter[0] <= 'z':
			out = append(out, letter[0]-'a'+1)
		case ctrl && len(letter) == 1 && strings.Contains(`@[\]^_`, letter):
			out = append(out, letter[0]&0x1f)
		default:
			err := errdef.Errorf(errdef.Invalid, "--detach-keys %.64q: %.16q is no key", text, key)
			return nil, errdef.WithHint(err, `letters, or ctrl- and one of a-z@^[\_], with commas between: ctrl-p,ctrl-q`)
		}
	}
	return out, nil
}

// detachKeys are those of the flag, else those of Docker's configuration: as written, and as bytes.
func (p *program) detachKeys(flag string) (string, []byte, error) {
	if flag != "" {
		keys, err := parseKeys(flag)
		return flag, keys, err
	}
	var c struct{ DetachKeys string }
	if f, err := os.Open(filepath.Join(p.global.dockerConfig(), "config.json")); err == nil {
		defer f.Close()
		_ = json.NewDecoder(io.LimitReader(f, 1<<20)).Decode(&c) // login tells what is wrong with it
	}
	keys, err := parseKeys(c.DetachKeys)
	if err != nil {
		p.warn("config.json: " + err.Error())
		c.DetachKeys = ""
		keys, err = parseKeys("")
	}
	return c.DetachKeys, keys, err
}
