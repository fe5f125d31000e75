//! The text of server-sent events.

use crate::store::StoredEvent;

/// How long a reader waits before it connects again, in milliseconds.
const RETRY: u32 = 1000;

/// The beginning of a stream: how soon to come back, and a comment.
pub(super) fn opening(text: &str) -> String {
    format!("retry: {RETRY}\n{}", comment(text))
}

/// A comment; readers skip it.
pub(super) fn comment(text: &str) -> String {
    format!(": {}\n\n", one_line(text))
}

/// An event of the store.
pub(super) fn event(stored: &StoredEvent) -> String {
    format!(
        "id: {}\nevent: {}\ndata: {}\n\n",
        one_line(&stored.position),
        one_line(&stored.event.kind),
        // serde_json escapes line ends in strings.
        stored.event.body
    )
}

/// An event of the stream itself, without an id: it is no place to resume from.
pub(super) fn notice(kind: &str, data: &serde_json::Value) -> String {
    format!("event: {kind}\ndata: {data}\n\n")
}

/// A line end would end the field.
fn one_line(text: &str) -> String {
    text.replace(['\r', '\n', '\0'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::NewEvent;
    use serde_json::json;

    #[test]
    fn every_field_is_one_line() {
        let stored = StoredEvent {
            position: "5-1".into(),
            event: NewEvent {
                id: "e".into(),
                kind: "a\nb".into(),
                body: json!({"text": "two\nlines"}),
            },
        };
        assert_eq!(
            event(&stored),
            "id: 5-1\nevent: a b\ndata: {\"text\":\"two\\nlines\"}\n\n"
        );
        assert_eq!(comment("x\r\ny"), ": x  y\n\n");
    }
}
