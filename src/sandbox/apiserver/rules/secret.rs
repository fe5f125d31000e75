//! Secrets: `stringData` is a way to write `data` (`pkg/apis/core/v1/conversion.go`).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::sandbox::apiserver::meta;

/// Moves `stringData` into `data`; it is never stored.
pub(crate) fn prepare(object: &mut Value) {
    let Value::Object(map) = object else { return };
    let Some(Value::Object(texts)) = map.remove("stringData") else {
        return;
    };
    let data = meta::map_mut(object, "data");
    for (key, text) in texts {
        data.insert(
            key,
            json!(STANDARD.encode(text.as_str().unwrap_or_default())),
        );
    }
}
