//! Whatever a client sends, as an object of whatever kind: an answer or an error, never a panic.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;

fn any_json() -> impl Strategy<Value = Value> {
    let keys = "metadata|spec|status|name|labels|containers|ports|template|resources|limits|replicas|\
                strategy|finalizers|ownerReferences|data|x|\\$patch|\\$retainKeys|\\$setElementOrder/containers";
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-z0-9.$]{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 40, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((keys, inner), 0..5).prop_map(|members| {
                Value::Object(members.into_iter().collect::<Map<String, Value>>())
            }),
        ]
    })
}

proptest! {
    #[test]
    fn no_object_of_any_kind_panics(
        at in any::<prop::sample::Index>(),
        spec in any_json(),
        metadata in any_json(),
        patch in any_json(),
    ) {
        let table = table();
        let resource = at.get(table.resources());
        let (schema, now) = (resource.schema.as_str(), jiff::Timestamp::UNIX_EPOCH);
        let mut object = json!({"metadata": metadata, "spec": spec});
        let live = object.clone();
        let valid = prune_and_check(table, schema, &mut object).is_ok();
        apply_defaults(table, &resource.group, &resource.version, &resource.kind, &mut object);
        if valid {
            let mut again = object.clone();
            prop_assert!(prune_and_check(table, schema, &mut again).is_ok());
            // Times that Go writes as null are read as absent.
            apply_defaults(table, &resource.group, &resource.version, &resource.kind, &mut again);
            prop_assert_eq!(&again, &object, "what was checked and defaulted is canonical");
        }
        track_update(table, schema, Some(&live), &mut object, "m", "", now);
        track_update(table, schema, None, &mut object, "m", "status", now);
        let _ = strategic_merge(table, schema, &object, &json!({"spec": patch}));
        let _ = server_side_apply(table, schema, Some(&object), &json!({"spec": patch}), "a", true, now);
    }
}

#[test]
fn the_facts_load_and_are_whole() {
    let table = table();
    assert_eq!(table.kubernetes_version(), "v1.36.3");
    for resource in table.resources() {
        assert!(
            table.schema(&resource.schema).is_some(),
            "{}",
            resource.name
        );
        assert_eq!(
            table.resource(&resource.group, &resource.version, &resource.name),
            Some(resource)
        );
    }
    assert!(TypeTable::load(b"not gzip").is_err());
}

#[test]
fn custom_resource_definitions_keep_their_schemas() {
    let crd = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "a.b"},
        "spec": {"group": "b", "scope": "Namespaced", "names": {"plural": "a", "kind": "A"}, "versions": [{
            "name": "v1", "served": true, "storage": true,
            "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                "spec": {"type": "array", "items": {"type": "string", "default": "x"}},
                "map": {"type": "object", "additionalProperties": true},
            }}},
        }]},
    });
    let got = decode(table(), "", "application/json", crd.to_string().as_bytes()).unwrap();
    assert_eq!(got.strict_errors, Vec::<String>::new());
    assert_eq!(got.object, crd);
}
