//! Takes actions from the store and runs them, as long as it holds them.
//!
//! Holding is a lease in the store; losing it (or not reaching the store for as long) stops the steps. Whoever
//! takes over gets a higher fence, and every side effect is conditional, so that a paused executor can do no
//! harm.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use super::context::{Context, Parts};
use super::journal::Journal;
use super::metrics::Metrics;
use super::runner;
use crate::clock;
use crate::store::{self, ActionId, ActionRecord, PRUNED_AT_ONCE};

/// How an executor works.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Names this process in the store.
    pub owner: String,
    /// How long an action stays with an executor that does not answer.
    pub lease: Duration,
    /// How many actions are carried out at once.
    pub concurrency: usize,
    /// How long an ended action can still be asked for.
    pub retention: Duration,
    /// How many ended actions are kept, however young.
    pub keep: usize,
}

/// How long ended actions are kept unless it is said otherwise: longer than any deadline or idempotency key.
pub const DEFAULT_RETENTION: Duration = Duration::from_secs(7 * 24 * 3600);
/// How many ended actions are kept: of some kilobytes each, they need less than a gigabyte.
const KEPT: usize = 100_000;
/// How often ended actions are looked through.
const PRUNING: Duration = Duration::from_secs(60);
/// How soon again where a whole portion was forgotten.
const PRUNING_MORE: Duration = Duration::from_secs(1);

impl Settings {
    /// Sensible settings for the process `owner`.
    #[must_use]
    pub fn new(owner: impl Into<String>) -> Self {
        Self {
            owner: owner.into(),
            lease: runner::DEFAULT_LEASE,
            concurrency: 256,
            retention: DEFAULT_RETENTION,
            keep: KEPT,
        }
    }
}

/// How long steps may take to stop at a shutdown. What answers by then is on record; what does not is cut
/// off, which is safe: whoever takes over looks what was done.
const PATIENCE: Duration = Duration::from_secs(3);

/// How long the store may take to let the actions go.
const RELEASE: Duration = Duration::from_secs(3);

/// An action that a task of ours carries out.
struct Held {
    action: ActionId,
    stop: CancellationToken,
}

/// See the module documentation.
pub struct Executor {
    parts: Parts,
    settings: Settings,
    /// By task, not by action: one that was lost and taken again has two for a moment, and the end of the
    /// old one says nothing about the new one.
    held: BTreeMap<Id, Held>,
    tasks: JoinSet<()>,
    metrics: Metrics,
}

impl Executor {
    /// An executor over these neighbours.
    #[must_use]
    pub fn new(parts: Parts, settings: Settings) -> Self {
        Self {
            parts,
            settings,
            held: BTreeMap::new(),
            tasks: JoinSet::new(),
            metrics: Metrics::default(),
        }
    }

    /// Counts what it does in `metrics`.
    #[must_use]
    pub fn counting(self, metrics: Metrics) -> Self {
        Self { metrics, ..self }
    }

