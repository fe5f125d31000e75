//! Lists and watches, one task a kind, as one stream of [`ClusterEvent`]s.
//!
//! Invariants: events of one object arrive in order; nothing is lost to a slow consumer, because a full
//! channel makes the watch wait. After every re-list the consumer is told what vanished meanwhile, by
//! the difference to what it was told before; unchanged objects are not sent again. An object that
//! cannot be understood is skipped and counted, and its neighbours arrive.

mod health;
mod lenient;
mod objects;
mod task;

use k8s_openapi::api::apps::v1 as apps;
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::policy::v1 as policy;
use k8s_openapi::api::storage::v1 as storage;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::health::Board;
pub use self::health::WatchHealth;
use self::task::Task;
use super::metrics::Metrics;
use crate::cluster::ClusterEvent;
use crate::cluster::event::Kind;

/// The running watches.
#[derive(Debug, Clone)]
pub struct Watches {
    board: Board,
    tasks: TaskTracker,
}

impl Watches {
    /// Begins to watch; ends with `shutdown` or when the receiver is gone. `seed` is of the back-off's
    /// jitter.
    #[must_use]
    pub fn spawn(
        client: &::kube::Client,
        events: &mpsc::Sender<ClusterEvent>,
        metrics: &Metrics,
        shutdown: &CancellationToken,
        seed: u64,
    ) -> Self {
        let board = Board::default();
        let tasks = TaskTracker::new();
        let task = |kind: Kind| Task {
            kind,
            client: client.clone(),
            events: events.clone(),
            metrics: metrics.clone(),
            board: board.clone(),
            shutdown: shutdown.clone(),
            seed: seed.wrapping_add(kind as u64),
        };
        tasks.spawn(Box::pin(task(Kind::Node).run::<core::Node>()));
        tasks.spawn(Box::pin(task(Kind::Pod).run::<core::Pod>()));
        tasks.spawn(Box::pin(task(Kind::ReplicaSet).run::<apps::ReplicaSet>()));
        tasks.spawn(Box::pin(task(Kind::Deployment).run::<apps::Deployment>()));
        tasks.spawn(Box::pin(
            task(Kind::PodDisruptionBudget).run::<policy::PodDisruptionBudget>(),
        ));
        tasks.spawn(Box::pin(task(Kind::Namespace).run::<core::Namespace>()));
        tasks.spawn(Box::pin(task(Kind::Service).run::<core::Service>()));
        tasks.spawn(Box::pin(
            task(Kind::ReplicationController).run::<core::ReplicationController>(),
        ));
        tasks.spawn(Box::pin(task(Kind::StatefulSet).run::<apps::StatefulSet>()));
        tasks.spawn(Box::pin(
            task(Kind::PersistentVolumeClaim).run::<core::PersistentVolumeClaim>(),
        ));
        tasks.spawn(Box::pin(
            task(Kind::PersistentVolume).run::<core::PersistentVolume>(),
        ));
        tasks.spawn(Box::pin(
            task(Kind::StorageClass).run::<storage::StorageClass>(),
        ));
        tasks.spawn(Box::pin(task(Kind::CsiNode).run::<storage::CSINode>()));
        tasks.spawn(Box::pin(task(Kind::CsiDriver).run::<storage::CSIDriver>()));
        tasks.spawn(Box::pin(
            task(Kind::CsiStorageCapacity).run::<storage::CSIStorageCapacity>(),
        ));
        tasks.spawn(Box::pin(
            task(Kind::VolumeAttachment).run::<storage::VolumeAttachment>(),
        ));
        tasks.close();
        Self { board, tasks }
    }

    /// How each kind is doing, for `/readyz`.
    #[must_use]
    pub fn health(&self) -> Vec<WatchHealth> {
        self.board.read()
    }

    /// Waits until all watches have ended.
    pub async fn stopped(&self) {
        self.tasks.wait().await;
    }
}
