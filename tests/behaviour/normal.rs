//! Takes out of an answer what differs from run to run: ids, times, versions, generated names.
//!
//! Equal things stay recognisably equal: the first UID of a case is `{uid-1}` wherever it appears.

use serde_json::Value;

/// What a case has seen, so that it can be named the same way again.
#[derive(Debug, Default)]
pub(crate) struct Names {
    uids: Vec<String>,
    /// Texts and what stands for them, in the order in which they are replaced.
    masks: Vec<(String, String)>,
    /// Whether `metadata.managedFields` are part of the case.
    pub(crate) managed_fields: bool,
    /// Fields (by name, anywhere) that are none of the case's business.
    pub(crate) ignored: Vec<&'static str>,
}

impl Names {
    /// From now on `text` is shown as `name`.
    pub(crate) fn mask(&mut self, text: &str, name: &str) {
        assert!(!text.is_empty(), "nothing to mask for {name}");
        self.masks.push((text.to_owned(), name.to_owned()));
    }

    /// The value as it is in every run.
    pub(crate) fn normal(&mut self, value: &Value) -> Value {
        match value {
            Value::Object(map) => {
                let mut out = serde_json::Map::new();
                for (key, value) in map {
                    let skip = self.ignored.contains(&key.as_str())
                        || (key == "managedFields" && !self.managed_fields);
                    if skip {
                        continue;
                    }
                    let value = match (key.as_str(), value) {
                        ("resourceVersion", Value::String(text)) if is_number(text) => {
                            Value::from("{rv}")
                        }
                        // They are ordered by a time of whole seconds.
                        ("managedFields", Value::Array(entries)) => {
                            let mut entries = entries.clone();
                            entries.sort_by_cached_key(|entry| {
                                ["manager", "operation", "subresource"]
                                    .map(|field| entry[field].as_str().unwrap_or("").to_owned())
                            });
                            self.normal(&Value::Array(entries))
                        }
                        ("continue", Value::String(text)) if !text.is_empty() => {
                            Value::from("{token}")
                        }
                        _ => self.normal(value),
                    };
                    out.insert(self.text(key), value);
                }
                Value::Object(out)
            }
            Value::Array(items) => items.iter().map(|item| self.normal(item)).collect(),
            Value::String(text) => Value::String(self.text(text)),
            other => other.clone(),
        }
    }

    /// The text as it is in every run.
    pub(crate) fn text(&mut self, text: &str) -> String {
        let mut text = text.to_owned();
        for (found, name) in &self.masks {
            text = text.replace(found.as_str(), name);
        }
        let text = self.uids(&whole_objects(&text));
        let text = replace(&text, time_at, "{time}");
        let text = replace(&text, token_volume_at, "kube-api-access-{x}");
        long_runs(&numbers_after(&text))
    }

