//! Takes the descriptions of all schemas and fields from a real API server's OpenAPI documents.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;

use serde_json::Value;

use crate::support::kubectl::Kubectl;

/// Writes `src/sandbox/types/descriptions.json.gz`.
///
/// # Panics
/// If the server does not answer.
pub async fn write(kubectl: &Kubectl) {
    let index = get(kubectl, "/openapi/v3").await;
    let mut all: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for path in index["paths"].as_object().expect("an index").keys() {
        let document = get(kubectl, &format!("/openapi/v3/{path}")).await;
        let schemas = document["components"]["schemas"].as_object();
        for (name, schema) in schemas.into_iter().flatten() {
            let texts = all.entry(name.clone()).or_default();
            let mut put = |field: &str, of: &Value| {
                if let Some(text) = of["description"].as_str() {
                    texts.insert(field.to_owned(), text.to_owned());
                }
            };
            put("", schema);
            for (field, property) in schema["properties"].as_object().into_iter().flatten() {
                put(field, property);
            }
        }
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/sandbox/types/descriptions.json.gz");
    let file = std::fs::File::create(&path).expect("the file can be written");
    let mut file = flate2::write::GzEncoder::new(file, flate2::Compression::best());
    let text = serde_json::to_string(&all).expect("texts are JSON");
    file.write_all(text.as_bytes()).expect("written");
    file.finish().expect("written");
    println!("wrote {} schemas to {}", all.len(), path.display());
}

async fn get(kubectl: &Kubectl, path: &str) -> Value {
    let text = kubectl.ok(&["get", "--raw", path]).await;
    serde_json::from_str(&text).expect("JSON")
}
