package finetune

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
)

// WriteFile writes a file, all of it or nothing, with the contents that write gives.
// The new file is written beside the old one, put on the disk, and renamed. If the
// process or the machine stops, path is the old file or the new one. A write that was
// cut off leaves path.tmp, which the next write replaces. Only one process at a time
// may write to a path.
func WriteFile(path string, write func(w io.Writer) error) error {
	return writeFile(path, write, syncDir)
}

// writeFile is WriteFile with a function that puts the names in a directory on the
// disk.
func writeFile(path string, write func(w io.Writer) error, syncDir func(dir string) error) (err error) {
	temp := path + ".tmp"
	f, err := os.Create(temp)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(temp)
		}
	}()
	w := bufio.NewWriter(f)
	if err := write(w); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Rename(temp, path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// syncDir puts the names in a directory on the disk.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil // Windows cannot sync a directory, and writes a rename through
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("finetune: %w", err)
	}
	return nil
}
