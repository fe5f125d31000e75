//! `watch`: a collection's log as a stream of lines.
//!
//! A watcher holds no objects: it reads the shared log and sends lines that were made once. Only
//! selector transitions, other versions and Tables are encoded for it alone.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures::stream;
use serde_json::{Value, json};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::sandbox::apiserver::accept::Accept;
use crate::sandbox::apiserver::call::Call;
use crate::sandbox::apiserver::error::Error;
use crate::sandbox::apiserver::meta;
use crate::sandbox::apiserver::reply::{JSON, Reply, partial, tabled, view, view_body};
use crate::sandbox::apiserver::store::event::line;
use crate::sandbox::apiserver::store::{Change, Event, Lagged, Object, Subscription};
use crate::sandbox::apiserver::verbs::list::{Selection, revision, unparsable, validate};

/// How often an idle watch that allows bookmarks gets one (as the real watch cache does).
const BOOKMARK_EVERY: Duration = Duration::from_secs(60);

/// How long before its end a watch gets its last bookmark.
const LAST_BOOKMARK_BEFORE: Duration = Duration::from_secs(2);

/// How many events are taken from the log at once.
const BATCH: usize = 256;

/// Marks the bookmark that ends the initial objects of a streaming list.
const INITIAL_EVENTS_END: &str = "k8s.io/initial-events-end";

/// The error's Status as the watch event that ends a watch.
fn error_line(error: &Error) -> Bytes {
    let mut text = json!({"type": "ERROR", "object": error.status()}).to_string();
    text.push('\n');
    Bytes::from(text)
}

/// A watch that says why it ends, and ends.
pub(crate) fn failed(error: &Error) -> Reply {
    Reply::bytes(200, JSON, error_line(error))
}

fn too_old(asked: u64, oldest: u64) -> Error {
    Error::expired(format!("too old resource version: {asked} ({oldest})"))
}

/// Starts a watch. `shutdown` ends it.
pub(crate) fn watch(call: Call, shutdown: CancellationToken) -> Result<Reply, Error> {
    validate(&call.query, true)?;
    let selection = Selection::parse(&call)?;
    let asked = revision(&call.query)
        // The real server returns this as a plain error, hence the code.
        .map_err(|_| Error::bare(500, &unparsable(call.query.get("resourceVersion"))))?;
    let bookmarks = call.query.flag("allowWatchBookmarks").unwrap_or(false);
    let initial_events = call.query.flag("sendInitialEvents");
    let store = &call.server.store;
    let collection = call.resource.collection;
    // Without a revision, or at 0, a watch begins with what is there, as if it were just created.
    let from_state = match initial_events {
        Some(wanted) => wanted,
        None => asked.is_none_or(|revision| revision == 0),
    };
    let mut pending = VecDeque::new();
    let (subscription, seen, initial) = if from_state {
        let (snapshot, subscription) =
            store.list_and_subscribe(collection, &selection.namespace, &selection.fixed());
        (subscription, snapshot.revision, snapshot.objects)
    } else {
        let current = store.revision();
        let from = asked.filter(|r| *r > 0).unwrap_or(current);
        match store.subscribe(collection, from) {
            Ok(subscription) => (subscription, from, Vec::new()),
            // The real watch cache says it in the stream.
            Err(old) => return Ok(failed(&too_old(from, old.oldest))),
        }
    };
    let timeout = match call.query.get("timeoutSeconds").parse::<u64>() {
        Ok(seconds) if seconds > 0 => seconds,
        // The real server's minimum request timeout, up to twice of it.
        _ => 1800 + call.server.random() % 1800,
    };
    let now = clock::instant();
    let deadline = now + Duration::from_secs(timeout);
    let mut watcher = Watcher {
        selection,
        subscription,
        seen,
        from: seen,
        pending: VecDeque::new(),
        deadline,
        next_bookmark: bookmarks.then(|| next_bookmark(now, deadline)),
        ended: false,
        headers_sent: false,
        shutdown,
        call,
    };
    for (_, object) in &initial {
        if watcher.selection.matches(&object.value) {
            let line = watcher.encode(Change::Added.name(), object);
            pending.push_back(line);
        }
    }
    if initial_events == Some(true) && bookmarks {
        pending.push_back(watcher.bookmark(true));
    }
    watcher.pending = pending;
    let lines = stream::unfold(watcher, |mut watcher| async move {
        let line = watcher.next().await?;
        Some((Ok::<_, std::convert::Infallible>(line), watcher))
    });
    Ok(Reply {
        code: 200,
        content_type: JSON,
        body: Body::from_stream(lines),
    })
}

/// Every minute, and shortly before the end (`nextBookmarkTime` of the watch cache).
fn next_bookmark(now: Instant, deadline: Instant) -> Instant {
    let regular = now + BOOKMARK_EVERY;
    match deadline.checked_sub(LAST_BOOKMARK_BEFORE) {
        Some(last) if last > now => regular.min(last),
        _ => regular,
    }
}

