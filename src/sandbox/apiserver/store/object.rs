//! An immutable stored object with its JSON.

use std::sync::OnceLock;

use bytes::Bytes;
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value;

/// One version of an object, as it was at `revision`.
#[derive(Debug)]
pub(crate) struct Object {
    /// The whole object, with `apiVersion` and `kind` of the stored version.
    pub(crate) value: Value,
    pub(crate) revision: u64,
    body: OnceLock<Bytes>,
}

impl Object {
    pub(crate) fn new(value: Value, revision: u64) -> Self {
        Self {
            value,
            revision,
            body: OnceLock::new(),
        }
    }

    /// JSON without `apiVersion` and `kind`: what a list's item is, and what answers put the type's
    /// two fields in front of. Made once.
    pub(crate) fn body(&self) -> &Bytes {
        self.body.get_or_init(|| body(&self.value))
    }
}

/// JSON of an object without its `apiVersion` and `kind`.
pub(crate) fn body(value: &Value) -> Bytes {
    struct Untyped<'a>(&'a Value);
    impl Serialize for Untyped<'_> {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let Value::Object(map) = self.0 else {
                return self.0.serialize(serializer);
            };
            let mut out = serializer.serialize_map(None)?;
            for (key, value) in map
                .iter()
                .filter(|(k, _)| *k != "apiVersion" && *k != "kind")
            {
                out.serialize_entry(key, value)?;
            }
            out.end()
        }
    }
    // Serialising a Value fails only on a map with keys that are no strings, which it cannot hold.
    serde_json::to_vec(&Untyped(value)).map_or_else(|_| Bytes::from_static(b"{}"), Bytes::from)
}

/// Puts `"kind":…,"apiVersion":…` in front of a body.
pub(crate) fn with_type_meta(out: &mut Vec<u8>, type_meta: &str, body: &[u8]) {
    out.reserve(body.len() + type_meta.len() + 2);
    out.push(b'{');
    out.extend_from_slice(type_meta.as_bytes());
    let rest = body.get(1..).unwrap_or(b"}");
    if rest.first() != Some(&b'}') {
        out.push(b',');
    }
    out.extend_from_slice(rest);
}