    /// Works until `shutdown`, then stops the steps where they wait and lets the actions go, so that another
    /// executor (or this one, after a restart) goes on at once.
    pub async fn run(mut self, shutdown: CancellationToken) {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = self.synced() => {}
        }
        let mut changes = self.parts.store.changes();
        let mut renewals = clock::interval(self.settings.lease / 3);
        let mut pruning = clock::interval(PRUNING);
        let mut renewed = clock::instant();
        self.sweep().await;
        loop {
            self.take().await;
            tokio::select! {
                () = shutdown.cancelled() => break,
                Ok(()) = changes.changed() => {}
                _ = pruning.tick() => {
                    // There may be more than a portion; the next one does not wait for its minute.
                    if self.prune().await >= PRUNED_AT_ONCE {
                        pruning.reset_after(PRUNING_MORE);
                    }
                }
                Some(ended) = self.tasks.join_next_with_id(), if !self.tasks.is_empty() => self.ended(ended),
                _ = renewals.tick() => {
                    if self.renew().await {
                        renewed = clock::instant();
                    } else if clock::instant() - renewed >= self.settings.lease {
                        self.drop_all("the lease ran out while the store was unavailable");
                    }
                }
            }
        }
        self.drop_all("shutting down");
        let ids = self.ids();
        let drained = clock::timeout(PATIENCE, async {
            while self.tasks.join_next().await.is_some() {}
        });
        if drained.await.is_err() {
            tracing::warn!("steps are still under way; they are cut off, and fenced off");
            self.tasks.shutdown().await;
        }
        let released = self.parts.store.release(&self.settings.owner, &ids);
        match clock::timeout(RELEASE, released).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(%error, "cannot let the actions go; their lease will run out");
            }
            Err(elapsed) => {
                tracing::warn!(%elapsed, "cannot let the actions go; their lease will run out");
            }
        }
    }

    /// Waits for the watches' first lists: on half a view a plan would seem infeasible and a workload
    /// emptied.
    async fn synced(&self) {
        let mut changes = self.parts.view.changes();
        while !self.parts.view.synced() {
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    fn ids(&self) -> Vec<ActionId> {
        let unique: BTreeSet<ActionId> = self.held.values().map(|held| held.action).collect();
        unique.into_iter().collect()
    }

    fn ended(&mut self, ended: Result<(Id, ()), JoinError>) {
        let task = match ended {
            Ok((task, ())) => task,
            Err(error) => {
                tracing::error!(%error, "an action's task died; its lease will run out");
                error.id()
            }
        };
        self.held.remove(&task);
        self.metrics.holds(self.ids().len());
    }

    fn drop_all(&mut self, why: &str) {
        if !self.held.is_empty() {
            tracing::info!(actions = self.held.len(), why, "stopping actions");
        }
        for held in self.held.values() {
            held.stop.cancel();
        }
    }

    async fn take(&mut self) {
        let room = self.settings.concurrency.saturating_sub(self.held.len());
        if room == 0 {
            return;
        }
        let Settings { owner, lease, .. } = &self.settings;
        match self.parts.store.acquire(owner, *lease, room).await {
            Ok(records) => records.into_iter().for_each(|record| self.start(record)),
            Err(store::Error::Unavailable(problem)) => {
                tracing::warn!(%problem, "no actions can be taken: the store is unavailable");
            }
            Err(error) => tracing::error!(%error, "no actions can be taken"),
        }
    }

    fn start(&mut self, record: ActionRecord) {
        let id = record.id;
        let stop = CancellationToken::new();
        tracing::info!(action = %id, method = record.method, fence = record.fence, "action taken");
        let journal = Journal::new(Arc::clone(&self.parts.store), record, stop.clone());
        let context = Arc::new(Context {
            parts: self.parts.clone(),
            journal,
            stop: stop.clone(),
            metrics: self.metrics.clone(),
        });
        // An older task of the same action has lost it.
        for held in self.held.values().filter(|held| held.action == id) {
            held.stop.cancel();
        }
        let task = self.tasks.spawn(Box::pin(runner::run(context)));
        self.held.insert(task.id(), Held { action: id, stop });
        self.metrics.holds(self.ids().len());
    }

    /// Prolongs the leases; false if the store could not be asked.
    async fn renew(&mut self) -> bool {
        let ids = self.ids();
        if ids.is_empty() {
            return true;
        }
        let Settings { owner, lease, .. } = &self.settings;
        match self.parts.store.renew(owner, &ids, *lease).await {
            Ok(kept) => {
                // Ended actions are not kept either; cancelling them stops nothing.
                let lost = |held: &&Held| !kept.contains(&held.action);
                for held in self.held.values().filter(lost) {
                    held.stop.cancel();
                }
                true
            }
            Err(error) => {
                tracing::warn!(%error, "cannot prolong the leases");
                false
            }
        }
    }

    /// Forgets ended actions that are too old or too many: one portion, so that nothing else waits for long.
    /// Answers how many.
    async fn prune(&self) -> usize {
        let Settings {
            retention, keep, ..
        } = self.settings;
        match self.parts.store.prune(retention, keep).await {
            Ok(0) => 0,
            Ok(actions) => {
                tracing::info!(actions, "forgot ended actions");
                actions
            }
            Err(error) => {
                tracing::debug!(%error, "cannot forget ended actions");
                0
            }
        }
    }

    /// Takes back intents whose action has ended or is unknown: none may outlive its action.
    async fn sweep(&self) {
        let store = &self.parts.store;
        let delta = match store.intents_since(0).await {
            Ok(delta) => delta,
            Err(error) => {
                tracing::warn!(%error, "cannot look for orphaned intents");
                return;
            }
        };
        for intent in delta.changed {
            let orphaned = match store.action(intent.action).await {
                Ok(found) => found.is_none_or(|record| record.state.is_final()),
                Err(_) => false,
            };
            if orphaned {
                tracing::warn!(intent = intent.id, "taking back an orphaned intent");
                if let Err(error) = store.withdraw_intent(&intent.id).await {
                    tracing::warn!(%error, "cannot take it back");
                }
            }
        }
    }
}
