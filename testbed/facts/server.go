package facts

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
)

// readSchemas merges the schemas of all OpenAPI v3 documents that the server has. A schema that
// several documents carry is the same in each but for its kinds, of which a document names those of
// its own group; they are united.
func readSchemas(server rest.Interface) (map[string]*schemaFacts, error) {
	var index struct {
		Paths map[string]struct {
			ServerRelativeURL string `json:"serverRelativeURL"`
		} `json:"paths"`
	}
	if err := getJSON(server, "/openapi/v3", &index); err != nil {
		return nil, err
	}
	merged := map[string]*schemaFacts{}
	for _, path := range slices.Sorted(maps.Keys(index.Paths)) {
		var document struct {
			Components struct {
				Schemas map[string]map[string]any `json:"schemas"`
			} `json:"components"`
		}
		if err := getJSON(server, "/openapi/v3/"+path, &document); err != nil {
			return nil, err
		}
		for name, schema := range document.Components.Schemas {
			kinds, err := takeKinds(schema)
			if err != nil {
				return nil, fmt.Errorf("schema %s: %w", name, err)
			}
			dropDescriptions(schema)
			known := merged[name]
			if known == nil {
				known = &schemaFacts{OpenAPI: schema}
				merged[name] = known
			} else if !reflect.DeepEqual(known.OpenAPI, schema) {
				return nil, fmt.Errorf("schema %s is not the same in every document (%s)", name, path)
			}
			known.GVK = append(known.GVK, kinds...)
		}
	}
	for _, schema := range merged {
		slices.SortFunc(schema.GVK, func(a, b groupVersionKind) int {
			return cmp.Or(cmp.Compare(a.Group, b.Group), cmp.Compare(a.Version, b.Version), cmp.Compare(a.Kind, b.Kind))
		})
		schema.GVK = slices.Compact(schema.GVK)
		if len(schema.GVK) > 0 {
			schema.OpenAPI["x-kubernetes-group-version-kind"] = schema.GVK
		}
	}
	return merged, nil
}

// takeKinds removes a schema's group-version-kinds and returns them.
func takeKinds(schema map[string]any) ([]groupVersionKind, error) {
	const key = "x-kubernetes-group-version-kind"
	found, ok := schema[key]
	if !ok {
		return nil, nil
	}
	delete(schema, key)
	text, err := json.Marshal(found)
	if err != nil {
		return nil, err
	}
	var kinds []groupVersionKind
	return kinds, json.Unmarshal(text, &kinds)
}

// dropDescriptions removes a schema's prose: nine tenths of the documents, and nothing that decides
// behaviour. Properties that are called "description" stay.
func dropDescriptions(schema map[string]any) {
	delete(schema, "description")
	for key, value := range schema {
		switch value := value.(type) {
		case map[string]any:
			switch key {
			case "properties":
				for _, property := range value {
					if property, ok := property.(map[string]any); ok {
						dropDescriptions(property)
					}
				}
			case "items", "additionalProperties", "not":
				dropDescriptions(value)
			}
		case []any:
			if key == "allOf" || key == "anyOf" || key == "oneOf" {
				for _, part := range value {
					if part, ok := part.(map[string]any); ok {
						dropDescriptions(part)
					}
				}
			}
		}
	}
}

// readResources reads the discovery documents, in the server's order: the core group, then the others
// by priority, the preferred version of each first.
func readResources(server rest.Interface, schemas map[string]*schemaFacts) ([]resourceFacts, error) {
	byKind := map[groupVersionKind]string{}
	for name, schema := range schemas {
		for _, kind := range schema.GVK {
			byKind[kind] = name
		}
	}
	var groups metav1.APIGroupList
	if err := getJSON(server, "/apis", &groups); err != nil {
		return nil, err
	}
	core := metav1.APIGroup{
		Versions:         []metav1.GroupVersionForDiscovery{{GroupVersion: "v1", Version: "v1"}},
		PreferredVersion: metav1.GroupVersionForDiscovery{GroupVersion: "v1", Version: "v1"},
	}
	var resources []resourceFacts
	for _, group := range append([]metav1.APIGroup{core}, groups.Groups...) {
		for _, version := range group.Versions {
			path := "/apis/" + version.GroupVersion
			if group.Name == "" {
				path = "/api/v1"
			}
			var list metav1.APIResourceList
			if err := getJSON(server, path, &list); err != nil {
				return nil, err
			}
			found, err := groupResources(group, version.Version, list.APIResources, byKind)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", path, err)
			}
			resources = append(resources, found...)
		}
	}
	return resources, nil
}

// groupResources turns one group-version's discovery document into facts. A subresource follows its
// resource there; the resource is looked up by name, so that the order does not matter.
func groupResources(group metav1.APIGroup, version string, listed []metav1.APIResource, byKind map[groupVersionKind]string) ([]resourceFacts, error) {
	var resources []resourceFacts
	for _, entry := range listed {
		if strings.Contains(entry.Name, "/") {
			continue
		}
		kind := groupVersionKind{group.Name, version, entry.Kind}
		schema, ok := byKind[kind]
		if !ok {
			return nil, fmt.Errorf("no schema is of kind %v", kind)
		}
		resources = append(resources, resourceFacts{
			Group: group.Name, Version: version, Preferred: version == group.PreferredVersion.Version,
			Name: entry.Name, Singular: entry.SingularName, Kind: entry.Kind, Namespaced: entry.Namespaced,
			Verbs: entry.Verbs, ShortNames: entry.ShortNames, Categories: entry.Categories,
			StorageVersionHash: entry.StorageVersionHash,
			Schema:             schema,
			ListSchema:         byKind[groupVersionKind{group.Name, version, entry.Kind + "List"}],
			Subresources:       []subresourceFacts{},
		})
	}
	for _, entry := range listed {
		parent, name, isSubresource := strings.Cut(entry.Name, "/")
		if !isSubresource {
			continue
		}
		at := slices.IndexFunc(resources, func(r resourceFacts) bool { return r.Name == parent })
		if at < 0 {
			return nil, fmt.Errorf("%s is a subresource of nothing", entry.Name)
		}
		kind := groupVersionKind{cmp.Or(entry.Group, group.Name), cmp.Or(entry.Version, version), entry.Kind}
		resources[at].Subresources = append(resources[at].Subresources, subresourceFacts{
			Name: name, Group: kind.Group, Version: kind.Version, Kind: kind.Kind, Verbs: entry.Verbs, Schema: byKind[kind],
		})
	}
	return resources, nil
}
