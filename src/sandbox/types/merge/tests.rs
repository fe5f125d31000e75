use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::sandbox::types::table;

const POD: &str = "io.k8s.api.core.v1.Pod";
const DEPLOYMENT: &str = "io.k8s.api.apps.v1.Deployment";

fn merge(schema: &str, original: Value, patch: Value) -> Value {
    strategic_merge(table(), schema, &original, &patch).unwrap()
}

#[test]
fn containers_merge_by_name_and_new_ones_go_first() {
    let original = json!({"spec": {"containers": [
        {"name": "a", "image": "a:1", "env": [{"name": "X", "value": "1"}]},
        {"name": "b", "image": "b:1"},
    ]}});
    let patch = json!({"spec": {"containers": [
        {"name": "a", "image": "a:2", "env": [{"name": "Y", "value": "2"}]},
        {"name": "c", "image": "c:1"},
    ]}});
    let merged = merge(POD, original, patch);
    let containers = &merged["spec"]["containers"];
    let names: Vec<_> = containers
        .as_array()
        .unwrap()
        .iter()
        .map(|c| &c["name"])
        .collect();
    assert_eq!(names, ["a", "c", "b"]);
    assert_eq!(containers[0]["image"], "a:2");
    assert_eq!(
        containers[0]["env"],
        json!([{"name": "Y", "value": "2"}, {"name": "X", "value": "1"}])
    );
}

#[test]
fn set_element_order_decides() {
    let original = json!({"spec": {"containers": [{"name": "a"}, {"name": "b"}, {"name": "z"}]}});
    let patch = json!({"spec": {
        "$setElementOrder/containers": [{"name": "b"}, {"name": "a"}, {"name": "c"}],
        "containers": [{"name": "c", "image": "c"}],
    }});
    let merged = merge(POD, original, patch);
    let names: Vec<_> = merged["spec"]["containers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| &c["name"])
        .collect();
    assert_eq!(names, ["b", "a", "c", "z"]);
    assert!(merged["spec"].get("$setElementOrder/containers").is_none());
}

#[test]
fn deletions_by_directive_and_by_null() {
    let original = json!({
        "metadata": {"labels": {"a": "1", "b": "2"}, "finalizers": ["x", "y"]},
        "spec": {"containers": [{"name": "a"}, {"name": "b"}], "nodeName": "n"},
    });
    let patch = json!({
        "metadata": {"labels": {"a": null}, "$deleteFromPrimitiveList/finalizers": ["x"]},
        "spec": {"containers": [{"name": "a", "$patch": "delete"}], "nodeName": null, "hostname": null},
    });
    let want = json!({
        "metadata": {"labels": {"b": "2"}, "finalizers": ["y"]},
        "spec": {"containers": [{"name": "b"}]},
    });
    assert_eq!(merge(POD, original, patch), want);
}

#[test]
fn replace_and_retain_keys() {
    let original = json!({"spec": {"strategy": {
        "type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1},
    }}});
    let patch = json!({"spec": {"strategy": {"type": "Recreate", "$retainKeys": ["type"]}}});
    let merged = merge(DEPLOYMENT, original.clone(), patch);
    assert_eq!(merged, json!({"spec": {"strategy": {"type": "Recreate"}}}));
    let patch = json!({"spec": {"strategy": {"$patch": "replace", "type": "Recreate"}}});
    assert_eq!(merge(DEPLOYMENT, original, patch), merged);
}

#[test]
fn atomic_lists_are_replaced_and_sets_are_joined() {
    let original =
        json!({"metadata": {"finalizers": ["a"]}, "spec": {"tolerations": [{"key": "a"}]}});
    let patch = json!({"metadata": {"finalizers": ["b"]}, "spec": {"tolerations": [{"key": "b"}]}});
    let merged = merge(POD, original, patch);
    assert_eq!(merged["spec"]["tolerations"], json!([{"key": "b"}]));
    assert_eq!(merged["metadata"]["finalizers"], json!(["b", "a"]));
}

#[test]
fn malformed_directives_are_errors() {
    let error = |patch: Value| {
        let original = json!({"spec": {"containers": [{"name": "a"}]}});
        strategic_merge(table(), POD, &original, &patch).unwrap_err()
    };
    assert_eq!(
        error(json!({"spec": {"$patch": "burn"}})).to_string(),
        "unknown patch type: burn in map: map[$patch:burn]"
    );
    assert_eq!(
        error(json!({"spec": {"containers": [{"image": "x"}]}})).to_string(),
        "map: map[image:x] does not contain declared merge key: name"
    );
    assert_eq!(error(json!([])), PatchError::BadDocument);
    assert_eq!(
        error(json!({"spec": {"$setElementOrder/containers": 3}})),
        PatchError::BadSetElementOrder
    );
}

fn pod() -> impl Strategy<Value = Value> {
    let labels = prop::collection::btree_map("[a-c]", "[0-9]", 0..3);
    let containers = prop::collection::btree_map("[a-d]", "[x-z]", 0..4);
    (labels, containers).prop_map(|(labels, containers)| {
        let containers: Vec<Value> = containers
            .iter()
            .map(|(n, i)| json!({"name": n, "image": i}))
            .collect();
        json!({"metadata": {"labels": labels}, "spec": {"containers": containers}})
    })
}

proptest! {
    #[test]
    fn an_empty_patch_changes_nothing(pod in pod()) {
        prop_assert_eq!(merge(POD, pod.clone(), json!({})), pod);
    }

    #[test]
    fn an_object_is_its_own_identity(pod in pod()) {
        prop_assert_eq!(merge(POD, pod.clone(), pod.clone()), pod);
    }

    #[test]
    fn applying_twice_is_applying_once(pod in pod(), patch in pod()) {
        let once = merge(POD, pod, patch.clone());
        prop_assert_eq!(merge(POD, once.clone(), patch), once);
    }
}
