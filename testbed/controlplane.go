package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

// startTimeout bounds the start of each component; a cold machine under load needs some ten seconds.
const startTimeout = 2 * time.Minute

// pollInterval is how often a starting component is asked whether it is ready.
const pollInterval = 50 * time.Millisecond

// options say which parts of a control plane to start.
type options struct {
	dir               string // working folder; everything is written here
	kubeconfig        string // where the administrator's kubeconfig goes
	controllerManager bool
	scheduler         bool
	auditLog          string // empty: no audit log
}

// controlPlane owns the running components and their files.
type controlPlane struct {
	options   options
	ca        *authority
	server    string // https://127.0.0.1:port
	admin     pair
	children  []*child
	interrupt <-chan struct{} // closed when a start should be given up
}

var errInterrupted = errors.New("interrupted")

// start brings the components up one after the other, each ready before the next. On error nothing
// is left running.
func start(opts options, interrupt <-chan struct{}) (_ *controlPlane, err error) {
	cp := &controlPlane{options: opts, interrupt: interrupt}
	defer func() {
		if err != nil {
			cp.stop()
		}
	}()
	if cp.ca, err = newAuthority(); err != nil {
		return nil, err
	}
	if cp.admin, err = cp.ca.client("testbed-admin", "system:masters"); err != nil {
		return nil, err
	}
	if err = cp.startEtcd(); err != nil {
		return nil, err
	}
	if err = cp.startAPIServer(); err != nil {
		return nil, err
	}
	if err = writeKubeconfig(opts.kubeconfig, cp.server, cp.ca.pem, "testbed-admin", cp.admin); err != nil {
		return nil, err
	}
	if opts.controllerManager {
		if err = cp.startControllerManager(); err != nil {
			return nil, err
		}
	}
	if opts.scheduler {
		if err = cp.startScheduler(); err != nil {
			return nil, err
		}
	}
	return cp, nil
}

// stop ends the components in the reverse order of their start.
func (cp *controlPlane) stop() {
	for i := len(cp.children) - 1; i >= 0; i-- {
		cp.children[i].stop()
	}
}

func (cp *controlPlane) run(name string, args ...string) (*child, error) {
	c, err := startChild(cp.options.dir, name, args)
	if err == nil {
		cp.children = append(cp.children, c)
	}
	return c, err
}

// await polls until ready answers nil, the component ends, or the time is up.
func (cp *controlPlane) await(c *child, ready func() error) error {
	deadline := time.After(startTimeout)
	for {
		err := ready()
		if err == nil {
			return nil
		}
		select {
		case <-c.exited:
			return c.died()
		case <-cp.interrupt:
			return errInterrupted
		case <-deadline:
			return fmt.Errorf("%s is not ready after %s: %w; its log is %s and ends with:\n%s", c.name, startTimeout, err, c.log, lastLines(c.log, 15))
		case <-time.After(pollInterval):
		}
	}
}

// startEtcd starts etcd on a Unix socket in our folder: no port to collide, nobody else to reach it.
// etcd insists on host:port even then: the "port" is part of the file name.
func (cp *controlPlane) startEtcd() error {
	c, err := cp.run("etcd",
		"--name=testbed",
		"--data-dir=etcd",
		"--listen-client-urls=unix://client.sock:0",
		"--advertise-client-urls=unix://client.sock:0",
		"--listen-peer-urls=unix://peer.sock:0",
		"--initial-advertise-peer-urls=unix://peer.sock:0",
		"--initial-cluster=testbed=unix://peer.sock:0",
		// A testbed's data dies with it; what fsync buys is survival of a power cut, at ten times the cost.
		"--unsafe-no-fsync=true",
		"--log-level=warn",
	)
	if err != nil {
		return err
	}
	socket := filepath.Join(cp.options.dir, "client.sock:0")
	client := &http.Client{Timeout: time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var dialer net.Dialer
			return dialer.DialContext(ctx, "unix", socket)
		},
	}}
	return cp.await(c, func() error { return healthy(client, "http://etcd/health") })
}

const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
  verbs: [get, list, watch]
