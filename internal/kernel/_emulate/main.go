// Emulate is the first and only program of a machine that runs one test binary: it
// mounts what tests need, runs /test with the arguments of the kernel's command line
// after "--", prints its exit code and stops the machine.
package main

import (
	"fmt"
	"os"
	"os/exec"
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
	test := exec.Command("/test", os.Args[1:]...)
	test.Stdout, test.Stderr = os.Stdout, os.Stdout
	if err := test.Run(); err != nil {
		fmt.Println(err)
	}
	fmt.Printf("exit code %d\n", test.ProcessState.ExitCode())
	time.Sleep(time.Second) // for the serial line
	syscall.Reboot(syscall.LINUX_REBOOT_CMD_POWER_OFF)
}
