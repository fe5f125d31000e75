package facts

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes/scheme"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
)

// protoFacts is a type's form in protobuf.
type protoFacts struct {
	// Special names a type whose JSON form does not follow from its fields.
	Special string                `json:"special,omitempty"`
	Fields  map[string]protoField `json:"fields"`
}

// protoField is one field of a message, keyed by its number there.
type protoField struct {
	JSON     string    `json:"json"`
	Wire     string    `json:"wire"`
	Repeated bool      `json:"repeated,omitempty"`
	Type     string    `json:"type,omitempty"`
	Map      *protoMap `json:"map,omitempty"`
	Inline   bool      `json:"inline,omitempty"`
	// Pointer and OmitEmpty say when JSON leaves the field out: the wire always carries the zero
	// values of what is no pointer.
	Pointer   bool `json:"pointer,omitempty"`
	OmitEmpty bool `json:"omitempty,omitempty"`
	// Go is the Go type of a scalar that has a name of its own: error texts carry it.
	Go string `json:"go,omitempty"`
}

type protoMap struct {
	Key       string `json:"key"`
	Value     string `json:"value"`
	ValueWire string `json:"valueWire"`
}

const (
	wireVarint = "varint"
	wireBytes  = "bytes"
	wire64     = "fixed64"
)

// special are the types that say themselves how they look in JSON. Fields name them by the short name.
var special = map[reflect.Type]struct {
	name   string
	fields map[string]protoField
}{
	reflect.TypeFor[resource.Quantity](): {"Quantity", scalars("string", "string")},
	reflect.TypeFor[metav1.Time]():       {"Time", scalars("seconds", "int64", "nanos", "int32")},
	reflect.TypeFor[metav1.MicroTime]():  {"MicroTime", scalars("seconds", "int64", "nanos", "int32")},
	reflect.TypeFor[metav1.Duration]():   {"Duration", scalars("duration", "int64")},
	reflect.TypeFor[intstr.IntOrString](): {"IntOrString",
		scalars("type", "int64", "intVal", "int32", "strVal", "string")},
	reflect.TypeFor[metav1.FieldsV1]():      {"FieldsV1", scalars("Raw", "bytes")},
	reflect.TypeFor[runtime.RawExtension](): {"RawExtension", scalars("raw", "bytes")},
	reflect.TypeFor[apiextensionsv1.JSON](): {"JSON", scalars("raw", "bytes")},
	reflect.TypeFor[apiextensionsv1.JSONSchemaPropsOrArray](): {"JSONSchemaPropsOrArray", map[string]protoField{
		"1": {JSON: "schema", Wire: wireBytes, Type: jsonSchemaProps},
		"2": {JSON: "jSONSchemas", Wire: wireBytes, Type: jsonSchemaProps, Repeated: true}}},
	reflect.TypeFor[apiextensionsv1.JSONSchemaPropsOrBool](): {"JSONSchemaPropsOrBool", map[string]protoField{
		"1": {JSON: "allows", Wire: wireVarint, Type: "bool"},
		"2": {JSON: "schema", Wire: wireBytes, Type: jsonSchemaProps}}},
	reflect.TypeFor[apiextensionsv1.JSONSchemaPropsOrStringArray](): {"JSONSchemaPropsOrStringArray", map[string]protoField{
		"1": {JSON: "schema", Wire: wireBytes, Type: jsonSchemaProps},
		"2": {JSON: "property", Wire: wireBytes, Type: "string", Repeated: true}}},
}

var jsonSchemaProps = apiextensionsv1.JSONSchemaProps{}.OpenAPIModelName()

// scalars makes the fields of a message of named scalars, numbered from 1.
func scalars(namesAndTypes ...string) map[string]protoField {
	fields := map[string]protoField{}
	for i := 0; i < len(namesAndTypes); i += 2 {
		wire := wireVarint
		if kind := namesAndTypes[i+1]; kind == "string" || kind == "bytes" {
			wire = wireBytes
		}
		fields[fmt.Sprint(i/2+1)] = protoField{JSON: namesAndTypes[i], Wire: wire, Type: namesAndTypes[i+1]}
	}
	return fields
}

// addProto gives every schema that a Go type stands behind its protobuf form, and adds the types that
// occur only inside such forms.
func addProto(schemas map[string]*schemaFacts) error {
	types := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{scheme.AddToScheme, apiextensionsv1.AddToScheme, apiregistrationv1.AddToScheme} {
		if err := add(types); err != nil {
			return err
		}
	}
	walk := protoWalk{schemas: schemas, seen: map[reflect.Type]bool{}}
	for _, goType := range types.AllKnownTypes() {
		if walk.served(goType) {
			if _, err := walk.message(goType); err != nil {
				return err
			}
		}
	}
	// The envelope around every protobuf body.
	_, err := walk.message(reflect.TypeFor[runtime.Unknown]())
	return err
}

type protoWalk struct {
	schemas map[string]*schemaFacts
	seen    map[reflect.Type]bool
}

// served says whether the server's documents describe the type.
func (w *protoWalk) served(goType reflect.Type) bool {
	name, ok := modelName(goType)
	return ok && w.schemas[name] != nil && w.schemas[name].OpenAPI != nil
}

// modelName is the name under which OpenAPI documents describe a Go type.
func modelName(goType reflect.Type) (string, bool) {
	namer, ok := reflect.Zero(goType).Interface().(interface{ OpenAPIModelName() string })
	if !ok {
		return "", false
	}
	return namer.OpenAPIModelName(), true
}

