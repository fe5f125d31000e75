package facts

import (
	"compress/gzip"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes/scheme"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
)

func storedFacts(t *testing.T) *Document {
	t.Helper()
	file, err := os.Open("../../src/sandbox/types/facts.json.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	reader, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	var document Document
	if err := json.NewDecoder(reader).Decode(&document); err != nil {
		t.Fatal(err)
	}
	return &document
}

// The facts suffice to turn what upstream's own code writes as protobuf into what it writes as JSON,
// for every kind there is, with every field set.
func TestProtobufByFactsIsJSON(t *testing.T) {
	document := storedFacts(t)
	types := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{scheme.AddToScheme, apiextensionsv1.AddToScheme, apiregistrationv1.AddToScheme} {
		if err := add(types); err != nil {
			t.Fatal(err)
		}
	}
	tried := 0
	for kind, goType := range types.AllKnownTypes() {
		name, ok := modelName(goType)
		if !ok || document.Schemas[name] == nil || document.Schemas[name].Proto == nil {
			continue
		}
		for _, full := range []bool{true, false} {
			tried++
			value := reflect.New(goType)
			if full {
				(&filler{}).fill(value.Elem())
			}
			message := value.Interface().(interface{ Marshal() ([]byte, error) })
			body, err := message.Marshal()
			if err != nil {
				t.Fatalf("%v: %v", kind, err)
			}
			decoded, err := decoder{document}.message(name, body)
			if err != nil {
				t.Fatalf("%v: %v", kind, err)
			}
			text, err := json.Marshal(value.Interface())
			if err != nil {
				t.Fatalf("%v: %v", kind, err)
			}
			var wanted any
			if err := json.Unmarshal(text, &wanted); err != nil {
				t.Fatalf("%v: %v", kind, err)
			}
			wanted, got := tidy(wanted), tidy(roundTrip(t, decoded))
			for _, object := range []any{wanted, got} {
				if object, ok := object.(map[string]any); ok { // the envelope carries these
					delete(object, "kind")
					delete(object, "apiVersion")
				}
			}
			if !reflect.DeepEqual(wanted, got) {
				t.Errorf("%v (full: %v) is not what its protobuf says:\n%s", kind, full, difference("", wanted, got))
			}
		}
	}
	if tried < 200 {
		t.Errorf("only %d kinds were tried", tried)
	}
}

func TestDescriptionsGoAndPropertiesOfThatNameStay(t *testing.T) {
	schema := map[string]any{
		"description": "prose",
		"properties": map[string]any{
			"description": map[string]any{"type": "string", "description": "prose"},
		},
		"items": map[string]any{"description": "prose", "type": "string"},
	}
	dropDescriptions(schema)
	want := map[string]any{
		"properties": map[string]any{"description": map[string]any{"type": "string"}},
		"items":      map[string]any{"type": "string"},
	}
	if !reflect.DeepEqual(schema, want) {
		t.Errorf("got %v", schema)
	}
}

// roundTrip makes numbers what encoding/json makes of them.
func roundTrip(t *testing.T, value any) any {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	var result any
	if err := json.Unmarshal(text, &result); err != nil {
		t.Fatal(err)
	}
	return result
}

// tidy drops what JSON writes only because Go has no absent value: null.
func tidy(value any) any {
	switch value := value.(type) {
	case map[string]any:
		for key, inner := range value {
			if inner == nil {
				delete(value, key)
			} else {
				value[key] = tidy(inner)
			}
		}
	case []any:
		for i := range value {
			value[i] = tidy(value[i])
		}
	}
	return value
}

// difference names the first few places where two documents differ.
func difference(path string, wanted, got any) string {
	switch wanted := wanted.(type) {
	case map[string]any:
		if got, ok := got.(map[string]any); ok {
			var text strings.Builder
			for key := range wanted {
				if _, there := got[key]; !there {
					fmt.Fprintf(&text, "  %s.%s is missing: %v\n", path, key, wanted[key])
				} else {
					text.WriteString(difference(path+"."+key, wanted[key], got[key]))
				}
			}
			for key := range got {
				if _, there := wanted[key]; !there {
					fmt.Fprintf(&text, "  %s.%s is too much: %v\n", path, key, got[key])
				}
			}
			return text.String()
		}
	case []any:
		if got, ok := got.([]any); ok && len(got) == len(wanted) {
			var text strings.Builder
			for i := range wanted {
				text.WriteString(difference(fmt.Sprintf("%s[%d]", path, i), wanted[i], got[i]))
			}
			return text.String()
		}
	}
	if reflect.DeepEqual(wanted, got) {
		return ""
	}
	return fmt.Sprintf("  %s: wanted %v, got %v\n", path, wanted, got)
}

// decoder reads protobuf by the facts alone.
type decoder struct{ facts *Document }

func (d decoder) message(name string, body []byte) (any, error) {
	schema := d.facts.Schemas[name]
	if schema == nil || schema.Proto == nil {
		return nil, fmt.Errorf("no protobuf form of %s", name)
	}
	object := map[string]any{}
	for len(body) > 0 {
		tag, n := binary.Uvarint(body)
		body = body[n:]
		field, ok := schema.Proto.Fields[fmt.Sprint(tag>>3)]
		if !ok {
			return nil, fmt.Errorf("%s has no field %d", name, tag>>3)
		}
		var raw any
		switch tag & 7 {
		case 0:
			number, n := binary.Uvarint(body)
			raw, body = number, body[n:]
		case 1:
			raw, body = binary.LittleEndian.Uint64(body), body[8:]
		case 2:
			length, n := binary.Uvarint(body)
			raw, body = body[n:n+int(length)], body[n+int(length):]
		default:
			return nil, fmt.Errorf("%s.%s: wire type %d", name, field.JSON, tag&7)
		}
		if want := map[string]uint64{wireVarint: 0, wire64: 1, wireBytes: 2}[field.Wire]; want != tag&7 {
			return nil, fmt.Errorf("%s.%s: wire type %d, not %s", name, field.JSON, tag&7, field.Wire)
		}
		if field.Map != nil {
			entries, _ := object[field.JSON].(map[string]any)
			if entries == nil {
				entries = map[string]any{}
			}
			if err := d.entry(field.Map, raw.([]byte), entries); err != nil {
				return nil, fmt.Errorf("%s.%s: %w", name, field.JSON, err)
			}
			object[field.JSON] = entries
			continue
		}
		value, err := d.value(field.Type, raw)
		if err != nil {
			return nil, fmt.Errorf("%s.%s: %w", name, field.JSON, err)
		}
		switch {
		case field.Inline:
			for key, inner := range value.(map[string]any) {
				object[key] = inner
			}
		case field.Repeated:
			list, _ := object[field.JSON].([]any)
			object[field.JSON] = append(list, value)
		case field.OmitEmpty && !field.Pointer && isZero(value):
		default:
			object[field.JSON] = value
		}
	}
	if schema.Proto.Special == "List" {
		if list, ok := object["items"]; ok {
			return list, nil
		}
		return []any{}, nil
	}
	return object, nil
}

func (d decoder) entry(facts *protoMap, body []byte, entries map[string]any) error {
	var key string
	var value any
	for len(body) > 0 {
		number := body[0] >> 3
		if body[0]&7 != 2 {
			return fmt.Errorf("entry with wire type %d", body[0]&7)
		}
		length, n := binary.Uvarint(body[1:])
		raw := body[1+n : 1+n+int(length)]
		body = body[1+n+int(length):]
		if number == 1 {
			key = string(raw)
			continue
		}
		var err error
		if value, err = d.value(facts.Value, raw); err != nil {
			return err
		}
	}
	entries[key] = value
	return nil
}

func (d decoder) value(kind string, raw any) (any, error) {
	switch kind {
	case "string":
		return string(raw.([]byte)), nil
	case "bytes":
		return append([]byte{}, raw.([]byte)...), nil
	case "bool":
		return raw.(uint64) != 0, nil
	case "int32":
		return int32(raw.(uint64)), nil
	case "int64":
		return int64(raw.(uint64)), nil
	case "float64":
		return math.Float64frombits(raw.(uint64)), nil
	}
	for goType, known := range special {
		if known.name == kind {
			// Upstream's own code knows how these look.
			value := reflect.New(goType)
			return value.Interface(), value.Interface().(interface{ Unmarshal([]byte) error }).Unmarshal(raw.([]byte))
		}
	}
	return d.message(kind, raw.([]byte))
}

func isZero(value any) bool {
	switch value := value.(type) {
	case string:
		return value == ""
	case bool:
		return !value
	case int32:
		return value == 0
	case int64:
		return value == 0
	case float64:
		return value == 0
	case []byte:
		return len(value) == 0
	case *metav1.Time:
		return value.IsZero()
	case *metav1.MicroTime:
		return value.IsZero()
	}
	return false
}

// filler sets every field of an object to something that is not its zero value; two levels below a
// type that contains itself it stops.
type filler struct {
	count int
	open  []reflect.Type
}

func (f *filler) fill(value reflect.Value) {
	f.count++
	switch target := value.Addr().Interface().(type) {
	case *resource.Quantity:
		*target = resource.MustParse(fmt.Sprintf("%dMi", f.count))
		return
	case *metav1.Time:
		*target = metav1.NewTime(time.Unix(int64(1_700_000_000+f.count), 0).UTC())
		return
	case *metav1.MicroTime:
		*target = metav1.NewMicroTime(time.Unix(int64(1_700_000_000+f.count), 123_456_000).UTC())
		return
	case *metav1.Duration:
		target.Duration = time.Duration(f.count) * time.Second
		return
	case *intstr.IntOrString:
		if f.count%2 == 0 {
			*target = intstr.FromInt32(int32(f.count))
		} else {
			*target = intstr.FromString(fmt.Sprintf("%d%%", f.count))
		}
		return
	case *metav1.FieldsV1:
		target.SetRawString(fmt.Sprintf(`{"f:n%d":{}}`, f.count))
		return
	case *runtime.RawExtension:
		target.Raw = fmt.Appendf(nil, `{"n":%d}`, f.count)
		return
	case *apiextensionsv1.JSON:
		target.Raw = fmt.Appendf(nil, `{"n":%d}`, f.count)
		return
	case *metav1.TypeMeta:
		return // it is not in the message but in the envelope
	case *apiextensionsv1.JSONSchemaPropsOrArray:
		target.Schema = &apiextensionsv1.JSONSchemaProps{Title: "t"}
		return
	case *apiextensionsv1.JSONSchemaPropsOrBool:
		target.Allows, target.Schema = true, &apiextensionsv1.JSONSchemaProps{Title: "t"}
		return
	case *apiextensionsv1.JSONSchemaPropsOrStringArray:
		target.Property = []string{"a", "b"}
		return
	}
	switch value.Kind() {
	case reflect.Struct:
		again := 0
		for _, outer := range f.open {
			if outer == value.Type() {
				again++
			}
		}
		if again > 1 {
			return
		}
		f.open = append(f.open, value.Type())
		for i := range value.NumField() {
			if value.Type().Field(i).IsExported() {
				f.fill(value.Field(i))
			}
		}
		f.open = f.open[:len(f.open)-1]
	case reflect.Pointer:
		value.Set(reflect.New(value.Type().Elem()))
		f.fill(value.Elem())
	case reflect.Slice:
		if value.Type().Elem().Kind() == reflect.Uint8 {
			value.SetBytes(fmt.Appendf(nil, "bytes %d", f.count))
			return
		}
		value.Set(reflect.MakeSlice(value.Type(), 2, 2))
		for i := range 2 {
			f.fill(value.Index(i))
		}
	case reflect.Map:
		value.Set(reflect.MakeMap(value.Type()))
		for range 2 {
			key := reflect.New(value.Type().Key()).Elem()
			inner := reflect.New(value.Type().Elem()).Elem()
			f.fill(key)
			f.fill(inner)
			value.SetMapIndex(key, inner)
		}
	case reflect.String:
		value.SetString(fmt.Sprintf("s%d", f.count))
	case reflect.Bool:
		value.SetBool(true)
	case reflect.Int, reflect.Int32, reflect.Int64:
		value.SetInt(int64(f.count))
	case reflect.Float64:
		value.SetFloat(float64(f.count) + 0.5)
	}
}
