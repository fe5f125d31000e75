//! What the default admission plugins give a new pod: its service account, priority and tolerations.
//!
//! Sources: `plugin/pkg/admission/{serviceaccount,priority,defaulttolerationseconds}`.

use serde_json::{Value, json};

use super::{node, priority};
use crate::sandbox::apiserver::call::Call;
use crate::sandbox::apiserver::error::Error;
use crate::sandbox::apiserver::meta;
use crate::sandbox::apiserver::store::Key;

/// How long a pod stays on a node that is not ready or unreachable, in seconds.
const DEFAULT_TOLERATION_SECONDS: i64 = 300;

/// Runs the mutating plugins in the real server's order.
pub(crate) fn admit(call: &Call, pod: &mut Value) -> Result<(), Error> {
    service_account(call, pod)?;
    tolerations(pod);
    topology(call, pod);
    priority::admit_pod(call, pod)
}

/// A pod that is created on its node carries the node's topology labels, as a bound one does.
fn topology(call: &Call, pod: &mut Value) {
    let node_name = meta::text(pod, &["spec", "nodeName"]).to_owned();
    if node_name.is_empty() {
        return;
    }
    for (key, value) in node::topology_labels(call, &node_name) {
        meta::map_mut_in(meta::metadata_mut(pod), "labels").insert(key.to_owned(), value);
    }
}

fn service_account(call: &Call, pod: &mut Value) -> Result<(), Error> {
    let mirror = pod["metadata"]["annotations"]
        .get("kubernetes.io/config.mirror")
        .is_some();
    if mirror {
        return Ok(());
    }
    let spec = meta::map_mut(pod, "spec");
    let named = |key: &str| {
        spec.get(key)
            .and_then(Value::as_str)
            .filter(|n| !n.is_empty())
            .map(str::to_owned)
    };
    let name = named("serviceAccountName")
        .or_else(|| named("serviceAccount"))
        .unwrap_or_else(|| "default".to_owned());
    spec.insert("serviceAccountName".to_owned(), json!(name));
    // The old name of the field is kept in step, as the Go types' conversion does.
    spec.insert("serviceAccount".to_owned(), json!(name));
    let Some(accounts) = call.server.registry.core("", "serviceaccounts") else {
        return Ok(());
    };
    let namespace = &call.path.namespace;
    let Some(account) = call
        .server
        .store
        .get(accounts.collection, &Key::new(namespace, &name))
    else {
        let why = format!(
            "error looking up service account {namespace}/{name}: serviceaccount {name:?} not found"
        );
        return Err(Error::forbidden(
            call.resource.group_resource(),
            meta::name(pod),
            &why,
        ));
    };
    let automount = |object: &Value, path: &[&str]| meta::at(object, path).and_then(Value::as_bool);
    let wanted = automount(pod, &["spec", "automountServiceAccountToken"])
        .or_else(|| automount(&account.value, &["automountServiceAccountToken"]));
    if wanted != Some(false) {
        mount_token(call, pod);
    }
    Ok(())
}

/// Gives every container that mounts nothing there the account's token, through one projected volume.
fn mount_token(call: &Call, pod: &mut Value) {
    const MOUNT_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
    let volume = call.server.generate_name("kube-api-access-");
    let mut mounted = false;
    let spec = meta::map_mut(pod, "spec");
    for list in ["initContainers", "containers"] {
        let Some(Value::Array(containers)) = spec.get_mut(list) else {
            continue;
        };
        for container in containers.iter_mut().filter_map(Value::as_object_mut) {
            let mounts = container.entry("volumeMounts").or_insert_with(|| json!([]));
            let Value::Array(mounts) = mounts else {
                continue;
            };
            if !mounts.iter().any(|m| m["mountPath"] == MOUNT_PATH) {
                mounts.push(json!({"name": volume, "readOnly": true, "mountPath": MOUNT_PATH}));
                mounted = true;
            }
        }
    }
    if !mounted {
        return;
    }
    let volumes = spec.entry("volumes").or_insert_with(|| json!([]));
    if let Value::Array(volumes) = volumes {
        volumes.push(
            json!({"name": volume, "projected": {"defaultMode": 420, "sources": [
                {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
                {"configMap": {"name": "kube-root-ca.crt",
                    "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
                {"downwardAPI": {"items": [{"path": "namespace",
                    "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}]}},
            ]}}),
        );
    }
}

/// Runs when a pod changes, too.
pub(crate) fn tolerations(pod: &mut Value) {
    let spec = meta::map_mut(pod, "spec");
    let list = spec.entry("tolerations").or_insert_with(|| json!([]));
    let Value::Array(list) = list else { return };
    for key in [
        "node.kubernetes.io/not-ready",
        "node.kubernetes.io/unreachable",
    ] {
        let tolerated = list.iter().any(|t| {
            let (k, effect) = (meta::text(t, &["key"]), meta::text(t, &["effect"]));
            (k == key || k.is_empty()) && (effect == "NoExecute" || effect.is_empty())
        });
        if !tolerated {
            list.push(json!({
                "key": key, "operator": "Exists", "effect": "NoExecute",
                "tolerationSeconds": DEFAULT_TOLERATION_SECONDS,
            }));
        }
    }
}
