package runflags

import (
	"bufio"
	"bytes"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
)

// maxFile bounds a file that a flag names, in bytes.
const maxFile = 4 << 20

// lines reads a file of lines; # begins a comment.
func lines(flag, path string) ([]string, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, errdef.Errorf(errdef.NotFound, "--%s: %w", flag, err)
	}
	defer file.Close()
	if st, err := file.Stat(); err != nil || st.Size() > maxFile {
		return nil, bad(flag, path, "larger than 4 MiB")
	}
	var out []string
	s := bufio.NewScanner(file)
	s.Buffer(nil, maxFile)
	for first := true; s.Scan(); first = false {
		b := s.Bytes()
		if first {
			b = bytes.TrimPrefix(b, []byte("\xef\xbb\xbf")) // of editors that mark UTF-8
		}
		if !utf8.Valid(b) {
			return nil, bad(flag, path, "invalid utf8 bytes")
		}
		if l := strings.TrimLeft(string(b), " \t"); l != "" && !strings.HasPrefix(l, "#") {
			out = append(out, l)
		}
	}
	if s.Err() != nil {
		return nil, errdef.Errorf(errdef.Invalid, "--%s %s: %w", flag, path, s.Err())
	}
	return out, nil
}

// Variables are those of files and then those of flags. A name alone stands for the caller's own variable; without one, a flag takes the image's variable away.
func Variables(files, flags []string) ([]string, error) {
	var out []string
	for _, path := range files {
		more, err := lines("env-file", path)
		if err != nil {
			return nil, err
		}
		for _, v := range more {
			name, _, assigned := strings.Cut(v, "=")
			if name == "" || strings.ContainsAny(name, " \t") {
				return nil, bad("env-file", path, "variable '"+name+"' contains whitespaces, or has no name")
			}
			if value, set := os.LookupEnv(name); !assigned && set {
				out = append(out, name+"="+value)
			} else if assigned {
				out = append(out, v)
			}
		}
	}
	for _, v := range flags {
		name, _, assigned := strings.Cut(v, "=")
		if name == "" {
			return nil, bad("env", v, "wants NAME=VALUE")
		}
		if value, set := os.LookupEnv(name); !assigned && set {
			v = name + "=" + value
		}
		out = append(out, v)
	}
	return out, nil
}

func (f *Flags) labelled() (map[string]string, error) {
	var all []string
	for _, path := range f.labelFile {
		more, err := lines("label-file", path)
		if err != nil {
			return nil, err
		}
		all = append(all, more...)
	}
	return pairs("label", append(all, f.labels...), true)
}

// pairs reads KEY=VALUE; a key alone has no value if that may be.
func pairs(flag string, list []string, alone bool) (map[string]string, error) {
	if len(list) == 0 {
		return nil, nil
	}
	out := map[string]string{}
	for _, text := range list {
		key, value, ok := strings.Cut(text, "=")
		if key == "" || !ok && !alone {
			return nil, bad(flag, text, "wants KEY=VALUE")
		}
		out[key] = value
	}
	return out, nil
}
