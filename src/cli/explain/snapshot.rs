//! A cluster, or a pod, in files.

use std::io::Read;
use std::path::Path;

use anyhow::{Context, bail};
use serde_json::Value;

use crate::cluster::{Cache, PodInfo};
use crate::scheduler::explain::take_in_objects;

/// The documents of a file, YAML or JSON.
fn documents(path: &Path) -> anyhow::Result<Vec<Value>> {
    let name = path.display();
    let mut text = String::new();
    if path.as_os_str() == "-" {
        std::io::stdin().read_to_string(&mut text)?;
    } else {
        text = std::fs::read_to_string(path).with_context(|| format!("{name} cannot be read"))?;
    }
    if let Ok(one) = serde_json::from_str::<Value>(&text) {
        return Ok(vec![one]);
    }
    let mut found = Vec::new();
    for document in text.split("\n---") {
        let document = document.strip_prefix("---").unwrap_or(document);
        if document
            .lines()
            .all(|l| l.trim().is_empty() || l.trim_start().starts_with('#'))
        {
            continue;
        }
        let read = serde_saphyr::from_str::<Value>(document);
        found.push(read.with_context(|| format!("{name} makes no sense"))?);
    }
    Ok(found)
}

/// Puts the objects of a file into a cluster.
pub(super) fn take_in(cache: &Cache, path: &Path) -> anyhow::Result<()> {
    take_in_objects(cache, documents(path)?)?;
    Ok(())
}

/// The pod of a file: a Pod, or what has a pod template.
pub(super) fn pod(path: &Path, namespace: &str) -> anyhow::Result<PodInfo> {
    for mut document in documents(path)? {
        if document["kind"] != "Pod" {
            let template = document["spec"]["template"].take();
            if template.is_null() {
                continue;
            }
            let (of, name) = (&document["metadata"], &document["metadata"]["name"]);
            let mut made = template;
            made["metadata"]["name"] = name.clone();
            if !of["namespace"].is_null() {
                made["metadata"]["namespace"] = of["namespace"].clone();
            }
            document = made;
        }
        if document["metadata"]["namespace"].is_null() {
            document["metadata"]["namespace"] = namespace.into();
        }
        if document["metadata"]["uid"].is_null() {
            document["metadata"]["uid"] = "explained".into();
        }
        let pod = serde_json::from_value(document).context("the pod makes no sense")?;
        return Ok(PodInfo::from_api(&pod)?);
    }
    bail!("{} has neither a Pod nor a pod template", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_lists_and_templates() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let list = at(
            "list.yaml",
            "# of kubectl\n---\nkind: List\nitems:\n- kind: Node\n  metadata: {name: a}\n- kind: Secret\n  \
             metadata: {name: s}\n---\nkind: Node\nmetadata: {name: b}\n",
        );
        let cache = Cache::new();
        take_in(&cache, &list).unwrap();
        assert_eq!(cache.snapshot().nodes.len(), 2);
        let deployment = at(
            "web.yaml",
            "kind: Deployment\nmetadata: {name: web, namespace: shop}\nspec:\n  template:\n    \
             metadata: {labels: {app: web}}\n    spec: {containers: [{name: c}]}\n",
        );
        let pod = pod(&deployment, "default").unwrap();
        assert_eq!(pod.pod.key.to_string(), "shop/web");
        assert_eq!(pod.pod.labels["app"], "web");
        let nothing = at("none.yaml", "kind: Secret\nmetadata: {name: s}\n");
        assert!(super::pod(&nothing, "default").is_err());
    }
}