    fn uids(&mut self, text: &str) -> String {
        let mut out = String::new();
        let mut rest = text;
        while let Some(at) = (0..rest.len()).find(|at| uuid_at(rest.as_bytes(), *at).is_some()) {
            let (before, found) = rest.split_at(at);
            let (uid, after) = found.split_at(36);
            let number = match self.uids.iter().position(|known| known == uid) {
                Some(at) => at + 1,
                None => {
                    self.uids.push(uid.to_owned());
                    self.uids.len()
                }
            };
            out.push_str(before);
            out.push_str(&format!("{{uid-{number}}}"));
            rest = after;
        }
        out + rest
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// Replaces each place where `find` tells a length by `name`.
fn replace(text: &str, find: fn(&[u8], usize) -> Option<usize>, name: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        match find(bytes, at) {
            Some(length) => {
                out.extend_from_slice(name.as_bytes());
                at += length;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8(out).expect("whole ASCII words were replaced")
}

/// Whether the bytes follow a picture of them: `d` a digit, `x` a hexadecimal one, else themselves.
fn looks(bytes: &[u8], at: usize, picture: &str) -> bool {
    bytes.get(at..at + picture.len()).is_some_and(|found| {
        found.iter().zip(picture.bytes()).all(|(b, p)| match p {
            b'd' => b.is_ascii_digit(),
            b'x' => b.is_ascii_hexdigit(),
            p => *b == p,
        })
    })
}

fn uuid_at(bytes: &[u8], at: usize) -> Option<usize> {
    looks(bytes, at, "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx").then_some(36)
}

fn time_at(bytes: &[u8], at: usize) -> Option<usize> {
    if looks(bytes, at, "dddd-dd-ddTdd:dd:ddZ") {
        return Some(20);
    }
    looks(bytes, at, "dddd-dd-ddTdd:dd:dd.ddddddZ").then_some(27)
}

fn token_volume_at(bytes: &[u8], at: usize) -> Option<usize> {
    const PREFIX: &[u8] = b"kube-api-access-";
    let rest = bytes.get(at..)?.strip_prefix(PREFIX)?;
    let letters = rest
        .iter()
        .take_while(|b| b.is_ascii_alphanumeric())
        .count();
    (letters == 5).then_some(PREFIX.len() + letters)
}

/// A patched document that is none of its kind is shown whole; the order of its fields is Go's.
fn whole_objects(text: &str) -> String {
    const START: &str = "Invalid value: \"{\\\"";
    const END: &str = "}\": ";
    let mut text = text.to_owned();
    let mut from = 0;
    while let Some(start) = text[from..].find(START).map(|at| from + at) {
        let Some(length) = text[start..].find(END) else {
            return text;
        };
        const NAME: &str = "Invalid value: {object}: ";
        text.replace_range(start..start + length + END.len(), NAME);
        from = start + NAME.len();
    }
    text
}

/// Forty and more equal letters are told by their number.
fn long_runs(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let end = rest.find(|c| c != first).unwrap_or(rest.len());
        let count = end / first.len_utf8();
        if count >= 40 {
            out.push_str(&format!("{{{first}*{count}}}"));
        } else {
            out.push_str(&rest[..end]);
        }
        rest = &rest[end..];
    }
    out
}

/// Revisions inside of messages.
fn numbers_after(text: &str) -> String {
    const PLACES: [&str; 7] = [
        "current: ",
        "ResourceVersion in precondition (",
        "ResourceVersion in record (",
        "too old resource version: ",
        "ResourceVersion: ",
        "{old} (",
        "ResourceVersion in object meta: ",
    ];
    let mut text = text.to_owned();
    for place in PLACES {
        let mut from = 0;
        while let Some(found) = text[from..].find(place) {
            let start = from + found + place.len();
            let digits = text[start..].bytes().take_while(u8::is_ascii_digit).count();
            let name = match place {
                _ if digits == 0 => "",
                "too old resource version: " => "{old}",
                // The storage layer's own error always says 0.
                "ResourceVersion: " if &text[start..start + digits] == "0" => "0",
                _ => "{rv}",
            };
            text.replace_range(start..start + digits, name);
            from = start + name.len();
        }
    }
    text
}

#[test]
fn what_varies_is_named() {
    let mut names = Names::default();
    names.mask("b-17", "{ns}");
    let uid = "a2f0bb5e-2c0b-4a58-9d65-6a4b0c1a2d3e";
    let seen = serde_json::json!({
        "metadata": {"namespace": "b-17", "uid": uid, "resourceVersion": "12", "managedFields": []},
        "message": format!("{uid} at 2026-01-02T03:04:05Z é, current: 17; kube-api-access-x2x4z"),
    });
    assert_eq!(
        names.normal(&seen),
        serde_json::json!({
            "metadata": {"namespace": "{ns}", "uid": "{uid-1}", "resourceVersion": "{rv}"},
            "message": "{uid-1} at {time} é, current: {rv}; kube-api-access-{x}",
        })
    );
    assert_eq!(names.text(&"x".repeat(40)), "{x*40}");
    assert_eq!(
        names.text("too old resource version: 5 (17)"),
        "too old resource version: {old} ({rv})"
    );
}
