//! The body of a watch, which may end before its time.

use std::collections::VecDeque;

use axum::body::{Body, BodyDataStream};
use bytes::{Bytes, BytesMut};
use futures::{StreamExt, stream};
use tokio::sync::watch::Receiver;
use tokio::time::Instant;

use super::answers::expired_event;
use super::asked::Asked;
use super::layer::Broken;
use super::plan::Faults;
use super::rule::{After, Fault};
use crate::clock;
use crate::sandbox::apiserver::ApiServer;

/// How a watch ends.
#[derive(Debug)]
enum End {
    /// As a server ends it.
    Properly,
    /// In the middle of a line, with the connection.
    Torn,
    /// With this event.
    Saying(String),
}

/// What is known of an open watch.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) asked: Asked,
    pub(super) faults: Faults,
    pub(super) server: ApiServer,
    /// The newest rule that was asked about it.
    pub(super) serial: u64,
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
    open: Open,
    changes: Receiver<()>,
    end: Option<End>,
    /// Events that may still pass.
    events: u64,
    deadline: Option<Instant>,
    /// What came of a line that is not whole yet.
    partial: BytesMut,
    lines: VecDeque<Bytes>,
    stage: Stage,
}

/// A watch's body that ends as the fault says, as one says that is made while it is open, or breaks when
/// nobody listens any more.
pub(super) fn watch(body: Body, open: Open, fault: Option<&Fault>) -> Body {
    let mut watch = Watch {
        data: body.into_data_stream(),
        changes: open.faults.changes(),
        open,
        end: None,
        events: u64::MAX,
        deadline: None,
        partial: BytesMut::new(),
        lines: VecDeque::new(),
        stage: Stage::Open,
    };
    watch.struck(fault);
    // What changed between the decision and here.
    watch.changes.mark_changed();
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
                    if self.open.faults.refusing().is_some() {
                        return self.breaks();
                    }
                    if self.end.is_none() {
                        let decision = self.open.faults.decide_open(&self.open.asked, self.open.serial);
                        self.open.serial = decision.serial;
                        self.struck(decision.fault.as_ref());
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

    /// Takes over when and how it is to end.
    fn struck(&mut self, fault: Option<&Fault>) {
        let (after, end) = match fault {
            Some(Fault::Cut { after, torn: true }) => (*after, End::Torn),
            Some(Fault::Cut { after, .. }) => (*after, End::Properly),
            Some(Fault::Expired { http: false, after }) => {
                let event = expired_event(&self.open.asked, self.open.server.revision());
                (*after, End::Saying(event))
            }
            _ => return,
        };
        self.end = Some(end);
        match after {
            After::Events(events) => self.events = events,
            After::Time(time) => self.deadline = Some(clock::instant() + time),
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
        match self.end.take() {
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
