package main

import "syscall"

// childAttributes puts a child in a process group of its own, so that Ctrl-C reaches only the
// conductor, which stops the children in order; and lets the kernel kill it if the conductor dies
// without having been able to.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
