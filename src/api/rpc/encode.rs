//! Answers as Go's `json.Encoder` writes them: compact, `<`, `>`, `&`, U+2028 and U+2029 escaped, one
//! line feed at the end, members in the order `result`, `error`, `id`.

use serde_json::Value;

/// The answer of a method that did its work; `result` is its JSON.
pub(super) fn success(result: &[u8], id: &[u8]) -> Vec<u8> {
    envelope(result, b"null", id)
}

/// The answer of a method that refused.
pub(super) fn failure(error: &str, id: &[u8]) -> Vec<u8> {
    let error = Value::from(error).to_string();
    envelope(b"null", error.as_bytes(), id)
}

fn envelope(result: &[u8], error: &[u8], id: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(result.len() + error.len() + id.len() + 40);
    out.extend_from_slice(b"{\"result\":");
    compact(result, &mut out);
    out.extend_from_slice(b",\"error\":");
    compact(error, &mut out);
    out.extend_from_slice(b",\"id\":");
    compact(id, &mut out);
    out.extend_from_slice(b"}\n");
    out
}

/// Appends a valid JSON text without its white space and with HTML's characters escaped. Bytes that
/// are no UTF-8 pass, as in Go's `compact`.
fn compact(json: &[u8], out: &mut Vec<u8>) {
    let mut in_string = false;
    let mut escaped = false;
    let mut rest = json;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'<' => out.extend_from_slice(b"\\u003c"),
            b'>' => out.extend_from_slice(b"\\u003e"),
            b'&' => out.extend_from_slice(b"\\u0026"),
            0xe2 if matches!(after, [0x80, 0xa8 | 0xa9, ..]) => {
                out.extend_from_slice(if after[1] == 0xa8 {
                    b"\\u2028"
                } else {
                    b"\\u2029"
                });
                rest = &after[2..];
            }
            _ if !in_string && super::scan::is_space(byte) => {}
            _ => out.push(byte),
        }
        match byte {
            b'"' if !escaped => in_string = !in_string,
            _ => {}
        }
        escaped = in_string && byte == b'\\' && !escaped;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: Vec<u8>) -> String {
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn members_keep_their_order_and_html_is_escaped() {
        assert_eq!(
            text(success(
                b"{\"message\": \"ok\"}",
                b"{ \"a b\" : [ 1 , 2.0 ] }"
            )),
            "{\"result\":{\"message\":\"ok\"},\"error\":null,\"id\":{\"a b\":[1,2.0]}}\n"
        );
        assert_eq!(
            text(failure(
                "bad & <node> \"x\"\u{2028}\u{7f}\u{1}",
                b"\"<\\\" >\""
            )),
            "{\"result\":null,\"error\":\"bad \\u0026 \\u003cnode\\u003e \\\"x\\\"\\u2028\u{7f}\\u0001\",\
             \"id\":\"\\u003c\\\" \\u003e\"}\n"
        );
        assert_eq!(
            text(failure("", b"\"\\\\\" ")),
            "{\"result\":null,\"error\":\"\",\"id\":\"\\\\\"}\n"
        );
    }
}
