//! Applying manifests, as `kubectl apply --server-side -f` does.

use std::path::Path;

use ::kube::api::{Patch, PatchParams};
use ::kube::core::DynamicObject;
use ::kube::discovery::{Discovery, Scope};
use ::kube::{Api, Client};
use anyhow::{Context, bail};
use serde_json::Value;

/// Applies all documents of a YAML text; answers `kind/name` of each.
///
/// # Errors
/// The first document that cannot be read or that the API server refuses, by its number.
pub async fn apply(client: &Client, text: &str) -> anyhow::Result<Vec<String>> {
    let documents: Vec<Value> =
        serde_saphyr::from_multiple(text).map_err(|error| anyhow::anyhow!("{error}"))?;
    let discovery = Discovery::new(client.clone()).run_aggregated().await?;
    let mut applied = Vec::new();
    for (number, document) in documents.into_iter().enumerate() {
        if document.is_null() {
            continue;
        }
        let place = format!("document {}", number + 1);
        let object: DynamicObject = serde_json::from_value(document)
            .with_context(|| format!("{place} is no Kubernetes object"))?;
        let Some(name) = object.metadata.name.clone() else {
            bail!("{place} has no metadata.name");
        };
        let Some((resource, capabilities)) = discovery.resolve_object(&object) else {
            bail!("{place}: no such kind: {:?}", object.types);
        };
        let api: Api<DynamicObject> = match capabilities.scope {
            Scope::Cluster => Api::all_with(client.clone(), &resource),
            Scope::Namespaced => {
                let namespace = object.metadata.namespace.as_deref().unwrap_or("default");
                Api::namespaced_with(client.clone(), namespace, &resource)
            }
        };
        api.patch(
            &name,
            &PatchParams::apply("wam-sandbox").force(),
            &Patch::Apply(&object),
        )
        .await
        .with_context(|| format!("{place}: {} {name}", resource.kind))?;
        applied.push(format!("{}/{name}", resource.kind.to_lowercase()));
    }
    Ok(applied)
}

/// The same for a file.
///
/// # Errors
/// As [`apply`], or when the file cannot be read.
pub async fn apply_file(client: &Client, path: &Path) -> anyhow::Result<Vec<String>> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    apply(client, &text)
        .await
        .with_context(|| format!("{}", path.display()))
}
