//go:build !linux

package main

import "syscall"

// childAttributes puts a child in a process group of its own, so that Ctrl-C reaches only the
// conductor, which stops the children in order.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
