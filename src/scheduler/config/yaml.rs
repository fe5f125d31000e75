//! A YAML document as a tree in which every node knows where it stands, so that each mistake in a file can
//! be told with its line.
//!
//! Aliases are followed (up to a bound); keys given twice are mistakes, as in sigs.k8s.io/yaml.

use std::collections::HashMap;

use serde_saphyr::granit_parser::{Event, Parser, ScalarStyle};

/// Nodes that a document may have, aliases followed.
const MOST: usize = 100_000;
/// How deep it may nest.
const DEEPEST: usize = 64;

/// Where something stands; both count from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

/// A mistake and where it is.
pub(super) type Mistake = (Position, String);

/// A value in its place.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) at: Position,
    pub(super) value: Value,
}

/// What a node is, as JSON would see it.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Null,
    Bool(bool),
    /// As written.
    Number(String),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A key with its value.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) at: Position,
    pub(super) node: Node,
}

impl Value {
    /// What JSON calls it.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::Text(_) => "a string",
            Self::List(_) => "a list",
            Self::Map(_) => "an object",
        }
    }
}

impl Node {
    /// Whether it is an object with this `name`.
    fn is_named(&self, name: &str) -> bool {
        let Value::Map(entries) = &self.value else {
            return false;
        };
        entries.iter().any(|entry| {
            entry.key == "name" && matches!(&entry.node.value, Value::Text(text) if text == name)
        })
    }

    /// Where the value of this path (`profiles[1].schedulerName`) stands, or of as much of it as is there.
    /// An item of a list can be named by its index or its `name`.
    pub(super) fn locate(&self, path: &str) -> Position {
        let (mut node, mut at) = (self, self.at);
        for step in path.split(['.', '[']).filter(|s| !s.is_empty()) {
            let next = match (&node.value, step.strip_suffix(']')) {
                (Value::List(items), Some(index)) => {
                    let item = match index.parse::<usize>() {
                        Ok(index) => items.get(index),
                        Err(_) => items.iter().find(|item| item.is_named(index)),
                    };
                    item.map(|item| (item, item.at))
                }
                (Value::Map(entries), None) => {
                    let entry = entries.iter().find(|entry| entry.key == step);
                    entry.map(|entry| (&entry.node, entry.at))
                }
                _ => None,
            };
            match next {
                Some((found, position)) => (node, at) = (found, position),
                None => break,
            }
        }
        at
    }
}

/// Reads the one document of a text. Keys given twice are put into `mistakes`, and the first one counts.
///
/// # Errors
/// Where the text is no YAML (or more than one document, or too much).
pub(super) fn parse(text: &str, mistakes: &mut Vec<Mistake>) -> Result<Node, Mistake> {
    let mut builder = Builder {
        mistakes,
        stack: Vec::new(),
        anchors: HashMap::new(),
        root: None,
        nodes: 0,
    };
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| {
            let at = position(error.marker());
            (at, format!("this is no YAML: {error}"))
        })?;
        builder.take(&event, position(&span.start))?;
    }
    builder.root.ok_or_else(|| {
        let at = Position { line: 1, column: 1 };
        (at, "the file is empty".to_owned())
    })
}

fn position(marker: &serde_saphyr::granit_parser::Marker) -> Position {
    Position {
        line: marker.line(),
        column: marker.col() + 1,
    }
}

enum Open {
    List(usize, Position, Vec<Node>),
    Map(usize, Position, Vec<Entry>, Option<(String, Position)>),
}

struct Builder<'a> {
    mistakes: &'a mut Vec<Mistake>,
    stack: Vec<Open>,
    anchors: HashMap<usize, (Node, usize)>,
    root: Option<Node>,
    nodes: usize,
}

