// Command testbed is a real Kubernetes control plane in one binary.
//
// Called as etcd, kube-apiserver, kube-controller-manager, kube-scheduler or kubectl (by the name of
// the file, or by its first argument) it is that program. Otherwise it is the conductor: `testbed up`
// starts a control plane on loopback, `testbed facts` prints what a sandbox needs to know about types.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
)

const usage = `usage:
  testbed up [--dir DIR] [--kubeconfig PATH] [--controller-manager=true] [--scheduler=false]
             [--audit-log PATH] [--outlive-parent]
        start a control plane on loopback, print KUBECONFIG=… and "ready", stay in the foreground
  testbed facts [--kubeconfig PATH] [--check FILE]
        print the table of facts about types (gzip) read from a real API server, or compare FILE with it
  testbed etcd|kube-apiserver|kube-controller-manager|kube-scheduler|kubectl …
        be that program; so does a link of that name to this binary
`

func init() {
	// A child asks the kernel to be killed when the thread that started it ends (see process_linux.go).
	// The main thread lives as long as the process, so children are started from it alone.
	runtime.LockOSThread()
}

func main() {
	if name := filepath.Base(os.Args[0]); name != "testbed" {
		if code, ok := runComponent(name); ok {
			os.Exit(code)
		}
	}
	if len(os.Args) < 2 {
		fmt.Fprint(os.Stderr, usage)
		os.Exit(2)
	}
	var err error
	switch verb, rest := os.Args[1], os.Args[2:]; verb {
	case "up":
		err = up(rest)
	case "facts":
		err = printFacts(rest)
	case "help", "--help", "-h":
		fmt.Print(usage)
	default:
		os.Args = os.Args[1:]
		if code, ok := runComponent(verb); ok {
			os.Exit(code)
		}
		fmt.Fprintf(os.Stderr, "testbed: unknown command %q\n%s", verb, usage)
		os.Exit(2)
	}
	switch {
	case errors.Is(err, flag.ErrHelp):
		os.Exit(0)
	case err != nil:
		fmt.Fprintf(os.Stderr, "testbed: %v\n", err)
		os.Exit(1)
	}
}