// message records a type that is a message on the wire and returns the name for it.
func (w *protoWalk) message(goType reflect.Type) (string, error) {
	name, named := modelName(goType)
	if !named {
		// As OpenAPI would name it: k8s.io/api/core/v1.X is io.k8s.api.core.v1.X.
		name = "io." + strings.ReplaceAll(strings.TrimPrefix(goType.PkgPath(), "k8s.io/"), "/", ".") + "." + goType.Name()
		name = strings.Replace(name, "io.", "io.k8s.", 1)
	}
	known, isSpecial := special[goType]
	if !w.seen[goType] {
		w.seen[goType] = true // before its fields: types may be recursive
		proto := &protoFacts{Fields: map[string]protoField{}}
		if isSpecial {
			proto.Special, proto.Fields = known.name, known.fields
		} else if goType.Kind() == reflect.Slice {
			element, err := w.field(goType.Elem(), "items")
			if err != nil {
				return "", err
			}
			element.Repeated = true
			proto.Special, proto.Fields["1"] = "List", element
		} else if err := w.fields(goType, proto); err != nil {
			return "", fmt.Errorf("%s: %w", goType, err)
		}
		if isSpecial || len(proto.Fields) > 0 || isMessage(goType) {
			if w.schemas[name] == nil {
				w.schemas[name] = &schemaFacts{}
			}
			w.schemas[name].Proto = proto
		}
	}
	if isSpecial {
		return known.name, nil
	}
	return name, nil
}

// fields reads a struct's tags. The number and the name come from them, the wire form from the Go
// type: that is what upstream's generator goes by, and some tags say otherwise
// (ListMeta.remainingItemCount is tagged "bytes" and is a varint).
func (w *protoWalk) fields(goType reflect.Type, proto *protoFacts) error {
	for i := range goType.NumField() {
		field := goType.Field(i)
		tag, ok := field.Tag.Lookup("protobuf")
		jsonName, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if !ok {
			if field.Anonymous && field.Type != reflect.TypeFor[metav1.TypeMeta]() && field.Type != reflect.TypeFor[runtime.TypeMeta]() {
				return fmt.Errorf("embedded %s has no protobuf number", field.Name)
			}
			continue
		}
		parts := strings.Split(tag, ",")
		if len(parts) < 2 {
			return fmt.Errorf("field %s has the tag %q", field.Name, tag)
		}
		name := ""
		if at := slices.IndexFunc(parts, func(p string) bool { return strings.HasPrefix(p, "name=") }); at >= 0 {
			name = strings.TrimPrefix(parts[at], "name=")
		}
		inline := field.Anonymous && jsonName == ""
		if jsonName == "-" {
			jsonName = ""
		}
		facts, err := w.field(field.Type, cmp.Or(jsonName, name))
		if err != nil {
			return fmt.Errorf("field %s: %w", field.Name, err)
		}
		facts.Inline = inline
		facts.Pointer = field.Type.Kind() == reflect.Pointer
		options := strings.Split(field.Tag.Get("json"), ",")
		facts.OmitEmpty = slices.Contains(options[1:], "omitempty") || slices.Contains(options[1:], "omitzero")
		if _, taken := proto.Fields[parts[1]]; taken {
			return fmt.Errorf("number %s is taken twice", parts[1])
		}
		proto.Fields[parts[1]] = facts
	}
	return nil
}

// field describes a field of a Go type.
func (w *protoWalk) field(goType reflect.Type, jsonName string) (protoField, error) {
	field := protoField{JSON: jsonName}
	for goType.Kind() == reflect.Pointer {
		goType = goType.Elem()
	}
	switch {
	case goType.Kind() == reflect.Map && !isMessage(goType):
		key, _, err := w.value(goType.Key())
		if err != nil {
			return field, err
		}
		value, wire, err := w.value(goType.Elem())
		field.Wire, field.Map = wireBytes, &protoMap{Key: key, Value: value, ValueWire: wire}
		return field, err
	case goType.Kind() == reflect.Slice && goType.Elem().Kind() != reflect.Uint8 && !isMessage(goType):
		field.Repeated = true
		goType = goType.Elem()
	}
	var err error
	field.Type, field.Wire, err = w.value(goType)
	for goType.Kind() == reflect.Pointer {
		goType = goType.Elem()
	}
	if goType.PkgPath() != "" && goType.Kind() != reflect.Struct && goType.Kind() != reflect.Slice {
		field.Go = goType.String()
	}
	return field, err
}

// value returns a single value's type and wire form.
func (w *protoWalk) value(goType reflect.Type) (name, wire string, err error) {
	for goType.Kind() == reflect.Pointer {
		goType = goType.Elem()
	}
	if _, ok := special[goType]; ok || goType.Kind() == reflect.Struct || isMessage(goType) {
		name, err = w.message(goType)
		return name, wireBytes, err
	}
	switch goType.Kind() {
	case reflect.String:
		return "string", wireBytes, nil
	case reflect.Bool:
		return "bool", wireVarint, nil
	case reflect.Int32:
		return "int32", wireVarint, nil
	case reflect.Int64, reflect.Int:
		return "int64", wireVarint, nil
	case reflect.Float64:
		return "float64", wire64, nil
	case reflect.Slice:
		if goType.Elem().Kind() == reflect.Uint8 {
			return "bytes", wireBytes, nil
		}
	}
	return "", "", fmt.Errorf("no protobuf form is known for the Go type %s", goType)
}

// isMessage says whether a type that is no struct is a message all the same: upstream wraps some
// slices so that an empty one differs from none.
func isMessage(goType reflect.Type) bool {
	_, ok := reflect.New(goType).Interface().(interface{ MarshalTo([]byte) (int, error) })
	return ok
}
