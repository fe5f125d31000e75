use serde_json::json;

use super::*;
use crate::sandbox::types::table;

const DEPLOYMENT: &str = "io.k8s.api.apps.v1.Deployment";

fn decoded(body: &Value) -> Result<Decoded, DecodeError> {
    decode(table(), "", "application/json", body.to_string().as_bytes())
}

fn deployment(spec: Value) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": spec})
}

#[test]
fn unknown_fields_are_told_and_dropped() {
    let body = deployment(json!({
        "replicas": 2, "typo": 1,
        "template": {"spec": {"containers": [{"name": "c", "imag": "x"}]}},
    }));
    let got = decoded(&body).unwrap();
    assert_eq!(
        got.strict_errors,
        [
            "unknown field \"spec.template.spec.containers[0].imag\"",
            "unknown field \"spec.typo\"",
        ]
    );
    let spec = json!({"replicas": 2, "template": {"spec": {"containers": [{"name": "c"}]}}});
    assert_eq!(got.object, deployment(spec));
}

#[test]
fn wrong_types_are_refused_in_gos_words() {
    let text = |spec: Value| decoded(&deployment(spec)).unwrap_err().to_string();
    assert_eq!(
        text(json!({"replicas": "three"})),
        "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32"
    );
    assert_eq!(
        text(json!({"replicas": 1.5})),
        "json: cannot unmarshal number 1.5 into Go struct field DeploymentSpec.spec.replicas of type int32"
    );
    assert_eq!(
        text(json!({"template": {"spec": {"containers": [{"name": 3}]}}})),
        "json: cannot unmarshal number into Go struct field Container.spec.template.spec.containers.name of type string"
    );
    assert_eq!(
        text(json!({"template": {"spec": {"containers": {}}}})),
        "json: cannot unmarshal object into Go struct field PodSpec.spec.template.spec.containers of type []v1.Container"
    );
    let limits =
        json!({"template": {"spec": {"containers": [{"resources": {"limits": {"cpu": "lots"}}}]}}});
    assert!(text(limits).starts_with("quantities must match the regular expression"));
}

#[test]
fn values_come_to_their_canonical_spelling() {
    let body = json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "p", "labels": {}, "annotations": null, "creationTimestamp": null},
        "spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": 0.5, "memory": "1024Mi"}}}]},
        "status": {"startTime": "2026-01-01T02:00:00.5+02:00"},
    });
    let got = decoded(&body).unwrap().object;
    assert_eq!(got["metadata"], json!({"name": "p"}));
    assert_eq!(
        got["spec"]["containers"][0]["resources"]["requests"],
        json!({"cpu": "500m", "memory": "1Gi"})
    );
    assert_eq!(got["status"]["startTime"], "2026-01-01T00:00:00Z");
}

#[test]
fn int_or_string_takes_both_and_nothing_else() {
    let of = |value: Value| {
        decoded(&deployment(
            json!({"strategy": {"rollingUpdate": {"maxSurge": value}}}),
        ))
    };
    assert!(of(json!(1)).is_ok());
    assert!(of(json!("25%")).is_ok());
    assert_eq!(
        of(json!(true)).unwrap_err().to_string(),
        "json: cannot unmarshal bool into Go struct field RollingUpdateDeployment.spec.strategy.rollingUpdate.maxSurge of type int32"
    );
}

#[test]
fn a_body_says_what_it_is_or_is_refused() {
    let error = |body: Value| decoded(&body).unwrap_err();
    assert!(matches!(
        error(json!({"apiVersion": "v1"})),
        DecodeError::MissingKind(_)
    ));
    assert!(matches!(
        error(json!({"kind": "Pod"})),
        DecodeError::MissingVersion(_)
    ));
    assert!(matches!(
        error(json!({"kind": "Pod", "apiVersion": "v9"})),
        DecodeError::UnknownKind { .. }
    ));
    assert!(
        error(json!([]))
            .to_string()
            .contains("cannot unmarshal array")
    );
    assert_eq!(
        decode(table(), DEPLOYMENT, "text/html", b"{}").unwrap_err(),
        DecodeError::UnsupportedMediaType
    );
}

#[test]
fn every_kind_of_options_is_known() {
    for (group, version, kind) in [
        ("", "v1", "DeleteOptions"),
        ("apps", "v1", "DeleteOptions"),
        ("policy", "v1", "Eviction"),
        ("autoscaling", "v1", "Scale"),
        ("", "v1", "Binding"),
        ("", "v1", "Status"),
    ] {
        assert!(
            table().schema_of_kind(group, version, kind).is_some(),
            "{group}/{version} {kind}"
        );
    }
}

#[test]
fn yaml_bodies() {
    let body = b"apiVersion: apps/v1\nkind: Deployment\nspec:\n  replicas: 3\n  nope: 1\n";
    let got = decode(table(), DEPLOYMENT, "application/apply-patch+yaml", body).unwrap();
    assert_eq!(got.object["spec"], json!({"replicas": 3}));
    assert_eq!(got.strict_errors, ["unknown field \"spec.nope\""]);
}
