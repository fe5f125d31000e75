//! Which resources the API server has, for the controllers that care for all of them: the garbage
//! collector and the namespace controller.

use std::sync::Mutex;

use ::kube::Client;
use ::kube::api::ApiResource;

use super::Error;

/// A resource that can be listed and deleted.
#[derive(Clone, Debug)]
pub struct Known {
    /// Its names.
    pub resource: ApiResource,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
    /// Whether it can be watched too.
    pub watchable: bool,
}

/// The API server's preferred resources, asked for once they are needed.
#[derive(Debug, Default)]
pub struct Resources(Mutex<Option<Vec<Known>>>);

impl Resources {
    /// All resources that can be listed and deleted, each in its group's preferred version.
    ///
    /// # Errors
    /// If discovery fails.
    pub async fn all(&self, client: &Client) -> Result<Vec<Known>, Error> {
        if let Some(known) = self.lock().clone() {
            return Ok(known);
        }
        let known = discover(client).await?;
        *self.lock() = Some(known.clone());
        Ok(known)
    }

    /// The resource of this kind in this group, whatever the version.
    ///
    /// # Errors
    /// If discovery fails.
    pub async fn of_kind(
        &self,
        client: &Client,
        api_version: &str,
        kind: &str,
    ) -> Result<Option<Known>, Error> {
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        let is_it = |known: &Known| known.resource.group == group && known.resource.kind == kind;
        Ok(self.all(client).await?.into_iter().find(is_it))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Vec<Known>>> {
        self.0
            .lock()
            .expect("no code panics while it holds this lock")
    }
}

async fn discover(client: &Client) -> Result<Vec<Known>, Error> {
    let mut versions = Vec::new();
    if client
        .list_core_api_versions()
        .await?
        .versions
        .iter()
        .any(|version| version == "v1")
    {
        versions.push((String::new(), "v1".to_owned()));
    }
    for group in client.list_api_groups().await?.groups {
        let preferred = group
            .preferred_version
            .or_else(|| group.versions.into_iter().next());
        if let Some(preferred) = preferred {
            versions.push((group.name, preferred.version));
        }
    }
    let mut known = Vec::new();
    for (group, version) in versions {
        let list = if group.is_empty() {
            client.list_core_api_resources(&version).await
        } else {
            client
                .list_api_group_resources(&format!("{group}/{version}"))
                .await
        };
        // An aggregated API that is away must not stop the collection of all others.
        let Ok(list) = list else { continue };
        for resource in list.resources {
            let can = |verb: &str| resource.verbs.iter().any(|known| known == verb);
            if resource.name.contains('/') || !can("list") || !can("delete") {
                continue;
            }
            let watchable = can("watch");
            let api_version = if group.is_empty() {
                version.clone()
            } else {
                format!("{group}/{version}")
            };
            known.push(Known {
                resource: ApiResource {
                    group: group.clone(),
                    version: version.clone(),
                    api_version,
                    kind: resource.kind,
                    plural: resource.name,
                },
                namespaced: resource.namespaced,
                watchable,
            });
        }
    }
    Ok(known)
}
