use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::sandbox::types::{apply_defaults, table};

const DEPLOYMENT: &str = "io.k8s.api.apps.v1.Deployment";

fn at(second: i64) -> Timestamp {
    Timestamp::new(1_767_225_600 + second, 0).unwrap()
}

fn deployment(replicas: i64) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "d", "namespace": "default", "labels": {"app": "d"}},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "d"}},
            "template": {
                "metadata": {"labels": {"app": "d"}},
                "spec": {"containers": [{"name": "c", "image": "i", "ports": [{"containerPort": 80}]}]},
            },
        },
    })
}

fn created() -> Value {
    let mut object = deployment(1);
    apply_defaults(table(), "apps", "v1", "Deployment", &mut object);
    track_update(
        table(),
        DEPLOYMENT,
        None,
        &mut object,
        "kubectl-create",
        "",
        at(0),
    );
    object
}

fn entry<'v>(object: &'v Value, manager: &str) -> Option<&'v Value> {
    let entries = object.pointer("/metadata/managedFields")?.as_array()?;
    entries.iter().find(|e| e["manager"] == manager)
}

/// What a real v1.36 API server records for such a create.
#[test]
fn a_created_object_is_owned_as_the_api_server_says() {
    let object = created();
    let entry = entry(&object, "kubectl-create").unwrap();
    assert_eq!(
        *entry,
        json!({
            "manager": "kubectl-create", "operation": "Update", "apiVersion": "apps/v1",
            "time": "2026-01-01T00:00:00Z", "fieldsType": "FieldsV1",
            "fieldsV1": {
                "f:metadata": {"f:labels": {".": {}, "f:app": {}}},
                "f:spec": {
                    "f:progressDeadlineSeconds": {}, "f:replicas": {}, "f:revisionHistoryLimit": {},
                    "f:selector": {},
                    "f:strategy": {
                        "f:rollingUpdate": {".": {}, "f:maxSurge": {}, "f:maxUnavailable": {}},
                        "f:type": {},
                    },
                    "f:template": {
                        "f:metadata": {"f:labels": {".": {}, "f:app": {}}},
                        "f:spec": {
                            "f:containers": {"k:{\"name\":\"c\"}": {
                                ".": {}, "f:image": {}, "f:imagePullPolicy": {}, "f:name": {},
                                "f:ports": {".": {}, "k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {
                                    ".": {}, "f:containerPort": {}, "f:protocol": {},
                                }},
                                "f:resources": {},
                                "f:terminationMessagePath": {}, "f:terminationMessagePolicy": {},
                            }},
                            "f:dnsPolicy": {}, "f:restartPolicy": {}, "f:schedulerName": {},
                            "f:securityContext": {}, "f:terminationGracePeriodSeconds": {},
                        },
                    },
                },
            },
        })
    );
}

#[test]
fn who_changes_a_field_owns_it() {
    let live = created();
    let mut new = live.clone();
    new["spec"]["replicas"] = json!(3);
    track_update(
        table(),
        DEPLOYMENT,
        Some(&live),
        &mut new,
        "scaler",
        "scale",
        at(5),
    );
    let scaler = entry(&new, "scaler").unwrap();
    assert_eq!(scaler["fieldsV1"], json!({"f:spec": {"f:replicas": {}}}));
    assert_eq!(scaler["subresource"], "scale");
    let creator = &entry(&new, "kubectl-create").unwrap()["fieldsV1"]["f:spec"];
    assert!(creator.get("f:replicas").is_none());
    assert!(creator.get("f:selector").is_some());
}

#[test]
fn a_write_that_changes_nothing_leaves_the_record_as_it_is() {
    let live = created();
    let mut new = live.clone();
    new["metadata"]
        .as_object_mut()
        .unwrap()
        .remove("managedFields");
    new["metadata"]["resourceVersion"] = json!("9");
    track_update(
        table(),
        DEPLOYMENT,
        Some(&live),
        &mut new,
        "other",
        "",
        at(5),
    );
    assert_eq!(
        new["metadata"]["managedFields"],
        live["metadata"]["managedFields"]
    );
}

#[test]
fn status_and_spec_each_by_their_own_way() {
    let live = created();
    let mut new = live.clone();
    new["status"] = json!({"replicas": 1, "conditions": [{"type": "Available", "status": "True"}]});
    track_update(
        table(),
        DEPLOYMENT,
        Some(&live),
        &mut new,
        "kcm",
        "status",
        at(5),
    );
    assert_eq!(
        entry(&new, "kcm").unwrap()["fieldsV1"],
        json!({"f:status": {
            "f:conditions": {".": {}, "k:{\"type\":\"Available\"}": {".": {}, "f:status": {}, "f:type": {}}},
            "f:replicas": {},
        }})
    );
    let mut again = live.clone();
    again["status"] = json!({"replicas": 7});
    track_update(table(), DEPLOYMENT, Some(&live), &mut again, "x", "", at(5));
    assert!(entry(&again, "x").is_none());
}

#[test]
fn what_is_removed_is_owned_by_nobody() {
    let live = created();
    let mut new = live.clone();
    new["metadata"].as_object_mut().unwrap().remove("labels");
    track_update(table(), DEPLOYMENT, Some(&live), &mut new, "x", "", at(5));
    assert!(
        entry(&new, "kubectl-create").unwrap()["fieldsV1"]
            .get("f:metadata")
            .is_none()
    );
    assert!(entry(&new, "x").is_none());
}

