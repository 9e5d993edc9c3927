// Command layerimage writes the layers that unpacking is measured with, the same bytes each time.
//
//	go run ./bench/layerimage -files 50000 -bytes 1073741824 > big.tar       # one layer
//	go run ./bench/layerimage -layers 100 -dir DIR                           # 100 small ones, DIR/0.tar to DIR/99.tar
//
// Files have sizes as those of a Debian system: most are small, a few make most of the bytes. Half of what is in them compresses well.
package main

import (
	"archive/tar"
	"bufio"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"
)

func main() {
	files := flag.Int("files", 50000, "files of a layer")
	bytes := flag.Int64("bytes", 1<<30, "their bytes")
	layers := flag.Int("layers", 1, "how many layers")
	dir := flag.String("dir", "", "where to put them; empty: the one to standard output")
	flag.Parse()
	if err := run(*files, *bytes, *layers, *dir); err != nil {
		fmt.Fprintln(os.Stderr, "layerimage:", err)
		os.Exit(1)
	}
}

func run(files int, bytes int64, layers int, dir string) error {
	if dir == "" {
		return write(os.Stdout, files, bytes, 1)
	}
	for i := range layers {
		f, err := os.Create(filepath.Join(dir, fmt.Sprintf("%d.tar", i)))
		if err != nil {
			return err
		}
		if err := write(f, files, bytes, uint64(i)+1); err != nil {
			return err
		}
		if err := f.Close(); err != nil {
			return err
		}
	}
	return nil
}

// write writes a layer: directories of 50 files, nine of ten files with a twentieth of the bytes, the tenth with the rest.
func write(out io.Writer, files int, bytes int64, seed uint64) error {
	const perDir = 50
	r := rand.New(rand.NewPCG(seed, 0))
	b := bufio.NewWriterSize(out, 1<<20)
	w := tar.NewWriter(b)
	when := time.Unix(1700000000, 0)
	noise := make([]byte, 4<<20)
	for i := range noise {
		noise[i] = byte(r.Uint32())
		if i%64 >= 32 {
			noise[i] = "the quick brown fox jumps over t"[i%32]
		}
	}
	small, large := bytes/20/int64(max(files*9/10, 1)), bytes*19/20/int64(max(files/10, 1))
	for i := range files {
		if i%perDir == 0 {
			names := []string{fmt.Sprintf("usr/share/p%d/d%d/", i/perDir/20, i/perDir)}
			if i/perDir%20 == 0 { // once: Podman takes no path twice
				names = []string{fmt.Sprintf("usr/share/p%d/", i/perDir/20), names[0]}
			}
			for _, name := range names {
				if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: 0o755, ModTime: when}); err != nil {
					return err
				}
			}
		}
		size := small
		if i%10 == 0 {
			size = large
		}
		size = min(size/2+r.Int64N(size+1), int64(len(noise)))
		name := fmt.Sprintf("usr/share/p%d/d%d/file-%d", i/perDir/20, i/perDir, i)
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: size, ModTime: when}); err != nil {
			return err
		}
		at := r.Int64N(int64(len(noise)) - size + 1)
		if _, err := w.Write(noise[at : at+size]); err != nil {
			return err
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	return b.Flush()
}
