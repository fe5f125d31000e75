//! What a step has at hand: the ports, the journal, and the ways to wait.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::end::End;
use super::journal::{Journal, retrying};
use super::ledger;
use super::metrics::Metrics;
use super::ports::{CallError, Cluster, Placement, View};
use crate::clock;
use crate::store::{self, Intent, Store};

/// A look is taken at least this often, whatever the watches say.
const TICK: Duration = Duration::from_secs(1);
/// How long the API server is asked what became of a call whose answer was lost.
const SETTLE: SignedDuration = SignedDuration::from_secs(180);
/// Changes within this time are looked at together.
const GATHER: Duration = Duration::from_millis(4);

/// The neighbours of the engine.
#[derive(Clone)]
pub struct Parts {
    /// Where actions and intents live.
    pub store: Arc<dyn Store>,
    /// Fresh reads, conditional writes.
    pub cluster: Arc<dyn Cluster>,
    /// The watches' view.
    pub view: Arc<dyn View>,
    /// The scheduler's filters.
    pub placement: Arc<dyn Placement>,
}

/// One action under way.
pub struct Context {
    /// The neighbours.
    pub parts: Parts,
    /// The record.
    pub journal: Journal,
    /// This executor must stop.
    pub stop: CancellationToken,
    /// What is counted.
    pub metrics: Metrics,
}

/// One step under way.
#[derive(Clone)]
pub struct Step {
    /// The action.
    pub context: Arc<Context>,
    /// The step's index.
    pub index: usize,
    /// Another step failed: drop this one where it waits.
    pub halt: CancellationToken,
    /// When the step gives up.
    pub deadline: Timestamp,
}

impl Step {
    /// The mark this step leaves where it acts.
    #[must_use]
    pub fn mark(&self) -> String {
        ledger::mark(
            self.context.journal.id,
            self.index,
            self.context.journal.fence,
        )
    }

    /// Whether a mark is of this step, under whatever fence.
    #[must_use]
    pub fn is_mine(&self, mark: &str) -> bool {
        ledger::is_of(mark, self.context.journal.id, self.index)
    }

    /// The id of the intent that the step `index` stores.
    #[must_use]
    pub fn intent_id(&self, index: usize) -> String {
        format!("{}.{index}", self.context.journal.id)
    }

    /// What the step wrote ahead, if anything.
    pub async fn memo<T: DeserializeOwned + Default>(&self) -> T {
        self.context
            .journal
            .read(|record| {
                let memo = record.steps.get(self.index).map(|step| step.memo.clone());
                memo.and_then(|memo| serde_json::from_value(memo).ok())
                    .unwrap_or_default()
            })
            .await
    }

    /// Writes ahead what recovery must know.
    ///
    /// # Errors
    /// As [`Journal::write`].
    pub async fn remember<T: Serialize + Sync>(&self, memo: &T) -> Result<(), End> {
        let memo = serde_json::to_value(memo).unwrap_or_default();
        self.context
            .journal
            .write(
                |record| {
                    if let Some(step) = record.steps.get_mut(self.index) {
                        step.memo = memo;
                    }
                },
                &[],
            )
            .await
    }

    /// Says what the step is waiting for, if that is news.
    ///
    /// # Errors
    /// As [`Journal::write`].
    pub async fn note(&self, detail: &str) -> Result<(), End> {
        let journal = &self.context.journal;
        let known = |record: &store::ActionRecord| {
            record
                .steps
                .get(self.index)
                .is_none_or(|step| step.detail == detail)
        };
        if journal.read(known).await {
            return Ok(());
        }
        journal
            .write(
                |record| {
                    if let Some(step) = record.steps.get_mut(self.index) {
                        detail.clone_into(&mut step.detail);
                    }
                },
                &[],
            )
            .await
    }

    /// A call to the store, repeated while it is unavailable.
    ///
    /// # Errors
    /// [`End::Stopped`] on shutdown, a failure for what the store refuses.
    pub async fn store<T, F, Fut>(&self, call: F) -> Result<T, End>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = store::Result<T>>,
    {
        retrying(&self.context.stop, call)
            .await?
            .map_err(|error| End::failed("StoreError", error.to_string()))
    }

