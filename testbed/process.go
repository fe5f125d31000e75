package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// stopGrace is how long a component may take to stop before it is killed. Nothing here is worth
// keeping: the grace is for the logs to be complete.
const stopGrace = 3 * time.Second

// child is a running component. exited is closed when it has ended.
type child struct {
	name   string
	log    string
	cmd    *exec.Cmd
	exited chan struct{}
	err    error // valid once exited is closed
}

// startChild starts a component with its output in DIR/NAME.log. Call it from the main goroutine only.
func startChild(dir, name string, args []string) (*child, error) {
	program, leading, err := componentCommand(name)
	if err != nil {
		return nil, err
	}
	c := &child{name: name, log: filepath.Join(dir, name+".log"), exited: make(chan struct{})}
	log, err := os.Create(c.log)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	fmt.Fprintf(log, "%s %s\n", program, strings.Join(append(leading, args...), " "))
	c.cmd = exec.Command(program, append(leading, args...)...)
	c.cmd.Dir = dir
	c.cmd.Stdout, c.cmd.Stderr = log, log
	c.cmd.SysProcAttr = childAttributes()
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("cannot start %s: %w", name, err)
	}
	go func() {
		c.err = c.cmd.Wait()
		close(c.exited)
	}()
	return c, nil
}

func (c *child) running() bool {
	select {
	case <-c.exited:
		return false
	default:
		return true
	}
}

// stop ends the component and waits for that.
func (c *child) stop() {
	if !c.running() {
		return
	}
	_ = c.cmd.Process.Signal(syscall.SIGTERM) // it may have ended meanwhile
	select {
	case <-c.exited:
	case <-time.After(stopGrace):
		_ = c.cmd.Process.Kill()
		<-c.exited
	}
}

// died describes why a component that should be running is not: its exit and its last words.
func (c *child) died() error {
	reason := "exit status 0"
	if c.err != nil {
		reason = c.err.Error()
	}
	return &deadChild{c.name, fmt.Sprintf("%s ended (%s); its log is %s and ends with:\n%s", c.name, reason, c.log, lastLines(c.log, 15))}
}

// deadChild is the error of a component that ended by itself.
type deadChild struct{ name, text string }

func (d *deadChild) Error() string { return d.text }

func lastLines(path string, count int) string {
	file, err := os.Open(path)
	if err != nil {
		return err.Error()
	}
	defer file.Close()
	var lines []string
	scanner := bufio.NewScanner(file)
	scanner.Buffer(nil, 1<<20)
	for scanner.Scan() {
		lines = append(lines, "  "+scanner.Text())
		if len(lines) > count {
			lines = lines[1:]
		}
	}
	return strings.Join(lines, "\n")
}