- level: Request
`

// startAPIServer starts kube-apiserver with what makes it real: RBAC, the default admission plugins
// (ServiceAccount among them), NodeRestriction.
func (cp *controlPlane) startAPIServer() error {
	dir := cp.options.dir
	serving, err := cp.ca.server()
	if err != nil {
		return err
	}
	signing, checking, err := serviceAccountKeys()
	if err != nil {
		return err
	}
	caKey, err := encodeKey(cp.ca.key)
	if err != nil {
		return err
	}
	for name, content := range map[string][]byte{
		"ca.crt": cp.ca.pem, "ca.key": caKey, "apiserver.crt": serving.cert, "apiserver.key": serving.key,
		"service-account.key": signing, "service-account.pub": checking,
	} {
		if _, err := writeSecret(dir, name, content); err != nil {
			return err
		}
	}
	args := []string{
		"--etcd-servers=unix://client.sock:0",
		"--bind-address=127.0.0.1",
		"--advertise-address=127.0.0.1",
		// Endpoints of the service "kubernetes" may not be loopback addresses: reconciling them would fail.
		"--endpoint-reconciler-type=none",
		"--tls-cert-file=apiserver.crt",
		"--tls-private-key-file=apiserver.key",
		"--client-ca-file=ca.crt",
		"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
		"--service-account-signing-key-file=service-account.key",
		"--service-account-key-file=service-account.pub",
		"--service-cluster-ip-range=10.96.0.0/16",
		"--authorization-mode=Node,RBAC",
		"--enable-admission-plugins=NodeRestriction",
		"--allow-privileged=true",
	}
	if cp.options.auditLog != "" {
		if _, err := writeSecret(dir, "audit-policy.yaml", []byte(auditPolicy)); err != nil {
			return err
		}
		args = append(args, "--audit-policy-file=audit-policy.yaml", "--audit-log-path="+cp.options.auditLog, "--audit-log-mode=blocking")
	}
	// A free port may be taken by someone else before the server binds it: another try takes another.
	for attempt := 1; ; attempt++ {
		err := cp.tryAPIServer(args)
		var dead *deadChild
		if attempt < 5 && errors.As(err, &dead) && strings.Contains(dead.text, "address already in use") {
			cp.children = cp.children[:len(cp.children)-1]
			continue
		}
		return err
	}
}

func (cp *controlPlane) tryAPIServer(args []string) error {
	port, err := freePort()
	if err != nil {
		return err
	}
	cp.server = fmt.Sprintf("https://127.0.0.1:%d", port)
	c, err := cp.run("kube-apiserver", append(args, fmt.Sprintf("--secure-port=%d", port))...)
	if err != nil {
		return err
	}
	client, err := cp.httpClient()
	if err != nil {
		return err
	}
	return cp.await(c, func() error { return healthy(client, cp.server+"/readyz") })
}

// httpClient speaks to the API server as the administrator.
func (cp *controlPlane) httpClient() (*http.Client, error) {
	roots := x509.NewCertPool()
	roots.AddCert(cp.ca.cert)
	identity, err := tls.X509KeyPair(cp.admin.cert, cp.admin.key)
	if err != nil {
		return nil, err
	}
	return &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig:   &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{identity}, MinVersion: tls.VersionTLS12},
	}}, nil
}

// identity writes the kubeconfig of a component and returns its path.
func (cp *controlPlane) identity(name string) (string, error) {
	user := "system:" + name
	identity, err := cp.ca.client(user)
	if err != nil {
		return "", err
	}
	path := filepath.Join(cp.options.dir, name+".kubeconfig")
	return path, writeKubeconfig(path, cp.server, cp.ca.pem, user, identity)
}

// startControllerManager starts all default controllers. They are up when the namespace "default"
// has its ServiceAccount: until then admission refuses pods.
func (cp *controlPlane) startControllerManager() error {
	kubeconfig, err := cp.identity("kube-controller-manager")
	if err != nil {
		return err
	}
	c, err := cp.run("kube-controller-manager",
		"--kubeconfig="+kubeconfig,
		"--leader-elect=false",
		"--secure-port=0",
		// One role per controller, as kubeadm runs it.
		"--use-service-account-credentials=true",
		"--service-account-private-key-file=service-account.key",
		"--root-ca-file=ca.crt",
		"--cluster-signing-cert-file=ca.crt",
		"--cluster-signing-key-file=ca.key",
		// At the default of 20 requests a second a thousand pods take a minute to be created.
		"--kube-api-qps=1000",
		"--kube-api-burst=2000",
	)
	if err != nil {
		return err
	}
	config, err := clientcmd.BuildConfigFromFlags("", cp.options.kubeconfig)
	if err != nil {
		return err
	}
	clients, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	return cp.await(c, func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_, err := clients.CoreV1().ServiceAccounts("default").Get(ctx, "default", metav1.GetOptions{})
		return err
	})
}

const schedulerConfig = `apiVersion: kubescheduler.config.k8s.io/v1
kind: KubeSchedulerConfiguration
leaderElection:
  leaderElect: false
clientConnection:
  kubeconfig: %q
  qps: 5000
  burst: 5000
`

// startScheduler starts the stock scheduler as it is by default, but without its client's limit of 50
// requests a second, which would measure the limit and not the scheduler.
func (cp *controlPlane) startScheduler() error {
	kubeconfig, err := cp.identity("kube-scheduler")
	if err != nil {
		return err
	}
	config, err := writeSecret(cp.options.dir, "kube-scheduler.yaml", fmt.Appendf(nil, schedulerConfig, kubeconfig))
	if err != nil {
		return err
	}
	port, err := freePort()
	if err != nil {
		return err
	}
	c, err := cp.run("kube-scheduler", "--config="+config, "--bind-address=127.0.0.1", fmt.Sprintf("--secure-port=%d", port))
	if err != nil {
		return err
	}
	// The scheduler's own certificate is self-signed and in its memory; only its answer is wanted.
	client := &http.Client{Timeout: time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // see above
	}}
	return cp.await(c, func() error { return healthy(client, fmt.Sprintf("https://127.0.0.1:%d/readyz", port)) })
}

// healthy asks an address and wants 200.
func healthy(client *http.Client, address string) error {
	response, err := client.Get(address)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 4096))
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s: %s", address, response.Status, strings.TrimSpace(string(body)))
	}
	return nil
}

func freePort() (int, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port, nil
}

// workFolder returns the folder to work in, and what removes it again: nothing, if the caller named it.
func workFolder(named string) (dir string, remove func(), err error) {
	if named == "" {
		dir, err = os.MkdirTemp("", "wam-testbed-")
		return dir, func() { _ = os.RemoveAll(dir) }, err
	}
	if dir, err = filepath.Abs(named); err != nil {
		return "", nil, err
	}
	return dir, func() {}, os.MkdirAll(dir, 0o700)
}