struct Watcher {
    call: Call,
    selection: Selection,
    subscription: Subscription,
    /// The revision up to which everything has been looked at.
    seen: u64,
    /// Events up to this revision are none of this watch's business.
    from: u64,
    pending: VecDeque<Bytes>,
    deadline: Instant,
    /// `None`: the client does not want bookmarks.
    next_bookmark: Option<Instant>,
    ended: bool,
    /// A Table's columns are sent with the first event only.
    headers_sent: bool,
    shutdown: CancellationToken,
}

impl Watcher {
    async fn next(&mut self) -> Option<Bytes> {
        let server = Arc::clone(&self.call.server);
        loop {
            if let Some(line) = self.pending.pop_front() {
                return Some(line);
            }
            if self.ended || self.shutdown.is_cancelled() {
                return None;
            }
            match server.store.poll(&mut self.subscription, BATCH) {
                Ok((events, seen)) => {
                    for event in &events {
                        if let Some(line) = self.select(event) {
                            self.pending.push_back(line);
                        }
                    }
                    self.seen = self.seen.max(seen);
                    if !events.is_empty() {
                        continue;
                    }
                }
                Err(Lagged) => {
                    self.ended = true;
                    self.pending
                        .push_back(error_line(&too_old(self.seen, server.store.revision())));
                    continue;
                }
            }
            let now = clock::instant();
            if now >= self.deadline {
                return None;
            }
            if self.next_bookmark.is_some_and(|at| now >= at) {
                self.next_bookmark = Some(next_bookmark(now, self.deadline));
                let bookmark = self.bookmark(false);
                self.pending.push_back(bookmark);
                continue;
            }
            let wake = self
                .next_bookmark
                .map_or(self.deadline, |at| at.min(self.deadline));
            tokio::select! {
                () = self.subscription.changed() => {}
                () = clock::sleep_until(wake) => {}
                () = self.shutdown.cancelled() => return None,
            }
        }
    }

    /// What this watcher is told of an event. An object that enters or leaves the selection is added
    /// or deleted from where the watcher stands.
    fn select(&mut self, event: &Event) -> Option<Bytes> {
        if event.revision <= self.from {
            // The watch asked for a revision that was in the future then.
            return None;
        }
        if !self.selection.namespace.is_empty() && *event.key.namespace != *self.selection.namespace
        {
            return None;
        }
        if self.selection.is_everything() {
            return Some(self.natural(event));
        }
        let before = event
            .previous
            .as_ref()
            .is_some_and(|o| self.selection.matches(&o.value));
        let after = event.change != Change::Deleted && self.selection.matches(&event.object.value);
        match (before, after) {
            (false, false) => None,
            (true, true) => Some(self.natural(event)),
            (false, true) if event.change == Change::Added => Some(self.natural(event)),
            (false, true) => Some(self.encode(Change::Added.name(), &event.object)),
            (true, false) if event.change == Change::Deleted => Some(self.natural(event)),
            (true, false) => {
                // The last state that was in the selection, at the revision at which it left.
                let mut value = event.previous.as_ref()?.value.clone();
                meta::set(
                    &mut value,
                    "resourceVersion",
                    Some(json!(event.revision.to_string())),
                );
                let object = Object::new(value, event.revision);
                Some(self.encode(Change::Deleted.name(), &object))
            }
        }
    }

    fn natural(&mut self, event: &Event) -> Bytes {
        if self.call.accept == Accept::Object && self.call.resource.is_stored_version() {
            event.line(&self.call.resource.type_meta)
        } else {
            self.encode(event.change.name(), &event.object)
        }
    }

    fn encode(&mut self, kind: &str, object: &Object) -> Bytes {
        let resource = &self.call.resource;
        match self.call.accept {
            Accept::Object | Accept::Discovery { .. } => {
                line(kind, &resource.type_meta, &view_body(resource, object))
            }
            Accept::Table => {
                let value = view(resource, object);
                let list_meta = json!({"resourceVersion": object.revision.to_string()});
                self.call.now = clock::now();
                let table = tabled(&self.call, &[value], &list_meta, !self.headers_sent);
                self.headers_sent = true;
                typed_line(kind, &table)
            }
            Accept::Metadata => typed_line(kind, &partial(&object.value, true)),
        }
    }

    fn bookmark(&self, ends_initial_events: bool) -> Bytes {
        let mut metadata = json!({"resourceVersion": self.seen.to_string()});
        if ends_initial_events {
            metadata["annotations"] = json!({INITIAL_EVENTS_END: "true"});
        }
        let resource = &self.call.resource;
        let (kind, api_version) = match self.call.accept {
            Accept::Metadata => ("PartialObjectMetadata", "meta.k8s.io/v1"),
            _ => (resource.facts.kind.as_str(), resource.api_version.as_str()),
        };
        let object = json!({"kind": kind, "apiVersion": api_version, "metadata": metadata});
        typed_line("BOOKMARK", &object)
    }
}

fn typed_line(kind: &str, object: &Value) -> Bytes {
    let mut text = json!({"type": kind, "object": object}).to_string();
    text.push('\n');
    Bytes::from(text)
}
