package script

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"syscall"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/ocijson"
	"github.com/bulkhead-engine/bulkhead/internal/runtime/bundle"
)

// applets are the names under which busybox stands in a bundle.
var applets = []string{
	"sh", "ls", "cat", "echo", "sleep", "true", "false", "id", "mount", "env", "stty", "tty", "touch", "kill", "pwd", "readlink", "dd", "head", "mkdir", "ps", "trap",
	"printf", "wc", "tr", "test", "date", "nc", "usleep", "yes", "timeout",
}

// mkbundle makes a bundle: DIR [PATH=VALUE | PATH-]... A path goes into config.json with dots between keys, a value is JSON or else a
// string; PATH- takes a key out. The configuration is the default one without a terminal.
func mkbundle(args []string) error {
	if len(args) == 0 {
		return errors.New("usage: mkbundle DIR [PATH=VALUE]...")
	}
	if err := makeRootfs(filepath.Join(args[0], "rootfs")); err != nil {
		return err
	}
	var config map[string]any
	if err := json.Unmarshal(ocijson.AppendSpec(nil, bundle.Default(false)), &config); err != nil {
		return err
	}
	for _, edit := range append([]string{"process.terminal=false", `process.args=["sh"]`, `hostname=box`}, args[1:]...) {
		if err := change(config, edit); err != nil {
			return err
		}
	}
	data, err := json.MarshalIndent(config, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(args[0], bundle.ConfigName), data, 0o644)
}

// makeRootfs makes a root of hard copies: nothing in it is shared with the host.
func makeRootfs(root string) error {
	for _, dir := range []string{"bin", "dev", "etc", "proc", "sys", "tmp", "home/user"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			return err
		}
	}
	path, err := exec.LookPath("busybox")
	if err != nil {
		return err
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	first := filepath.Join(root, "bin", "busybox")
	if err := os.WriteFile(first, data, 0o755); err != nil {
		return err
	}
	for _, name := range applets {
		if err := os.Link(first, filepath.Join(root, "bin", name)); err != nil && !os.IsExist(err) {
			return err
		}
	}
	passwd := "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/home/user:/bin/sh\n"
	return os.WriteFile(filepath.Join(root, "etc", "passwd"), []byte(passwd), 0o644)
}

// change edits one key.
func change(config map[string]any, edit string) error {
	path, value, set := strings.Cut(edit, "=")
	if !set {
		path = strings.TrimSuffix(path, "-")
	}
	keys := strings.Split(path, ".")
	at := config
	for _, key := range keys[:len(keys)-1] {
		next, ok := at[key].(map[string]any)
		if !ok {
			next = map[string]any{}
			at[key] = next
		}
		at = next
	}
	last := keys[len(keys)-1]
	if !set {
		delete(at, last)
		return nil
	}
	var v any
	if err := json.Unmarshal([]byte(value), &v); err != nil {
		v = value
	}
	at[last] = v
	return nil
}

// wantStatus runs a program: N PROGRAM ARG..., and fails unless it exits with N.
func wantStatus(args []string) error {
	cmd := exec.Command(args[1], args[2:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	err := cmd.Run()
	if cmd.ProcessState == nil {
		return err
	}
	if got := fmt.Sprint(cmd.ProcessState.ExitCode()); got != args[0] {
		return fmt.Errorf("exit status %s, want %s", got, args[0])
	}
	return nil
}

// waitFor waits until a container has a status (STATUS ID), or a file is there and not empty (file PATH), or holds a line (line PATH TEXT).
func waitFor(args []string) error {
	var last string
	for range 500 {
		switch args[0] {
		case "file", "line":
			data, err := os.ReadFile(args[1])
			st, serr := os.Stat(args[1])
			if args[0] == "file" && serr == nil && (len(data) > 0 || st.Mode()&os.ModeSocket != 0) {
				return nil
			}
			if args[0] == "line" && strings.Contains(string(data), args[2]) {
				return nil
			}
			last = fmt.Sprintf("%q, %v", data, err)
		default:
			out, _ := exec.Command("rt", "state", args[1]).Output()
			last = string(out)
			if strings.Contains(last, `"status": "`+args[0]+`"`) {
				return nil
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
	return fmt.Errorf("waited in vain for %q, last: %s", args, last)
}

// jsonKeys prints the paths of all keys of the JSON document in a file (- for standard input), sorted, without those that begin with an
// argument after it.
func jsonKeys(args []string) error {
	in := io.Reader(os.Stdin)
	if args[0] != "-" {
		f, err := os.Open(args[0])
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
	}
	var doc any
	if err := json.NewDecoder(in).Decode(&doc); err != nil {
		return err
	}
	keys := map[string]bool{}
	collect("", doc, keys)
	var list []string
next:
	for key := range keys {
		for _, skip := range args[1:] {
			if strings.HasPrefix(key, skip) {
				continue next
			}
		}
		list = append(list, key)
	}
	sort.Strings(list)
	fmt.Println(strings.Join(list, "\n"))
	return nil
}

func collect(at string, v any, keys map[string]bool) {
	switch v := v.(type) {
	case map[string]any:
		for key, value := range v {
			path := strings.TrimPrefix(at+"."+key, ".")
			keys[path] = true
			collect(path, value, keys)
		}
	case []any:
		for _, value := range v {
			collect(at+"[]", value, keys)
		}
	}
}

// withFDs runs a program with open files from 3 on: N [listen] PROGRAM ARG... Each file holds a line with its number. With listen, the
// environment says that they are a service manager's sockets.
func withFDs(args []string) error {
	n := int(args[0][0] - '0')
	env := os.Environ()
	args = args[1:]
	listen := args[0] == "listen"
	if listen {
		args = args[1:]
	}
	for fd := 3; fd < 3+n; fd++ {
		f, err := os.CreateTemp("", "fd")
		if err != nil {
			return err
		}
		fmt.Fprintf(f, "file %d\n", fd)
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return err
		}
		if err := syscall.Dup3(int(f.Fd()), fd+20, 0); err != nil {
			return err
		}
		if err := os.Remove(f.Name()); err != nil {
			return err
		}
	}
	for fd := 3; fd < 3+n; fd++ {
		if err := syscall.Dup3(fd+20, fd, 0); err != nil {
			return err
		}
		_ = syscall.Close(fd + 20)
	}
	if listen {
		env = append(env, fmt.Sprintf("LISTEN_FDS=%d", n), fmt.Sprintf("LISTEN_PID=%d", os.Getpid()), "LISTEN_FDNAMES=a:b")
	}
	path, err := exec.LookPath(args[0])
	if err != nil {
		return err
	}
	return syscall.Exec(path, args, env)
}
