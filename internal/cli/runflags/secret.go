package runflags

import (
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
)

// maxSecret bounds a secret, in bytes, as the engine does.
const maxSecret = 512_000

// A Secret is a file that the container finds below /run/secrets, or a variable, and that no record has.
type Secret struct {
	Name     string
	Env      bool
	UID, GID int
	Mode     uint32
	Target   string
	Data     []byte
}

// readSecrets reads --secret: [id=]NAME,src=FILE or [id=]NAME,env=VARIABLE, and then type=mount|env, target=, uid=, gid=, mode=.
func (f *Flags) readSecrets(q *Request) error {
	for _, text := range f.secrets {
		s, err := secret(text)
		if err != nil {
			return errdef.WithHint(err, "--secret NAME,src=FILE or NAME,env=VARIABLE; then type=mount|env, target=, uid=, gid=, mode=")
		}
		q.Secrets = append(q.Secrets, s)
	}
	return nil
}

func secret(text string) (Secret, error) {
	var s Secret
	var file, variable string
	shown, _, _ := strings.Cut(text, ",") // the rest may tell too much
	wrong := func(why string) (Secret, error) { return s, bad("secret", shown, why) }
	for i, field := range strings.Split(text, ",") {
		key, value, given := strings.Cut(field, "=")
		if i == 0 && !given {
			key, value = "id", field
		}
		n, err := 0, error(nil)
		switch key {
		case "id", "name":
			s.Name = value
		case "src", "source":
			file = value
		case "env":
			variable = value
		case "type":
			if value != "mount" && value != "env" {
				return wrong("type wants mount or env")
			}
			s.Env = value == "env"
		case "target", "dst":
			s.Target = value
		case "uid", "gid":
			n, err = strconv.Atoi(value)
			if key == "uid" {
				s.UID = n
			} else {
				s.GID = n
			}
		case "mode":
			var mode uint64
			mode, err = strconv.ParseUint(value, 8, 12)
			s.Mode = uint32(mode)
		default:
			return wrong("unexpected key '" + key + "'")
		}
		if err != nil || n < 0 {
			return wrong(key + " wants a number")
		}
	}
	switch {
	case s.Name == "":
		return wrong("it has no name")
	case (file == "") == (variable == ""):
		return wrong("it comes from a file or from a variable: src= or env=")
	}
	return s, s.load(file, variable)
}

// load reads the secret itself.
func (s *Secret) load(file, variable string) error {
	if variable != "" {
		value, set := os.LookupEnv(variable)
		if !set {
			return errdef.Errorf(errdef.NotFound, "--secret %q: there is no variable %s", s.Name, variable)
		}
		s.Data = []byte(value)
		return nil
	}
	var err error
	if s.Data, err = readSecret(file); err != nil {
		return errdef.Errorf(errdef.NotFound, "--secret %q: %w", s.Name, err)
	}
	return nil
}

func readSecret(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err == nil && len(data) > maxSecret {
		err = errdef.Errorf(errdef.Invalid, "%s is larger than %d bytes", path, maxSecret)
	}
	return data, err
}
