//! Objects of a list of which some cannot be understood.
//!
//! A list decodes as a whole, so one bad object would hide all others for ever. A list that failed so is
//! read again with [`Lenient`] items, which keep the problem instead of failing. It costs a second pass
//! over each object, therefore only then. (A watch decodes each object by itself.)

use std::borrow::Cow;
use std::fmt::Debug;

use ::kube::Resource;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// What a watcher may yield: an object, or where and why it is none.
pub(super) trait Item: Resource + Clone + Debug + DeserializeOwned + Send + 'static {
    /// The object.
    type Object;

    /// The object, or the problem.
    fn open(self) -> Result<Self::Object, String>;
}

/// An object that decodes, always.
#[derive(Debug, Clone)]
pub(super) struct Strict<K>(K);

/// An object, or its metadata and why it does not decode.
#[derive(Debug, Clone)]
pub(super) struct Lenient<K> {
    meta: ObjectMeta,
    object: Result<Box<K>, String>,
}

impl<'de, K: Deserialize<'de>> Deserialize<'de> for Strict<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        K::deserialize(deserializer).map(Self)
    }
}

impl<'de, K: DeserializeOwned> Deserialize<'de> for Lenient<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut value = Value::deserialize(deserializer)?;
        let meta = meta_of(&value["metadata"]);
        if let Some(map) = value.as_object_mut() {
            // Items of a list carry no type; those of a watch do.
            map.remove("apiVersion");
            map.remove("kind");
        }
        let object = serde_json::from_value(value)
            .map(Box::new)
            .map_err(|e| e.to_string());
        Ok(Self { meta, object })
    }
}

/// The metadata, or of a bad one what identifies the object.
fn meta_of(value: &Value) -> ObjectMeta {
    ObjectMeta::deserialize(value).unwrap_or_else(|_| {
        let text = |name: &str| value[name].as_str().map(str::to_owned);
        ObjectMeta {
            namespace: text("namespace"),
            name: text("name"),
            uid: text("uid"),
            resource_version: text("resourceVersion"),
            ..ObjectMeta::default()
        }
    })
}

macro_rules! resource_of_inner {
    ($wrapper:ident, |$this:ident| $meta:expr, |$this_mut:ident| $meta_mut:expr) => {
        impl<K: Resource<DynamicType = ()>> Resource for $wrapper<K> {
            type DynamicType = ();
            type Scope = K::Scope;

            fn kind((): &()) -> Cow<'_, str> {
                K::kind(&())
            }

            fn group((): &()) -> Cow<'_, str> {
                K::group(&())
            }

            fn version((): &()) -> Cow<'_, str> {
                K::version(&())
            }

            fn plural((): &()) -> Cow<'_, str> {
                K::plural(&())
            }

            fn meta(&self) -> &ObjectMeta {
                let $this = self;
                $meta
            }

            fn meta_mut(&mut self) -> &mut ObjectMeta {
                let $this_mut = self;
                $meta_mut
            }
        }
    };
}

resource_of_inner!(Strict, |this| this.0.meta(), |this| this.0.meta_mut());
resource_of_inner!(Lenient, |this| &this.meta, |this| &mut this.meta);

impl<K> Item for Strict<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    type Object = K;

    fn open(self) -> Result<K, String> {
        Ok(self.0)
    }
}

impl<K> Item for Lenient<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    type Object = K;

    fn open(self) -> Result<K, String> {
        self.object.map(|object| *object)
    }
}
