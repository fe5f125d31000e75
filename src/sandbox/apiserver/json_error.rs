//! JSON syntax errors in the words of Go's `encoding/json`, which clients and people know.

use serde_json::Value;

use crate::sandbox::types::json_syntax_error;

/// Why `body` is no JSON value; `None` if it is one.
pub(crate) fn syntax_error(body: &[u8]) -> Option<String> {
    // What is grammatical and yet refused (depth, invalid UTF-8) is told by our own parser.
    let error = serde_json::from_slice::<Value>(body).err()?;
    Some(json_syntax_error(body).unwrap_or_else(|| {
        if error.to_string().starts_with("recursion") {
            "exceeded max depth".to_owned()
        } else {
            error.to_string()
        }
    }))
}
