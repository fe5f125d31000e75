//! What the workload controllers do, on both: the sandbox's own, and those of a real
//! kube-controller-manager. The nodes are played by our kubelets on both sides.

// Clippy's exemption for tests does not reach their helper functions.
#![allow(clippy::unwrap_used, unreachable_pub)]

mod support;

mod controllers {
    pub mod batch;
    pub mod daemons;
    pub mod endpoints;
    pub mod ground;
    pub mod stateful;
}

use controllers::ground::Ground;
use controllers::{batch, daemons, endpoints, stateful};

/// Every case is two tests: one on each side.
macro_rules! on_both_sides {
    ($($case:path as $name:ident;)*) => {
        mod sandbox {
            use super::*;
            $(#[tokio::test]
            async fn $name() {
                let place = Ground::sandbox().place(stringify!($name)).await;
                Box::pin($case(&place)).await;
            })*
        }

        mod real {
            use super::*;
            $(#[tokio::test]
            async fn $name() {
                let Some(ground) = Ground::real(stringify!($name)) else {
                    return;
                };
                let place = ground.place(stringify!($name)).await;
                Box::pin($case(&place)).await;
            })*
        }
    };
}

on_both_sides! {
    stateful::comes_rolls_and_goes_in_order as stateful_order;
    stateful::keeps_to_its_partition as stateful_partition;
    stateful::claims_follow_the_retention_policy as stateful_claims;
    daemons::follow_the_nodes as daemon_nodes;
    batch::indexes_are_each_done_once as job_indexes;
    batch::fails_at_its_limit as job_limit;
    batch::fails_by_its_policy as job_policy;
    batch::is_suspended_and_resumed as job_suspension;
    batch::is_removed_after_its_time as job_ttl;
    batch::runs_at_its_moments as cron_job;
    endpoints::follow_readiness as endpoints_readiness;
}
