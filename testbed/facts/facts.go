// Package facts prints what a server has to know about Kubernetes' types to serve them without code for each
// kind: from a real API server's discovery and OpenAPI documents, and from the Go types' struct tags.
package facts

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"reflect"
	"slices"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// Document is what `testbed facts` prints. The format is described in ../README.md.
type Document struct {
	KubernetesVersion string                  `json:"kubernetesVersion"`
	Resources         []resourceFacts         `json:"resources"`
	Schemas           map[string]*schemaFacts `json:"schemas"`
}

type resourceFacts struct {
	Group              string             `json:"group"`
	Version            string             `json:"version"`
	Preferred          bool               `json:"preferred"`
	Name               string             `json:"name"`
	Singular           string             `json:"singular"`
	Kind               string             `json:"kind"`
	Namespaced         bool               `json:"namespaced"`
	Verbs              []string           `json:"verbs"`
	ShortNames         []string           `json:"shortNames,omitempty"`
	Categories         []string           `json:"categories,omitempty"`
	StorageVersionHash string             `json:"storageVersionHash,omitempty"`
	Schema             string             `json:"schema"`
	ListSchema         string             `json:"listSchema,omitempty"`
	Subresources       []subresourceFacts `json:"subresources"`
}

type subresourceFacts struct {
	Name    string   `json:"name"`
	Group   string   `json:"group"`
	Version string   `json:"version"`
	Kind    string   `json:"kind"`
	Verbs   []string `json:"verbs"`
	Schema  string   `json:"schema,omitempty"`
}

type groupVersionKind struct {
	Group   string `json:"group"`
	Version string `json:"version"`
	Kind    string `json:"kind"`
}

type schemaFacts struct {
	OpenAPI map[string]any     `json:"openapi,omitempty"`
	GVK     []groupVersionKind `json:"gvk,omitempty"`
	Proto   *protoFacts        `json:"proto,omitempty"`
}

// Gather reads the facts from the API server that a kubeconfig names. It must be of the version of the Go
// types that this program is built with.
func Gather(kubeconfig string) (*Document, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, err
	}
	config.QPS = -1 // some sixty requests at once, to a server that we started
	clients, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	version, err := clients.Discovery().ServerVersion()
	if err != nil {
		return nil, err
	}
	server := clients.Discovery().RESTClient()
	schemas, err := readSchemas(server)
	if err != nil {
		return nil, err
	}
	resources, err := readResources(server, schemas)
	if err != nil {
		return nil, err
	}
	if err := addProto(schemas); err != nil {
		return nil, err
	}
	return &Document{KubernetesVersion: version.GitVersion, Resources: resources, Schemas: schemas}, nil
}

// getJSON reads a document without losing the form of its numbers.
func getJSON(server rest.Interface, path string, into any) error {
	text, err := server.Get().AbsPath(path).SetHeader("Accept", "application/json").DoRaw(context.Background())
	if err != nil {
		return fmt.Errorf("GET %s: %w", path, err)
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	if err := decoder.Decode(into); err != nil {
		return fmt.Errorf("GET %s: %w", path, err)
	}
	return nil
}

// Write prints the document, compressed. The same facts are the same bytes: keys are sorted, and the header
// carries no time and no name.
func (d *Document) Write(to io.Writer) error {
	text, err := json.Marshal(d)
	if err != nil {
		return err
	}
	writer, err := gzip.NewWriterLevel(to, gzip.BestCompression)
	if err != nil {
		return err
	}
	if _, err := writer.Write(text); err != nil {
		return err
	}
	return writer.Close()
}

// Compare says what differs, by schema and resource, between a file and fresh facts.
func (d *Document) Compare(path string) error {
	fresh, err := json.Marshal(d)
	if err != nil {
		return err
	}
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	reader, err := gzip.NewReader(file)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	stored, err := io.ReadAll(reader)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	type parts struct {
		KubernetesVersion string         `json:"kubernetesVersion"`
		Resources         []any          `json:"resources"`
		Schemas           map[string]any `json:"schemas"`
	}
	var old, now parts
	if err := errors.Join(json.Unmarshal(stored, &old), json.Unmarshal(fresh, &now)); err != nil {
		return err
	}
	if reflect.DeepEqual(old, now) {
		return nil
	}
	report := fmt.Sprintf("%s is not what the API server says:\n", path)
	if old.KubernetesVersion != now.KubernetesVersion {
		report += fmt.Sprintf("  kubernetesVersion: %s there, %s here\n", old.KubernetesVersion, now.KubernetesVersion)
	}
	if !reflect.DeepEqual(old.Resources, now.Resources) {
		report += fmt.Sprintf("  resources: %d there, %d here, or other details\n", len(old.Resources), len(now.Resources))
	}
	names := maps.Clone(old.Schemas)
	maps.Copy(names, now.Schemas)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if !reflect.DeepEqual(old.Schemas[name], now.Schemas[name]) {
			report += fmt.Sprintf("  schema %s\n", name)
		}
	}
	return errors.New(report)
}
