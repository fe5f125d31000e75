//! Reads server-sent events (WHATWG HTML, "Interpreting an event stream").

/// An event as it was sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Event {
    /// Its id; `None` if it has none of its own.
    pub(super) id: Option<String>,
    /// Its type.
    pub(super) kind: String,
    /// Its data.
    pub(super) data: String,
}

/// What came over the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Item {
    /// An event.
    Event(Event),
    /// A comment.
    Comment(String),
}

/// Cuts a stream of bytes into items.
#[derive(Debug, Default)]
pub(super) struct Parser {
    buffer: Vec<u8>,
    event: Event,
    any_data: bool,
}

impl Parser {
    /// Takes some bytes; answers the items that they complete.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Vec<Item> {
        self.buffer.extend_from_slice(bytes);
        let mut items = Vec::new();
        // Our server ends lines with a line feed; proxies do not change that.
        while let Some(end) = self.buffer.iter().position(|&byte| byte == b'\n') {
            let line: Vec<u8> = self.buffer.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            items.extend(self.line(line.trim_end_matches(['\n', '\r'])));
        }
        items
    }

    fn line(&mut self, line: &str) -> Option<Item> {
        if line.is_empty() {
            let event = std::mem::take(&mut self.event);
            return std::mem::take(&mut self.any_data).then_some(Item::Event(event));
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "" => return Some(Item::Comment(value.to_owned())),
            "id" => self.event.id = Some(value.to_owned()),
            "event" => value.clone_into(&mut self.event.kind),
            "data" => {
                if std::mem::replace(&mut self.any_data, true) {
                    self.event.data.push('\n');
                }
                self.event.data.push_str(value);
            }
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_cut_of_the_bytes_gives_the_same_items() {
        let text = "retry: 1000\n: listening after 5-0\n\nid: 5-1\r\nevent: a\ndata: {\"ü\":1}\n\n\
                    id: 5-2\n\nevent:gap\ndata: 1\ndata:2\n\n: keep-alive\n\ndata: cut";
        let event = |id: Option<&str>, kind: &str, data: &str| {
            Item::Event(Event {
                id: id.map(str::to_owned),
                kind: kind.into(),
                data: data.into(),
            })
        };
        let want = vec![
            Item::Comment("listening after 5-0".into()),
            event(Some("5-1"), "a", "{\"ü\":1}"),
            event(None, "gap", "1\n2"),
            Item::Comment("keep-alive".into()),
        ];
        for size in 1..text.len() {
            let mut parser = Parser::default();
            let items: Vec<_> = text
                .as_bytes()
                .chunks(size)
                .flat_map(|chunk| parser.push(chunk))
                .collect();
            assert_eq!(items, want, "{size}");
        }
    }
}