    /// The intent that the step `index` stored.
    ///
    /// # Errors
    /// A failure when it is not there: no step can go on without it.
    pub async fn intent(&self, index: usize) -> Result<Intent, End> {
        let id = self.intent_id(index);
        let store = &self.context.parts.store;
        self.store(|| store.intent(&id)).await?.ok_or_else(|| {
            End::failed(
                "IntentLost",
                format!("the intent {id} is not in the store any more"),
            )
        })
    }

    /// To be asked before a side effect: an action that is too late, or whose line is stopped, begins nothing.
    /// `begun`: a call of this step may be under way already.
    ///
    /// # Errors
    /// [`End::Halted`], or the failure `DeadlineExceeded`.
    pub fn may_act(&self, begun: bool) -> Result<(), End> {
        if self.halt.is_cancelled() {
            return Err(End::Halted);
        }
        if begun || clock::now() < self.deadline {
            return Ok(());
        }
        Err(End::failed(
            "DeadlineExceeded",
            "the deadline passed before this was done; it was not begun",
        ))
    }

    /// The same step, for finding out what became of a call whose answer was lost: neither the deadline nor
    /// a halt may leave that open.
    #[must_use]
    pub fn settling(&self) -> Self {
        Self {
            halt: CancellationToken::new(),
            deadline: clock::now() + SETTLE,
            ..self.clone()
        }
    }

    /// Something to wait with. Make it before the first look, so that no change falls between.
    #[must_use]
    pub fn waker(&self) -> Waker {
        Waker {
            view: self.context.parts.view.changes(),
            store: self.context.parts.store.changes(),
            halt: self.halt.clone(),
            stop: self.context.stop.clone(),
            deadline: self.deadline,
            pause: Duration::from_millis(50),
        }
    }
}

/// Waits for changes, until the step's deadline.
pub struct Waker {
    view: watch::Receiver<u64>,
    store: watch::Receiver<u64>,
    halt: CancellationToken,
    stop: CancellationToken,
    deadline: Timestamp,
    pause: Duration,
}

impl Waker {
    /// Waits until something changed (or a tick passed). `what` says what is waited for.
    ///
    /// # Errors
    /// [`End::Halted`], [`End::Stopped`], or the failure `DeadlineExceeded` naming `what`.
    pub async fn next(&mut self, what: &str) -> Result<(), End> {
        let left = self.left(what)?;
        tokio::select! {
            () = self.stop.cancelled() => return Err(End::Stopped),
            () = self.halt.cancelled() => return Err(End::Halted),
            Ok(()) = self.view.changed() => {}
            Ok(()) = self.store.changed() => {}
            () = clock::sleep(left.min(TICK)) => {}
        }
        clock::sleep(GATHER).await;
        self.view.mark_unchanged();
        self.store.mark_unchanged();
        Ok(())
    }

    /// Pauses before a call is tried again: as long as `error` asks, else longer each time.
    ///
    /// # Errors
    /// As [`Waker::next`].
    pub async fn pause(&mut self, error: &CallError) -> Result<(), End> {
        let wanted = match error {
            CallError::Unavailable {
                retry_after: Some(after),
                ..
            } => *after,
            _ => self.pause,
        };
        self.pause = (self.pause * 2).min(TICK);
        let left = self.left(&format!("the API server: {error}"))?;
        tokio::select! {
            () = self.stop.cancelled() => Err(End::Stopped),
            () = self.halt.cancelled() => Err(End::Halted),
            () = clock::sleep(left.min(wanted)) => Ok(()),
        }
    }

    fn left(&self, what: &str) -> Result<Duration, End> {
        let left = self.deadline.duration_since(clock::now());
        match Duration::try_from(left) {
            Ok(left) if !left.is_zero() => Ok(left),
            _ => Err(End::failed(
                "DeadlineExceeded",
                format!("the deadline passed while waiting for {what}"),
            )),
        }
    }
}
