package main

import (
	"bytes"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// disk is a small disk of its own.
func disk(t *testing.T, size string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "disk")
	if err := os.Mkdir(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Skipf("this user cannot make a disk: %v", err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
	return dir
}

// fill fills a disk but for some bytes, and returns what frees it again.
func fill(t *testing.T, dir string, but int) (free func()) {
	t.Helper()
	file := filepath.Join(dir, "filler")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for chunk := make([]byte, 4096); ; {
		if _, err := f.Write(chunk); err != nil {
			break
		}
	}
	if i, err := f.Stat(); err != nil || f.Truncate(max(0, i.Size()-int64(but))) != nil {
		t.Fatal(err)
	}
	return func() { os.Remove(file) }
}

// The disk of the server's files is full, and is freed again; the server is restarted, since
// it ends JetStream when it cannot write.
func TestServerDiskFull(t *testing.T) {
	b := newBench(t, often(14, 40))
	dir := disk(t, "32m")
	store := func() *process {
		s := start(t, "", "", "server", "server", "-out", dir, "-listen", b.address, "-token", b.token())
		s.says("server: nats")
		return s
	}
	s := store()
	l := b.learner(append(b.clients(), "-storage", "file", "-backlog", "2000000")...)
	b.worker("", "", "-pace", "50ms")
	b.worker("", "", "-pace", "50ms")
	for i := range often(1, 3) {
		if !l.reaches(iterationsDone, float64(3*i+2)) {
			t.Fatal("the run was too short")
		}
		free := fill(t, dir, 64<<10)
		before := len(l.text())
		for deadline := time.Now().Add(time.Minute); !bytes.Contains([]byte(l.text()[before:]), []byte("the server does not do what it should")); {
			if time.Now().After(deadline) {
				t.Fatal("the learner does not say that there is trouble")
			}
			time.Sleep(50 * time.Millisecond)
		}
		free()
		s.kill()
		s = store()
	}
	b.equal(l)
}

// The disk of the checkpoint is full: the learner ends and says so, and goes on from the
// checkpoint before when there is room again.
func TestCheckpointDiskFull(t *testing.T) {
	b := newBench(t, 8)
	b.in(disk(t, "16m"))
	l := b.learner()
	b.worker("", "", "-pace", "30ms")
	if !l.reaches(iterationsDone, 2) {
		t.Fatal("the run was too short")
	}
	free := fill(t, b.dir, 0)
	if status := l.ends(); status != 1 {
		t.Errorf("the learner ends with status %d", status)
	}
	l.says(`iteration \d+ is done and cannot be saved; \S+ is of the one before, and -resume goes on from there: .*no space left`)
	free()
	l = b.learner("-resume")
	b.equal(l)
	l.says("going on after iteration")
}
