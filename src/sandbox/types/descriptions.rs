//! What Kubernetes' documentation says of each schema and field: for `kubectl explain` alone, so it is kept
//! apart from the facts and read only when somebody asks.
//!
//! `descriptions.json.gz` is taken from a real API server's OpenAPI documents by the kubectl session
//! (`WAM_WRITE_DESCRIPTIONS=1`), which also holds the two equal.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::sync::OnceLock;

use serde_json::{Map, Value};

static FILE: &[u8] = include_bytes!("descriptions.json.gz");

/// For each schema its fields' descriptions; its own under the empty name.
pub type Descriptions = BTreeMap<String, BTreeMap<String, String>>;

/// All descriptions, unpacked on first use.
///
/// # Panics
/// Never: the embedded file is a build input and a test loads it.
#[must_use]
pub fn descriptions() -> &'static Descriptions {
    static ALL: OnceLock<Descriptions> = OnceLock::new();
    ALL.get_or_init(|| {
        let mut text = Vec::new();
        flate2::read::GzDecoder::new(FILE)
            .read_to_end(&mut text)
            .expect("the embedded file is gzip");
        serde_json::from_slice(&text).expect("the embedded file holds descriptions")
    })
}

/// Puts the descriptions into an OpenAPI schema object.
pub(super) fn describe(name: &str, schema: &mut Value) {
    let (Some(texts), Value::Object(members)) = (descriptions().get(name), schema) else {
        return;
    };
    if let Some(own) = texts.get("") {
        members.insert("description".to_owned(), Value::from(own.as_str()));
    }
    let Some(Value::Object(properties)) = members.get_mut("properties") else {
        return;
    };
    for (field, property) in properties.iter_mut() {
        if let (Some(text), Value::Object(property)) = (texts.get(field), property) {
            put(property, text);
        }
    }
}

fn put(property: &mut Map<String, Value>, text: &str) {
    property.insert("description".to_owned(), Value::from(text));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn schemas_and_fields_are_described() {
        let mut schema = json!({"properties": {"data": {"type": "object"}, "nope": {}}});
        describe("io.k8s.api.core.v1.ConfigMap", &mut schema);
        assert_eq!(
            schema["description"],
            "ConfigMap holds configuration data for pods to consume."
        );
        assert!(schema["properties"]["data"]["description"].is_string());
        assert_eq!(schema["properties"]["nope"], json!({}));
    }
}
