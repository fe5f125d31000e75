package main

import (
	"os"
	"path/filepath"
	_ "time/tzdata" // time zones of CronJobs, as upstream's commands link them in

	"go.etcd.io/etcd/server/v3/etcdmain"
	_ "k8s.io/client-go/plugin/pkg/client/auth" // kubectl's auth plugins
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	kubectl "k8s.io/kubectl/pkg/cmd"
	kubectlutil "k8s.io/kubectl/pkg/cmd/util"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
)

// componentNames lists what this binary can be, in the order of a control plane's start.
var componentNames = []string{"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl"}

// runComponent does what the main function of the named upstream command does and returns its exit
// code; ok is false if this binary is no such command. os.Args must be the command's own.
func runComponent(name string) (code int, ok bool) {
	switch name {
	case "etcd":
		etcdmain.Main(os.Args)
		return 0, true
	case "kube-apiserver":
		return cli.Run(apiserver.NewAPIServerCommand()), true
	case "kube-controller-manager":
		return cli.Run(controllermanager.NewControllerManagerCommand()), true
	case "kube-scheduler":
		return cli.Run(scheduler.NewSchedulerCommand()), true
	case "kubectl":
		if err := cli.RunNoErrOutput(kubectl.NewDefaultKubectlCommand()); err != nil {
			kubectlutil.CheckErr(err) // exits
		}
		return 0, true
	}
	return 0, false
}

// componentCommand returns the program and leading arguments that start the named component: the
// user's own binary where KUBEBUILDER_ASSETS has one, else this binary under that name.
func componentCommand(name string) (program string, leading []string, err error) {
	if assets := os.Getenv("KUBEBUILDER_ASSETS"); assets != "" {
		candidate := filepath.Join(assets, name)
		if info, err := os.Stat(candidate); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return candidate, nil, nil
		}
	}
	self, err := os.Executable()
	return self, []string{name}, err
}