impl Builder<'_> {
    fn take(&mut self, event: &Event<'_>, at: Position) -> Result<(), Mistake> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let plain = *style == ScalarStyle::Plain && tag.is_none();
                let value = if plain {
                    resolve(text)
                } else {
                    Value::Text(text.to_string())
                };
                self.node(*anchor, Node { at, value })
            }
            Event::Alias(anchor) => match self.anchors.get(anchor) {
                Some((node, size)) => {
                    let (mut node, size) = (node.clone(), *size);
                    node.at = at;
                    self.nodes += size;
                    self.node(0, node)
                }
                None => Err((at, "an alias within its own anchor".to_owned())),
            },
            Event::SequenceStart(_, anchor, _) => {
                self.open(Open::List(*anchor, at, Vec::new()), at)
            }
            Event::MappingStart(_, anchor, _) => {
                self.open(Open::Map(*anchor, at, Vec::new(), None), at)
            }
            Event::SequenceEnd | Event::MappingEnd => match self.stack.pop() {
                Some(Open::List(anchor, at, items)) => {
                    let value = Value::List(items);
                    self.node(anchor, Node { at, value })
                }
                Some(Open::Map(anchor, at, entries, _)) => {
                    let value = Value::Map(entries);
                    self.node(anchor, Node { at, value })
                }
                None => Ok(()),
            },
            Event::DocumentStart(..) if self.root.is_some() => Err((
                at,
                "a second document: one file has one configuration".to_owned(),
            )),
            _ => Ok(()),
        }
    }

    fn open(&mut self, open: Open, at: Position) -> Result<(), Mistake> {
        if self.stack.len() >= DEEPEST {
            return Err((at, format!("nested deeper than {DEEPEST}")));
        }
        self.stack.push(open);
        Ok(())
    }

    /// A node is complete: it becomes a key, a value, an item, or the document.
    fn node(&mut self, anchor: usize, node: Node) -> Result<(), Mistake> {
        self.nodes += 1;
        if self.nodes > MOST {
            return Err((node.at, format!("more than {MOST} values")));
        }
        if anchor != 0 {
            let size = count(&node);
            self.anchors.insert(anchor, (node.clone(), size));
        }
        match self.stack.last_mut() {
            None => self.root = Some(node),
            Some(Open::List(_, _, items)) => items.push(node),
            Some(Open::Map(_, _, entries, key)) => match key.take() {
                None => {
                    let text = match node.value {
                        Value::Text(text) | Value::Number(text) => text,
                        Value::Bool(value) => value.to_string(),
                        other => {
                            return Err((
                                node.at,
                                format!("a key must be a string, not {}", other.kind()),
                            ));
                        }
                    };
                    *key = Some((text, node.at));
                }
                Some((key, at)) => {
                    if entries.iter().any(|entry| entry.key == key) {
                        self.mistakes
                            .push((at, format!("key {key:?} is given twice")));
                    } else {
                        entries.push(Entry { key, at, node });
                    }
                }
            },
        }
        Ok(())
    }
}

fn count(node: &Node) -> usize {
    1 + match &node.value {
        Value::List(items) => items.iter().map(count).sum(),
        Value::Map(entries) => entries.iter().map(|entry| count(&entry.node)).sum(),
        _ => 0,
    }
}

/// What a plain scalar is, by YAML 1.1's rules, which sigs.k8s.io/yaml follows.
fn resolve(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => {
            return Value::Bool(true);
        }
        "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => {
            return Value::Bool(false);
        }
        _ => {}
    }
    if let Some(whole) = with_base(text) {
        return Value::Number(whole.to_string());
    }
    let begins = text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c));
    let has_digit = text.contains(|c: char| c.is_ascii_digit());
    if begins && has_digit && text.parse::<f64>().is_ok_and(f64::is_finite) {
        return Value::Number(text.to_owned());
    }
    Value::Text(text.to_owned())
}

/// A whole number of another base, as Go's `strconv.ParseInt(text, 0, 64)` reads it: `0x1f`, `0o17`, `017`.
fn with_base(text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let rest = digits.strip_prefix('0')?;
    let (radix, rest) = match rest.as_bytes().first()? {
        b'x' | b'X' => (16, &rest[1..]),
        b'o' | b'O' => (8, &rest[1..]),
        b'b' | b'B' => (2, &rest[1..]),
        _ => (8, rest),
    };
    if !rest.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return None;
    }
    let value = i64::from_str_radix(rest, radix).ok()?;
    Some(if negative { -value } else { value })
}
