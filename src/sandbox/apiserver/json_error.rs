//! JSON syntax errors in the words of Go's `encoding/json`, which clients and people know.

use serde_json::Value;

/// Why `body` is no JSON value; `None` if it is one.
pub(crate) fn syntax_error(body: &[u8]) -> Option<String> {
    let error = serde_json::from_slice::<Value>(body).err()?;
    if error.is_eof() {
        return Some("unexpected end of JSON input".to_owned());
    }
    let line = body
        .split(|b| *b == b'\n')
        .nth(error.line().saturating_sub(1))
        .unwrap_or_default();
    let at = line
        .get(error.column().saturating_sub(1))
        .copied()
        .unwrap_or(b' ');
    let text = error.to_string();
    let place = [
        (
            "key must be a string",
            "looking for beginning of object key string",
        ),
        ("expected `:`", "after object key"),
        ("expected `,` or `}`", "after object key:value pair"),
        ("expected `,` or `]`", "after array element"),
        ("trailing characters", "after top-level value"),
        ("expected ident", "in literal"),
        ("control character", "in string literal"),
        ("invalid escape", "in string escape code"),
        ("invalid number", "in numeric literal"),
        ("recursion limit", "exceeded max depth"),
    ]
    .into_iter()
    .find(|(serde, _)| text.starts_with(serde))
    .map_or("looking for beginning of value", |(_, go)| go);
    Some(format!("invalid character '{}' {place}", char::from(at)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speaks_go() {
        let text = |body: &str| syntax_error(body.as_bytes()).unwrap_or_default();
        assert_eq!(text("{}"), "");
        assert_eq!(text(""), "unexpected end of JSON input");
        assert_eq!(text("{"), "unexpected end of JSON input");
        assert_eq!(
            text("{bad"),
            "invalid character 'b' looking for beginning of object key string"
        );
        assert_eq!(
            text("x"),
            "invalid character 'x' looking for beginning of value"
        );
        assert_eq!(text("{} x"), "invalid character 'x' after top-level value");
    }
}
