//! Continue tokens: where a list goes on (`k8s.io/apiserver/pkg/storage/continue.go`).

use base64::DecodeError;
use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::{Value, json};

use crate::sandbox::apiserver::error::Error;
use crate::sandbox::apiserver::json_error::syntax_error;
use crate::sandbox::apiserver::store::Key;

/// Base64 as Go's `RawURLEncoding` reads it.
const CODEC: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone)
        .with_decode_allow_trailing_bits(true),
);

const VERSION: &str = "meta.k8s.io/v1";

/// A token that goes on after `last`, at `revision`; `None`: at whatever is newest then. Keys are told
/// from the listed namespace on, as the real server does.
pub(crate) fn encode(namespace: &str, last: &Key, revision: Option<u64>) -> String {
    let start = if namespace.is_empty() && !last.namespace.is_empty() {
        format!("{}/{}\u{0}", last.namespace, last.name)
    } else {
        format!("{}\u{0}", last.name)
    };
    let rv = revision.map_or(-1, |r| i64::try_from(r).unwrap_or(i64::MAX));
    CODEC.encode(json!({"v": VERSION, "rv": rv, "start": start}).to_string())
}

/// The key after which a list of `namespace` goes on, and its revision (`None`: the newest).
///
/// # Errors
/// 400, in the real server's words.
pub(crate) fn decode(
    token: &str,
    namespace: &str,
    namespaced: bool,
) -> Result<(Key, Option<u64>), Error> {
    let invalid = |why: &str| {
        Error::bad_request(format!(
            "invalid continue token: continue key is not valid: {why}"
        ))
    };
    let bytes = CODEC.decode(token).map_err(|error| {
        let at = match error {
            DecodeError::InvalidByte(at, _) => at,
            DecodeError::InvalidLastSymbol { offset, .. } => offset,
            DecodeError::InvalidLength(length) => length - length % 4,
            DecodeError::InvalidPadding => token.trim_end_matches('=').len(),
        };
        invalid(&format!("illegal base64 data at input byte {at}"))
    })?;
    if let Some(error) = syntax_error(&bytes) {
        return Err(invalid(&error));
    }
    let value: Value =
        serde_json::from_slice(&bytes).map_err(|error| invalid(&error.to_string()))?;
    if !value.is_object() {
        let why = format!(
            "json: cannot unmarshal {} into Go value of type storage.continueToken",
            json_kind(&value)
        );
        return Err(invalid(&why));
    }
    let wrong = |field: &str, kind: &str| {
        let why = format!(
            "json: cannot unmarshal {} into Go struct field continueToken.{field} of type {kind}",
            json_kind(&value[field])
        );
        Err(invalid(&why))
    };
    for (field, kind) in [("v", "string"), ("rv", "int64"), ("start", "string")] {
        let fits = match &value[field] {
            Value::Null => true,
            Value::String(_) => kind == "string",
            Value::Number(number) => kind == "int64" && number.is_i64(),
            _ => false,
        };
        if !fits {
            return wrong(field, kind);
        }
    }
    let version = value["v"].as_str().unwrap_or_default();
    if version != VERSION {
        let why = format!("server does not recognize this encoded version {version}");
        return Err(invalid(&why));
    }
    let revision = value["rv"].as_i64().unwrap_or(0);
    if revision == 0 {
        let why = format!("incorrect encoded start resourceVersion (version {VERSION})");
        return Err(invalid(&why));
    }
    let start = value["start"].as_str().unwrap_or_default();
    if start.is_empty() {
        return Err(invalid(&format!(
            "encoded start key empty (version {VERSION})"
        )));
    }
    let path = start.strip_prefix('/').unwrap_or(start);
    // Nothing may lead out of the collection.
    if path.split('/').any(|part| ["", ".", ".."].contains(&part)) {
        return Err(invalid(start));
    }
    let path = path.trim_end_matches('\u{0}');
    let key = match path.split_once('/') {
        Some((space, name)) if namespace.is_empty() && namespaced => Key::new(space, name),
        None if namespace.is_empty() && namespaced => Key::new(path, ""),
        _ => Key::new(namespace, path),
    };
    Ok((key, u64::try_from(revision).ok()))
}

fn json_kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_lead_back() {
        let key = Key::new("ns", "a");
        for (namespace, revision) in [("", Some(7)), ("ns", Some(7)), ("ns", None)] {
            let token = encode(namespace, &key, revision);
            assert_eq!(
                decode(&token, namespace, true).unwrap(),
                (key.clone(), revision)
            );
        }
        let node = Key::new("", "n");
        let token = encode("", &node, Some(1));
        assert_eq!(decode(&token, "", false).unwrap(), (node, Some(1)));
        for bad in ["x", "e30", "=", "W10", "bnVsbA"] {
            assert_eq!(decode(bad, "ns", true).unwrap_err().code(), 400, "{bad}");
        }
    }
}
