package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// up starts a control plane and stays until it is told to stop or a component ends by itself.
func up(args []string) error {
	flags := flag.NewFlagSet("testbed up", flag.ContinueOnError)
	var opts options
	flags.StringVar(&opts.dir, "dir", "", "folder for data, certificates and logs (default: a temporary one, removed at the end)")
	flags.StringVar(&opts.kubeconfig, "kubeconfig", "", "where to write the administrator's kubeconfig (default: in the folder)")
	flags.BoolVar(&opts.controllerManager, "controller-manager", true, "start kube-controller-manager")
	flags.BoolVar(&opts.scheduler, "scheduler", false, "start the stock kube-scheduler")
	flags.StringVar(&opts.auditLog, "audit-log", "", "write the API server's audit log to this file")
	outlive := flags.Bool("outlive-parent", false, "go on when the starting process has ended or has closed our standard input")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	stop, reason := stopSignal(*outlive)

	dir, remove, err := workFolder(opts.dir)
	if err != nil {
		return err
	}
	opts.dir = dir
	if opts.kubeconfig == "" {
		opts.kubeconfig = filepath.Join(dir, "kubeconfig")
	}
	for _, path := range []*string{&opts.kubeconfig, &opts.auditLog} {
		if *path != "" {
			if *path, err = filepath.Abs(*path); err != nil {
				return err
			}
		}
	}
	cp, err := start(opts, stop)
	if errors.Is(err, errInterrupted) {
		remove()
		return nil
	}
	if err != nil {
		return err // the folder stays: its logs say more
	}
	fmt.Printf("KUBECONFIG=%s\nready\n", opts.kubeconfig)
	err = cp.wait(stop)
	cp.stop()
	if err == nil {
		fmt.Fprintf(os.Stderr, "testbed: stopped (%s)\n", reason())
		remove()
	}
	return err
}

// wait returns nil when stop is closed, or says which component has ended by itself.
func (cp *controlPlane) wait(stop <-chan struct{}) error {
	ended := make(chan *child, len(cp.children))
	for _, c := range cp.children {
		go func() {
			<-c.exited
			ended <- c
		}()
	}
	select {
	case <-stop:
		return nil
	case c := <-ended:
		return c.died()
	}
}

// stopSignal returns a channel that is closed on SIGINT, SIGTERM or SIGHUP and, unless the testbed is
// to outlive its parent, when the parent has ended or has closed the pipe that is our standard input:
// so that a test that is killed leaves no control plane behind. reason says which it was.
func stopSignal(outlive bool) (stop <-chan struct{}, reason func() string) {
	done := make(chan struct{})
	var once sync.Once
	var why string
	end := func(text string) {
		once.Do(func() {
			why = text
			close(done)
		})
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	go func() { end((<-signals).String()) }()
	if !outlive {
		// The kernel's parent-death signal is tied to a thread of the parent, and a test's thread ends
		// long before its process does; so the parent is looked at instead.
		parent := os.Getppid()
		go func() {
			for os.Getppid() == parent {
				time.Sleep(500 * time.Millisecond)
			}
			end("the parent process has ended")
		}()
		if info, err := os.Stdin.Stat(); err == nil && info.Mode()&(os.ModeNamedPipe|os.ModeSocket) != 0 {
			go func() {
				_, _ = io.Copy(io.Discard, os.Stdin)
				end("standard input was closed")
			}()
		}
	}
	return done, func() string { <-done; return why }
}