#[test]
fn many_updaters_are_joined() {
    let mut live = created();
    for n in 0..15 {
        let mut new = live.clone();
        new["metadata"]["labels"][format!("l{n}")] = json!("x");
        track_update(
            table(),
            DEPLOYMENT,
            Some(&live),
            &mut new,
            &format!("m{n}"),
            "",
            at(n),
        );
        live = new;
    }
    assert_eq!(
        live["metadata"]["managedFields"].as_array().unwrap().len(),
        10
    );
    assert!(entry(&live, "ancient-changes").is_some());
}

fn apply(
    live: Option<&Value>,
    config: &Value,
    manager: &str,
    force: bool,
) -> Result<Value, ApplyError> {
    let mut object = server_side_apply(table(), DEPLOYMENT, live, config, manager, force, at(9))?;
    apply_defaults(table(), "apps", "v1", "Deployment", &mut object);
    Ok(object)
}

#[test]
fn apply_owns_what_it_states_and_removes_what_it_no_longer_states() {
    let mut config = deployment(2);
    config["metadata"]["annotations"] = json!({"a": "1", "b": "2"});
    let first = apply(None, &config, "me", false).unwrap();
    let mine = entry(&first, "me").unwrap();
    assert_eq!(mine["operation"], "Apply");
    assert_eq!(
        mine["fieldsV1"]["f:metadata"],
        json!({"f:annotations": {"f:a": {}, "f:b": {}}, "f:labels": {"f:app": {}}})
    );
    config["metadata"]["annotations"] = json!({"b": "3"});
    config["spec"].as_object_mut().unwrap().remove("replicas");
    let second = apply(Some(&first), &config, "me", false).unwrap();
    assert_eq!(second["metadata"]["annotations"], json!({"b": "3"}));
    assert_eq!(second["spec"]["replicas"], 1, "back to the default");
    let containers = &second["spec"]["template"]["spec"]["containers"];
    assert_eq!(containers[0]["imagePullPolicy"], "Always");
}

#[test]
fn conflicts_are_told_and_force_takes_over() {
    let live = created();
    let config = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"},
        "spec": {"replicas": 5},
    });
    let error = apply(Some(&live), &config, "me", false).unwrap_err();
    assert_eq!(
        error.to_string(),
        "Apply failed with 1 conflict: conflict with \"kubectl-create\" using apps/v1: .spec.replicas"
    );
    let forced = apply(Some(&live), &config, "me", true).unwrap();
    assert_eq!(forced["spec"]["replicas"], 5);
    assert!(
        entry(&forced, "kubectl-create").unwrap()["fieldsV1"]["f:spec"]
            .get("f:replicas")
            .is_none()
    );
    assert_eq!(
        entry(&forced, "me").unwrap()["fieldsV1"],
        json!({"f:spec": {"f:replicas": {}}})
    );
}

#[test]
fn the_same_value_is_owned_together() {
    let live = created();
    let config = json!({"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"replicas": 1}});
    let both = apply(Some(&live), &config, "me", false).unwrap();
    assert!(entry(&both, "me").is_some());
    assert!(
        entry(&both, "kubectl-create").unwrap()["fieldsV1"]["f:spec"]
            .get("f:replicas")
            .is_some()
    );
    // Dropping a field that another still owns does not remove it.
    let nothing = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}});
    let left = apply(Some(&both), &nothing, "me", false).unwrap();
    assert_eq!(left["spec"]["replicas"], 1);
    assert!(entry(&left, "me").is_none());
}

#[test]
fn applied_lists_merge_by_key() {
    let live = created();
    let config = json!({"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"template": {"spec": {
        "containers": [{"name": "side", "image": "s"}],
    }}}});
    let merged = apply(Some(&live), &config, "me", false).unwrap();
    let containers = merged["spec"]["template"]["spec"]["containers"]
        .as_array()
        .unwrap();
    let names: Vec<_> = containers
        .iter()
        .map(|c| c["name"].as_str().unwrap())
        .collect();
    assert_eq!(names.len(), 2);
    let nothing = json!({"apiVersion": "apps/v1", "kind": "Deployment"});
    let back = apply(Some(&merged), &nothing, "me", false).unwrap();
    assert_eq!(back["spec"], live["spec"]);
}

proptest! {
    #[test]
    fn applying_again_changes_nothing(
        replicas in 0..5i64,
        labels in prop::collection::btree_map("[a-c]", "[0-9]", 0..3),
        images in prop::collection::btree_map("[a-d]", "[x-z]", 1..4),
    ) {
        let mut config = deployment(replicas);
        config["metadata"]["labels"] = json!(labels);
        let containers: Vec<Value> =
            images.iter().map(|(n, i)| json!({"name": n, "image": i})).collect();
        config["spec"]["template"]["spec"]["containers"] = json!(containers);
        let once = apply(None, &config, "me", false).unwrap();
        let live = created();
        for start in [once, apply(Some(&live), &config, "me", true).unwrap()] {
            let again = apply(Some(&start), &config, "me", false).unwrap();
            prop_assert_eq!(again, start);
        }
    }

    #[test]
    fn fields_v1_round_trips(paths in prop::collection::vec(prop::collection::vec("f:[a-c]", 1..4), 0..6)) {
        let mut set = FieldSet::default();
        for path in paths {
            let mut node = &mut set;
            for element in path {
                node = node.children.entry(element).or_default();
            }
            node.owned = true;
        }
        prop_assert_eq!(FieldSet::from_fields_v1(&set.to_fields_v1()), set);
    }
}
