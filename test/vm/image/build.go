package image

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

const (
	release = "trixie" // Debian's stable
	keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"
	// diskSize is that of the file system, in bytes: sparse, and with room for what tests write.
	diskSize = 3 << 30
)

// build makes the directory of an image.
func build(ctx context.Context, cache, dir string, log io.Writer) error {
	start := time.Now()
	if err := prune(cache, "tmp-"); err != nil { // of a builder that was killed
		return err
	}
	if err := requirements(); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(cache, "tmp-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	// _apt and others must pass.
	if err := os.Chmod(tmp, 0o755); err != nil {
		return err
	}
	out := filepath.Join(tmp, "out")
	for _, d := range []string{out, filepath.Join(tmp, "kernels")} {
		if err := os.Mkdir(d, 0o755); err != nil {
			return err
		}
	}
	if err := bootstrap(ctx, tmp, log); err != nil {
		return err
	}
	img, err := kernels(tmp, out)
	if err != nil {
		return err
	}
	if err := makeDisk(ctx, filepath.Join(tmp, "root"), filepath.Join(out, "root.img")); err != nil {
		return err
	}
	img.Built = start.UTC().Truncate(time.Second)
	data, err := json.MarshalIndent(img, "", "\t")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(out, "image.json"), append(data, '\n'), 0o644); err != nil {
		return err
	}
	syscall.Sync() // or a power cut could leave a whole name of half a disk
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.Rename(out, dir); err != nil {
		return err
	}
	fmt.Fprintf(log, "image: built in %.0f s: %s\n", time.Since(start).Seconds(), dir)
	return pruneOld(cache, filepath.Base(dir))
}

// requirements says what the host lacks before anything is made.
func requirements() error {
	for program, debian := range map[string]string{
		"mmdebstrap": "mmdebstrap", "mke2fs": "e2fsprogs", "xz": "xz-utils", "zstd": "zstd", "apt-get": "apt", "dpkg-deb": "dpkg",
	} {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Errorf("%s is not installed (Debian: %s; or: make needs)", program, debian)
		}
	}
	if _, err := os.Stat(keyring); err != nil {
		return fmt.Errorf("%w (Debian: debian-archive-keyring)", err)
	}
	return nil
}

// pruneOld removes the images of other recipes that nobody built in the last days: branches with different recipes take turns.
func pruneOld(cache, keep string) error {
	entries, err := os.ReadDir(cache)
	if err != nil {
		return err
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || !e.IsDir() || e.Name() == keep || len(e.Name()) != len(keep) || time.Since(info.ModTime()) < 72*time.Hour {
			continue
		}
		if err := os.RemoveAll(filepath.Join(cache, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

func prune(cache, prefix string) error {
	entries, err := os.ReadDir(cache)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), prefix) {
			if err := os.RemoveAll(filepath.Join(cache, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// bootstrap makes the root and the kernels with mmdebstrap, in namespaces of processes and mounts that end with this process.
func bootstrap(ctx context.Context, tmp string, log io.Writer) error {
	scripts := filepath.Join(tmp, "recipe")
	if err := writeRecipe(scripts); err != nil {
		return err
	}
	packages, err := packageList()
	if err != nil {
		return err
	}
	m := hostMirror(ctx)
	hook := fmt.Sprintf(`%s/customize "$1" %s/kernels %s %s`, scripts, tmp, m.archive, m.security)
	argv := []string{
		"--pid", "--fork", "--mount-proc", "--kill-child", "mmdebstrap", "--mode=root", "--variant=essential", "--format=directory",
		"--architectures=amd64", "--include=" + strings.Join(packages, ","), "--customize-hook=" + hook,
	}
	for _, option := range m.options {
		argv = append(argv, "--aptopt="+option)
	}
	source := "deb [signed-by=" + keyring + "] %s %s main"
	argv = append(argv, release, filepath.Join(tmp, "root"), fmt.Sprintf(source, m.archive, release), fmt.Sprintf(source, m.security, release+"-security"))
	fmt.Fprintf(log, "image: %d packages of Debian %s and their dependencies, from %s\n", len(packages), release, m.archive)
	runtime.LockOSThread() // PR_SET_PDEATHSIG goes by the thread (prctl(2))
	defer runtime.UnlockOSThread()
	cmd := exec.CommandContext(ctx, "unshare", argv...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive", "TMPDIR="+tmp)
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("mmdebstrap: %w\n%s", err, lastLines(string(out), 40))
	}
	for line := range strings.Lines(string(out)) {
		if strings.HasPrefix(line, "kernel ") {
			fmt.Fprint(log, "image: ", line)
		}
	}
	return nil
}

func lastLines(s string, n int) string {
	lines := strings.Split(strings.TrimRight(s, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// writeRecipe puts the recipe where mmdebstrap's hook can run it.
func writeRecipe(dir string) error {
	return fs.WalkDir(recipe, "recipe", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel("recipe", path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(dir, rel), 0o755)
		}
		data, err := recipe.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(dir, rel), data, 0o755)
	})
}

func packageList() ([]string, error) {
	data, err := recipe.ReadFile("recipe/packages")
	if err != nil {
		return nil, err
	}
	var list []string
	for line := range strings.Lines(string(data)) {
		if !strings.HasPrefix(line, "#") {
			list = append(list, strings.Fields(line)...)
		}
	}
	return list, nil
}

// kernels takes what the recipe's script has put beside the root: a list, and a bzImage for each name in it.
func kernels(tmp, out string) (*Image, error) {
	data, err := os.ReadFile(filepath.Join(tmp, "kernels", "list"))
	if err != nil {
		return nil, fmt.Errorf("no kernel: %w", err)
	}
	img := &Image{}
	for line := range strings.Lines(string(data)) {
		f := strings.Fields(line)
		if len(f) != 4 {
			return nil, fmt.Errorf("list of kernels: %q", line)
		}
		k := Kernel{Name: f[0], Version: f[1], Package: f[2], Suite: f[3]}
		if err := extract(filepath.Join(tmp, "kernels", k.Name), filepath.Join(out, "vmlinux-"+k.Name)); err != nil {
			return nil, fmt.Errorf("kernel %s: %w", k.Version, err)
		}
		img.Kernels = append(img.Kernels, k)
	}
	if len(img.Kernels) == 0 || img.Kernels[0].Name != "stable" {
		return nil, errors.New("no stable kernel in the archive")
	}
	return img, nil
}

// makeDisk makes the file system from the folder, without mounting anything.
func makeDisk(ctx context.Context, root, disk string) error {
	f, err := os.Create(disk)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Truncate(diskSize), f.Close()); err != nil {
		return err
	}
	out, err := exec.CommandContext(ctx, "mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-m", "0", "-d", root, disk).CombinedOutput()
	if err != nil {
		return fmt.Errorf("mke2fs: %w: %s", err, out)
	}
	return nil
}
