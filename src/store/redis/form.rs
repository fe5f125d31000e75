//! How values look in Redis, and how they are read back.

use std::collections::HashMap;

use crate::store::position::hex;
use crate::store::{ActionRecord, Claim, Intent, NewEvent, Refusal};
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

/// The fields of an intent, as the scripts answer them: base, node, hold, claim, claims, refusal.
pub(super) type IntentFields = Vec<Option<Vec<u8>>>;

/// Text as part of a key: all but letters, digits, `-`, `_`, `.` and `/` percent-encoded, so that no
/// name runs into another key, and keys are fit to be shown.
pub(super) fn escape(text: &str) -> String {
    text.bytes().fold(String::new(), |mut key, byte| {
        if byte.is_ascii_alphanumeric() || b"-_./".contains(&byte) {
            key.push(char::from(byte));
        } else {
            key.push('%');
            key.push_str(&hex(&[byte]));
        }
        key
    })
}

/// The inverse of [`escape`]; what was not escaped by us stays as it is.
pub(super) fn unescape(key: &str) -> String {
    let mut bytes = Vec::with_capacity(key.len());
    let mut rest = key.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let code = (first == b'%')
            .then(|| tail.get(..2))
            .flatten()
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match code {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            None => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The name of an idempotency key: a digest, since callers choose length and letters.
pub(super) fn idempotency_name(caller: &str, key: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(caller.len().to_le_bytes());
    hash.update(caller);
    hash.update(key);
    hex(&hash.finalize())
}

/// An action from its hash. Version and fence stand beside the record, where the scripts count them.
pub(super) fn record(json: &[u8], version: &[u8], fence: &[u8]) -> Result<ActionRecord, String> {
    let mut record: ActionRecord = parse(json)?;
    record.version = number(version, "version")?;
    record.fence = number(fence, "fence")?;
    Ok(record)
}

/// The node, refusal and claim as fields of their own, since the scripts change them.
pub(super) fn intent_args(intent: &Intent) -> serde_json::Result<Vec<Vec<u8>>> {
    let exclude: String = intent
        .exclude
        .iter()
        .map(|uid| format!("{},", escape(uid)))
        .collect();
    Ok(vec![
        escape(&intent.id).into_bytes(),
        intent.action.to_string().into_bytes(),
        serde_json::to_vec(intent)?,
        serde_json::to_vec(&intent.node)?,
        flag(intent.hold),
        format!(",{exclude}").into_bytes(),
        optional(intent.claim.as_ref())?,
        intent
            .claim
            .as_ref()
            .map(|claim| claim.uid.clone().into_bytes())
            .unwrap_or_default(),
        intent.claims.to_string().into_bytes(),
        optional(intent.refusal.as_ref())?,
    ])
}

/// An intent from the fields that a script answers.
pub(super) fn intent(fields: &IntentFields) -> Result<Intent, String> {
    let [base, node, hold, claim, claims, refusal] = fields.as_slice() else {
        return Err("is no intent".into());
    };
    let field = |value: &'_ Option<Vec<u8>>, name: &str| {
        value
            .clone()
            .ok_or_else(|| format!("lacks the field {name}"))
    };
    let base: Intent = parse(&field(base, "base")?)?;
    let claim = field(claim, "claim")?;
    let refusal = field(refusal, "refusal")?;
    Ok(Intent {
        node: parse(&field(node, "node")?)?,
        hold: field(hold, "hold")? == b"1",
        claim: if claim.is_empty() {
            None
        } else {
            Some(parse::<Claim>(&claim)?)
        },
        claims: u32::try_from(number(&field(claims, "claims")?, "claims")?).unwrap_or(u32::MAX),
        refusal: if refusal.is_empty() {
            None
        } else {
            Some(parse::<Refusal>(&refusal)?)
        },
        ..base
    })
}

/// An event from the fields of a stream's entry.
pub(super) fn event(fields: &HashMap<String, Vec<u8>>) -> Result<NewEvent, String> {
    let field = |name: &str| {
        fields
            .get(name)
            .ok_or_else(|| format!("an entry lacks the field {name}"))
    };
    let text = |name: &str| field(name).map(|value| String::from_utf8_lossy(value).into_owned());
    Ok(NewEvent {
        id: text("id")?,
        kind: text("kind")?,
        body: parse(field("body")?)?,
    })
}

pub(super) fn flag(value: bool) -> Vec<u8> {
    if value { b"1" } else { b"0" }.to_vec()
}

fn optional<T: serde::Serialize>(value: Option<&T>) -> serde_json::Result<Vec<u8>> {
    value.map_or_else(|| Ok(Vec::new()), serde_json::to_vec)
}

fn parse<T: DeserializeOwned>(json: &[u8]) -> Result<T, String> {
    serde_json::from_slice(json).map_err(|problem| format!("is not what we wrote: {problem}"))
}

fn number(text: &[u8], what: &str) -> Result<u64, String> {
    std::str::from_utf8(text)
        .ok()
        .and_then(|digits| digits.parse().ok())
        .ok_or_else(|| format!("holds no number as {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn escaping_is_reversible_and_plain(text in any::<String>()) {
            let key = escape(&text);
            prop_assert!(key.bytes().all(|b| b.is_ascii_graphic() && b != b':'));
            prop_assert_eq!(unescape(&key), text);
        }

        #[test]
        fn unescaping_takes_anything(text in any::<String>()) {
            let _ = unescape(&text);
        }
    }
}
