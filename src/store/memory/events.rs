//! The event log: bounded, in order, numbered as a Redis stream numbers.

use std::collections::VecDeque;

use jiff::Timestamp;

use crate::store::{Error, NewEvent, Position, Result, StoredEvent};

#[derive(Debug)]
pub(super) struct Events {
    kept: VecDeque<(Position, NewEvent)>,
    last: Position,
    keep: usize,
}

impl Events {
    pub(super) fn new(keep: usize) -> Self {
        Self {
            kept: VecDeque::new(),
            last: Position::default(),
            keep,
        }
    }

    pub(super) fn append(&mut self, events: &[NewEvent], now: Timestamp) {
        let millis = u64::try_from(now.as_millisecond()).unwrap_or_default();
        for event in events {
            self.last = self.last.next(millis);
            self.kept.push_back((self.last, event.clone()));
            if self.kept.len() > self.keep {
                self.kept.pop_front();
            }
        }
    }

    pub(super) fn after(&self, after: Option<&str>, limit: usize) -> Result<Vec<StoredEvent>> {
        let after: Position = match after {
            None => Position::default(),
            Some(text) => text
                .parse()
                .map_err(|_| Error::BadPosition(text.chars().take(80).collect()))?,
        };
        let start = self
            .kept
            .partition_point(|(position, _)| *position <= after);
        let rest = self.kept.range(start..).take(limit);
        Ok(rest
            .map(|(position, event)| StoredEvent {
                position: position.to_string(),
                event: event.clone(),
            })
            .collect())
    }

    pub(super) fn last(&self) -> Option<String> {
        self.kept.back().map(|(position, _)| position.to_string())
    }
}
