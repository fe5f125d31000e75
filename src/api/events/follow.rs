//! Follows the store's stream of events for one reader.
//!
//! Invariant: what was handed out lies at or before `at`, and everything up to `at` was handed out or
//! left out by the filter or told as a gap.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use serde_json::json;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::frame;
use super::position::Position;
use crate::clock;
use crate::store::{self, ActionId, Store, StoredEvent};

/// Idle connections are cut by proxies after a minute or less.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// The store's notifications may be lost: look at least so often.
const TICK: Duration = Duration::from_secs(2);
/// How long to wait before a store that is away is asked again.
const RETRY: Duration = Duration::from_secs(1);
/// How many events are read at once.
const BATCH: usize = 256;

/// One reader's place in the stream.
pub(super) struct Follower {
    store: Arc<dyn Store>,
    changes: watch::Receiver<u64>,
    /// `None`: not known yet, since the store did not say where the end is.
    at: Option<Position>,
    /// The place the reader gave must still be looked at for a gap.
    unproven: bool,
    filter: Option<ActionId>,
    shutdown: CancellationToken,
    /// When the reader last got a byte.
    spoke: Instant,
    /// The reader was told that the store is away.
    away: bool,
}

impl Follower {
    /// Follows from after `from`, or from now.
    pub(super) fn new(
        store: Arc<dyn Store>,
        from: Option<Position>,
        filter: Option<ActionId>,
        shutdown: CancellationToken,
    ) -> Self {
        let changes = store.changes();
        Self {
            store,
            changes,
            at: from,
            unproven: from.is_some_and(|from| from != Position::BEGINNING),
            filter,
            shutdown,
            spoke: clock::instant(),
            away: false,
        }
    }

    /// Finds the place and answers the first bytes.
    pub(super) async fn open(&mut self) -> Bytes {
        let text = match self.locate().await {
            Ok(at) => format!("listening after {at}"),
            Err(error) => {
                self.away = true;
                format!("{error}; will listen when it is back")
            }
        };
        Bytes::from(frame::opening(&text))
    }

    /// The next bytes for the reader; `None` when the server shuts down.
    pub(super) async fn next(&mut self) -> Option<Bytes> {
        loop {
            if self.shutdown.is_cancelled() {
                return None;
            }
            self.changes.mark_unchanged();
            let (text, more) = match self.read().await {
                Ok(read) => read,
                Err(error) if !self.away => {
                    self.away = true;
                    tracing::warn!(%error, "an event stream waits for the store");
                    (frame::comment(&error.to_string()), false)
                }
                Err(_) => (String::new(), false),
            };
            if !text.is_empty() {
                self.spoke = clock::instant();
                return Some(Bytes::from(text));
            }
            if more {
                continue;
            }
            if clock::instant().duration_since(self.spoke) >= KEEP_ALIVE {
                self.spoke = clock::instant();
                return Some(Bytes::from(frame::comment("keep-alive")));
            }
            self.idle().await;
        }
    }

    /// Waits until there may be something to read or to say.
    async fn idle(&mut self) {
        let keep_alive = self.spoke + KEEP_ALIVE;
        let pause = if self.away { RETRY } else { TICK };
        let away = self.away;
        let changed = async {
            // A store that is away may say "changed" all the time; one that is gone says so at once.
            if away || self.changes.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = self.shutdown.cancelled() => {}
            () = changed => {}
            () = clock::sleep(pause) => {}
            () = clock::sleep_until(keep_alive) => {}
        }
    }

    /// Where the stream stands; asks the store for its end if that is not known.
    async fn locate(&mut self) -> store::Result<Position> {
        if let Some(at) = self.at {
            return Ok(at);
        }
        let end = self.end().await?;
        self.at = Some(end);
        Ok(end)
    }

    async fn end(&self) -> store::Result<Position> {
        Ok(match self.store.last_event().await? {
            Some(text) => position(&text)?,
            None => Position::BEGINNING,
        })
    }

    /// Reads on: the text for the reader, and whether there may be more at once.
    async fn read(&mut self) -> store::Result<(String, bool)> {
        let known = self.at.is_some();
        let mut at = self.locate().await?;
        let mut text = String::new();
        if self.away {
            text = frame::comment(&if known {
                "the store is back".to_owned()
            } else {
                format!("listening after {at}")
            });
        }
        if self.unproven {
            text.push_str(&self.prove(&mut at).await?);
        }
        let after = (at != Position::BEGINNING).then(|| at.to_string());
        let events = self.store.events_after(after.as_deref(), BATCH).await?;
        if events.is_empty() {
            // A store that lost its end (a failover) would keep us waiting for ids that were given already.
            let end = self.end().await?;
            if end < at {
                text.push_str(&gap(at, end, "the store has lost its newest events"));
                at = end;
            }
        }
        for stored in &events {
            at = position(&stored.position)?.max(at);
            if self.shows(stored) {
                text.push_str(&frame::event(stored));
            }
        }
        // Only now is it certain that the reader gets what was written.
        self.at = Some(at);
        self.unproven = false;
        self.away = false;
        Ok((text, events.len() == BATCH))
    }

    /// Whether the place that the reader gave can be resumed from; else moves it and tells of the gap.
    async fn prove(&self, at: &mut Position) -> store::Result<String> {
        let end = self.end().await?;
        if *at > end {
            let text = gap(*at, end, "the id lies beyond the newest event");
            *at = end;
            return Ok(text);
        }
        let oldest = self.store.events_after(None, 1).await?;
        match oldest.first() {
            Some(oldest) if *at < position(&oldest.position)? => {
                let text = gap(*at, Position::BEGINNING, "older events are not kept");
                *at = Position::BEGINNING;
                Ok(text)
            }
            _ => Ok(String::new()),
        }
    }

    fn shows(&self, stored: &StoredEvent) -> bool {
        self.filter.is_none_or(|id| {
            let subject = stored.event.body.get("subject");
            subject.and_then(|subject| subject.as_str()) == Some(id.to_string().as_str())
        })
    }
}

fn position(text: &str) -> store::Result<Position> {
    text.parse()
        .map_err(|error: super::position::Error| store::Error::Corrupt {
            key: "the stream of events".to_owned(),
            problem: error.to_string(),
        })
}

fn gap(requested: Position, resumed: Position, reason: &str) -> String {
    let data = json!({
        "requested": requested.to_string(),
        "resumed": resumed.to_string(),
        "reason": reason,
    });
    frame::notice("wam.stream.gap.v1", &data)
}
