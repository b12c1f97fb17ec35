package finetune

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
)

// WriteFile makes write's output the contents of a file, all of it or nothing: the file
// is written beside the old one, put on the disk, and renamed. Whenever the process or
// the machine stops, path is the old file or the new one; of a write that was cut off
// path.tmp is left, which the next one replaces. It is for one process at a time.
func WriteFile(path string, write func(w io.Writer) error) error {
	return writeFile(path, write, syncDir)
}

// writeFile is WriteFile with what puts the names in a directory on the disk.
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
		return nil // where a directory cannot be synced, and a rename is written through
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
