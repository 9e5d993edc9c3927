package resolve

import (
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Target follows links in a path inside the root, by text, as far as there are any: what the path would name if all of it existed. What does not exist is
// kept as it is; so is a path with more links than path_resolution(7) allows. It is a statement about this moment: open what you found with InRoot.
func Target(root int, path string) string {
	done, todo := "/", strings.Split(strings.Trim(path, "/"), "/")
	for links := 0; len(todo) > 0; {
		name := todo[0]
		todo = todo[1:]
		next := filepath.Join(done, name)
		to := readLink(root, next)
		if to == "" {
			done = next
			continue
		}
		if links++; links > 40 { // as the kernel: path_resolution(7)
			return path
		}
		if filepath.IsAbs(to) {
			done = "/"
		}
		todo = append(strings.Split(strings.Trim(to, "/"), "/"), todo...)
	}
	return done
}

// readLink returns where a link of the image leads, "" if path is none.
func readLink(root int, path string) string {
	parent, err := InRoot(root, filepath.Dir(path), unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return ""
	}
	defer unix.Close(parent)
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(parent, filepath.Base(path), buf)
	if err != nil {
		return ""
	}
	return string(buf[:n])
}
