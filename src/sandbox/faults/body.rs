//! The body of a watch, which may end before its time.

use std::collections::VecDeque;

use axum::body::{Body, BodyDataStream};
use bytes::{Bytes, BytesMut};
use futures::{StreamExt, stream};
use tokio::sync::watch::Receiver;
use tokio::time::Instant;

use super::layer::Broken;
use super::plan::Faults;
use super::rule::After;
use crate::clock;

/// How a watch ends.
#[derive(Debug)]
pub(super) enum End {
    /// As a server ends it.
    Properly,
    /// In the middle of a line, with the connection.
    Torn,
    /// With this event.
    Saying(String),
}

/// When and how a watch ends before its time.
#[derive(Debug)]
pub(super) struct Ending {
    pub(super) after: After,
    pub(super) end: End,
}

/// How far it is.
#[derive(Debug, PartialEq, Eq)]
enum Stage {
    Open,
    /// Half a line was sent.
    Torn,
    Over,
}

struct Watch {
    data: BodyDataStream,
    faults: Faults,
    changes: Receiver<()>,
    ending: Option<Ending>,
    /// Events that may still pass.
    events: u64,
    deadline: Option<Instant>,
    /// What came of a line that is not whole yet.
    partial: BytesMut,
    lines: VecDeque<Bytes>,
    stage: Stage,
}

/// A watch's body that ends as told, and breaks when nobody listens any more.
pub(super) fn watch(body: Body, faults: Faults, ending: Option<Ending>) -> Body {
    let (events, deadline) = match ending.as_ref().map(|ending| ending.after) {
        Some(After::Events(events)) => (events, None),
        Some(After::Time(time)) => (u64::MAX, Some(clock::instant() + time)),
        None => (u64::MAX, None),
    };
    let watch = Watch {
        data: body.into_data_stream(),
        changes: faults.changes(),
        faults,
        ending,
        events,
        deadline,
        partial: BytesMut::new(),
        lines: VecDeque::new(),
        stage: Stage::Open,
    };
    Body::from_stream(stream::unfold(watch, |mut watch| async move {
        let next = watch.next().await?;
        Some((next, watch))
    }))
}

/// What comes of an event before the connection breaks.
const HALF_A_LINE: &[u8] = b"{\"type\":\"MODIFIED\",\"object\":{\"kind\":";

type Piece = Result<Bytes, axum::BoxError>;

impl Watch {
    async fn next(&mut self) -> Option<Piece> {
        match self.stage {
            Stage::Open => {}
            Stage::Torn => {
                // Lets what was said get out before the connection breaks.
                tokio::task::yield_now().await;
                return self.breaks();
            }
            Stage::Over => return None,
        }
        loop {
            if self.events == 0 {
                return self.finish();
            }
            if let Some(line) = self.lines.pop_front() {
                self.events -= 1;
                return Some(Ok(line));
            }
            let deadline = self.deadline;
            let due = async {
                match deadline {
                    Some(deadline) => clock::sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            };
            let piece = tokio::select! {
                biased;
                // An error is impossible: the faults hold the sender.
                _ = self.changes.changed() => {
                    if self.faults.refusing().is_some() {
                        return self.breaks();
                    }
                    continue;
                }
                () = due => return self.finish(),
                piece = self.data.next() => piece,
            };
            match piece {
                None => {
                    self.stage = Stage::Over;
                    return None;
                }
                Some(Err(error)) => {
                    self.stage = Stage::Over;
                    return Some(Err(error.into()));
                }
                // Only who counts events has to know where they end.
                Some(Ok(data)) if self.events == u64::MAX => return Some(Ok(data)),
                Some(Ok(data)) => self.split(&data),
            }
        }
    }

    fn split(&mut self, data: &[u8]) {
        for piece in data.split_inclusive(|byte| *byte == b'\n') {
            self.partial.extend_from_slice(piece);
            if piece.ends_with(b"\n") {
                self.lines.push_back(self.partial.split().freeze());
            }
        }
    }

    fn finish(&mut self) -> Option<Piece> {
        self.stage = Stage::Over;
        match self.ending.take().map(|ending| ending.end) {
            None | Some(End::Properly) => None,
            Some(End::Saying(event)) => Some(Ok(Bytes::from(event))),
            Some(End::Torn) => {
                self.stage = Stage::Torn;
                Some(Ok(Bytes::from_static(HALF_A_LINE)))
            }
        }
    }

    fn breaks(&mut self) -> Option<Piece> {
        self.stage = Stage::Over;
        Some(Err(Broken::Reset.into()))
    }
}
