package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"wam.dev/testbed/facts"
)

// printFacts prints the document of the API server that a kubeconfig names, or of one started for it.
func printFacts(args []string) error {
	flags := flag.NewFlagSet("testbed facts", flag.ContinueOnError)
	kubeconfig := flags.String("kubeconfig", "", "read this API server, which must be of this binary's version (default: start one)")
	check := flags.String("check", "", "print nothing, but fail if this file does not say the same")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if *kubeconfig == "" {
		stop, _ := stopSignal(false)
		dir, remove, err := workFolder("")
		if err != nil {
			return err
		}
		defer remove()
		cp, err := start(options{dir: dir, kubeconfig: filepath.Join(dir, "kubeconfig")}, stop)
		if err != nil {
			return err
		}
		defer cp.stop()
		*kubeconfig = cp.options.kubeconfig
	}
	document, err := facts.Gather(*kubeconfig)
	if err != nil {
		return err
	}
	if *check != "" {
		return document.Compare(*check)
	}
	return document.Write(os.Stdout)
}
