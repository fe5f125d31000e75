//! One change of one object.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use super::object::with_type_meta;
use super::{Key, Object};

/// What happened to the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Added,
    Modified,
    Deleted,
}

impl Change {
    /// The watch event's `type`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Added => "ADDED",
            Self::Modified => "MODIFIED",
            Self::Deleted => "DELETED",
        }
    }
}

/// An entry of a collection's log.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) revision: u64,
    pub(crate) key: Key,
    pub(crate) change: Change,
    /// The object before; `None` if it was created.
    pub(crate) previous: Option<Arc<Object>>,
    /// The object after; of a deletion its last state at the deletion's revision.
    pub(crate) object: Arc<Object>,
    line: OnceLock<Bytes>,
}

impl Event {
    pub(super) fn new(
        key: Key,
        change: Change,
        previous: Option<Arc<Object>>,
        object: Arc<Object>,
    ) -> Self {
        Self {
            revision: object.revision,
            key,
            change,
            previous,
            object,
            line: OnceLock::new(),
        }
    }

    /// The line that a watch of the stored version without selectors sends. Made once, shared by all
    /// watchers.
    pub(crate) fn line(&self, type_meta: &str) -> Bytes {
        self.line
            .get_or_init(|| line(self.change.name(), type_meta, self.object.body()))
            .clone()
    }
}

/// `{"type":…,"object":{…}}` and a newline.
pub(crate) fn line(kind: &str, type_meta: &str, body: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(body.len() + type_meta.len() + 48);
    out.extend_from_slice(b"{\"type\":\"");
    out.extend_from_slice(kind.as_bytes());
    out.extend_from_slice(b"\",\"object\":");
    with_type_meta(&mut out, type_meta, body);
    out.extend_from_slice(b"}\n");
    Bytes::from(out)
}
