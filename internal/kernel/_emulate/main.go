// Emulate is the only program of a machine that runs test binaries. It mounts what
// tests need and runs each /tests/*/test in its folder. The arguments are those after
// "--" on the kernel's command line. It prints the exit code of the tests, and stops
// the machine.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

func main() {
	for dir, kind := range map[string]string{"/proc": "proc", "/dev": "devtmpfs", "/tmp": "tmpfs"} {
		if err := syscall.Mount(kind, dir, kind, 0, ""); err != nil {
			fmt.Println("mount", dir, err)
		}
	}
	os.Setenv("HOME", "/tmp")
	tests, _ := filepath.Glob("/tests/*/test")
	code := 0
	for _, file := range tests {
		fmt.Println("==", file)
		test := exec.Command(file, os.Args[1:]...)
		test.Dir = filepath.Dir(file)
		test.Stdout, test.Stderr = os.Stdout, os.Stdout
		if err := test.Run(); err != nil {
			fmt.Println(err)
			code = 1
		}
	}
	if len(tests) == 0 {
		code = 2
	}
	fmt.Printf("exit code %d\n", code)
	time.Sleep(time.Second) // so that the serial line can send everything
	syscall.Sync()
	syscall.Reboot(syscall.LINUX_REBOOT_CMD_POWER_OFF)
}
