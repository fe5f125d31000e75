//! Where an informer's objects come from.

use ::kube::Api;
use ::kube::api::{ListParams, WatchEvent, WatchParams};
use ::kube::core::{DynamicObject, PartialObjectMeta};
use futures::StreamExt;
use futures::stream::BoxStream;

use super::Object;

/// Where the objects come from: the list and the watch of one resource.
#[async_trait::async_trait]
pub trait Source: Send + Sync + 'static {
    /// What it lists.
    type Object: Object;
    /// All objects and the resource version of that list.
    async fn list(&self) -> ::kube::Result<(Vec<Self::Object>, String)>;
    /// The changes after `version`.
    async fn watch(
        &self,
        version: &str,
    ) -> ::kube::Result<BoxStream<'static, ::kube::Result<WatchEvent<Self::Object>>>>;
}

/// Whole objects of one API.
#[derive(Clone, Debug)]
pub struct Whole<K> {
    api: Api<K>,
    labels: Option<String>,
}

impl<K> Whole<K> {
    /// Every object of `api`.
    pub fn new(api: Api<K>) -> Self {
        Self { api, labels: None }
    }
}

#[async_trait::async_trait]
impl<K: Object> Source for Whole<K> {
    type Object = K;

    async fn list(&self) -> ::kube::Result<(Vec<K>, String)> {
        let params = ListParams {
            label_selector: self.labels.clone(),
            ..ListParams::default()
        };
        let list = self.api.list(&params).await?;
        Ok((
            list.items,
            list.metadata.resource_version.unwrap_or_default(),
        ))
    }

    async fn watch(
        &self,
        version: &str,
    ) -> ::kube::Result<BoxStream<'static, ::kube::Result<WatchEvent<K>>>> {
        let params = WatchParams {
            label_selector: self.labels.clone(),
            ..WatchParams::default()
        };
        Ok(self.api.watch(&params, version).await?.boxed())
    }
}

/// The metadata alone of every object of one API, whatever its kind.
#[derive(Clone, Debug)]
pub struct MetadataOnly(pub Api<DynamicObject>);

#[async_trait::async_trait]
impl Source for MetadataOnly {
    type Object = PartialObjectMeta<DynamicObject>;

    async fn list(&self) -> ::kube::Result<(Vec<Self::Object>, String)> {
        let list = self.0.list_metadata(&ListParams::default()).await?;
        Ok((
            list.items,
            list.metadata.resource_version.unwrap_or_default(),
        ))
    }

    async fn watch(
        &self,
        version: &str,
    ) -> ::kube::Result<BoxStream<'static, ::kube::Result<WatchEvent<Self::Object>>>> {
        Ok(self
            .0
            .watch_metadata(&WatchParams::default(), version)
            .await?
            .boxed())
    }
}
