//! `KubeSchedulerConfiguration` of `kubescheduler.config.k8s.io/v1`, complete: what a file leaves out has
//! kube-scheduler's default (`pkg/scheduler/apis/config/v1/defaults.go`), with one exception that is named
//! at [`ClientConnection`].

use super::duration::GoDuration;
use crate::scheduler::framework::Profile;

/// The group and version that a file must name.
pub(super) const API_VERSION: &str = "kubescheduler.config.k8s.io/v1";
/// The kind that a file must name.
pub(super) const KIND: &str = "KubeSchedulerConfiguration";
/// The scheduler name of the only profile when a file gives it none.
pub(super) const DEFAULT_SCHEDULER: &str = "default-scheduler";

/// Everything that can be set about a scheduler.
#[derive(Debug, Clone, PartialEq)]
pub struct Configuration {
    /// How many goroutines kube-scheduler uses; accepted, and without effect here.
    pub parallelism: i32,
    /// Whether and how to stand for election.
    pub leader_election: LeaderElection,
    /// How to talk to the API server.
    pub client_connection: ClientConnection,
    /// kube-scheduler's pprof; accepted, and without effect here.
    pub enable_profiling: bool,
    /// As above.
    pub enable_contention_profiling: bool,
    /// Of profiles that have none of their own; 0 lets the size of the cluster decide.
    pub percentage_of_nodes_to_score: i32,
    /// The first backoff.
    pub pod_initial_backoff_seconds: i64,
    /// The longest backoff.
    pub pod_max_backoff_seconds: i64,
    /// At least one.
    pub profiles: Vec<ProfileConfig>,
    /// Asked in this order.
    pub extenders: Vec<ExtenderConfig>,
    /// Whether a replica that does not lead keeps no cache; accepted, and without effect here.
    pub delay_cache_until_active: bool,
}

/// A profile, merged with the default plugins.
#[derive(Debug, Clone, PartialEq)]
pub struct ProfileConfig {
    /// Its plugins and their args; its percentage is [`Self::percentage_of_nodes_to_score`], else the global
    /// one.
    pub profile: Profile,
    /// Its own `percentageOfNodesToScore`, if it has one.
    pub percentage_of_nodes_to_score: Option<i32>,
}

/// The lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaderElection {
    /// Whether to stand at all.
    pub leader_elect: bool,
    /// How long others wait for a silent leader (15 s).
    pub lease_duration: GoDuration,
    /// How long a leader tries to renew (10 s).
    pub renew_deadline: GoDuration,
    /// Between tries (2 s).
    pub retry_period: GoDuration,
    /// `leases`; there is no other any more.
    pub resource_lock: String,
    /// The Lease's name (`kube-scheduler`). A scheduler beside kube-scheduler needs another.
    pub resource_name: String,
    /// The Lease's namespace (`kube-system`).
    pub resource_namespace: String,
}

impl Default for LeaderElection {
    fn default() -> Self {
        Self {
            leader_elect: true,
            lease_duration: GoDuration::from_secs(15),
            renew_deadline: GoDuration::from_secs(10),
            retry_period: GoDuration::from_secs(2),
            resource_lock: "leases".to_owned(),
            resource_name: "kube-scheduler".to_owned(),
            resource_namespace: "kube-system".to_owned(),
        }
    }
}

/// The client.
///
/// `qps` and `burst` bound binds. Left out (or 0) they are 2000 here and 50 with a burst of 100 in
/// kube-scheduler, whose every call shares that budget: it would cap scheduling at 50 pods a second.
#[derive(Debug, Clone, PartialEq)]
pub struct ClientConnection {
    /// A kubeconfig file; empty for the one found as kubectl finds it.
    pub kubeconfig: String,
    /// Accepted, and without effect here: JSON is spoken.
    pub accept_content_types: String,
    /// As above.
    pub content_type: String,
    /// Binds per second; below 0 is no bound.
    pub qps: f32,
    /// Binds that may follow each other at once.
    pub burst: i32,
}

/// See [`ClientConnection`].
pub(super) const DEFAULT_QPS: f32 = 2000.0;
/// See [`ClientConnection`].
pub(super) const DEFAULT_BURST: i32 = 2000;

impl Default for ClientConnection {
    fn default() -> Self {
        Self {
            kubeconfig: String::new(),
            accept_content_types: String::new(),
            content_type: "application/json".to_owned(),
            qps: DEFAULT_QPS,
            burst: DEFAULT_BURST,
        }
    }
}

/// An extender: decides with us, over HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtenderConfig {
    /// Where it is; verbs are added after a slash.
    pub url_prefix: String,
    /// Empty: it does not filter.
    pub filter_verb: String,
    /// Empty: it has no say in preemption.
    pub preempt_verb: String,
    /// Empty: it does not score.
    pub prioritize_verb: String,
    /// What its scores count for.
    pub weight: i64,
    /// Empty: it does not bind.
    pub bind_verb: String,
    /// Whether to speak TLS.
    pub enable_https: bool,
    /// How.
    pub tls: Option<ExtenderTls>,
    /// How long an answer may take (5 s).
    pub http_timeout: GoDuration,
    /// Whether it knows the nodes, so that names are enough.
    pub node_cache_capable: bool,
    /// It is asked only about pods that request one of these; empty: about all.
    pub managed_resources: Vec<ManagedResource>,
    /// Whether scheduling goes on without it when it does not answer.
    pub ignorable: bool,
}

/// An extended resource that an extender manages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManagedResource {
    /// For example `example.com/foo`.
    pub name: String,
    /// Whether NodeResourcesFit leaves it to the extender.
    pub ignored_by_scheduler: bool,
}

/// TLS of an extender's client.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExtenderTls {
    /// Accept any certificate.
    pub insecure: bool,
    /// The name in the certificate, if not the URL's.
    pub server_name: String,
    /// Files, or what they contain; what is given as data wins.
    pub cert_file: String,
    /// See above.
    pub key_file: String,
    /// See above.
    pub ca_file: String,
    /// PEM.
    pub cert_data: Vec<u8>,
    /// PEM.
    pub key_data: Vec<u8>,
    /// PEM.
    pub ca_data: Vec<u8>,
}

impl Default for Configuration {
    /// That of an empty file.
    fn default() -> Self {
        Self::for_scheduler(DEFAULT_SCHEDULER)
    }
}

impl Configuration {
    /// The defaults for the pods of this scheduler name.
    #[must_use]
    pub fn for_scheduler(name: &str) -> Self {
        Self {
            parallelism: 16,
            leader_election: LeaderElection::default(),
            client_connection: ClientConnection::default(),
            enable_profiling: true,
            enable_contention_profiling: true,
            percentage_of_nodes_to_score: 0,
            pod_initial_backoff_seconds: 1,
            pod_max_backoff_seconds: 10,
            profiles: vec![ProfileConfig {
                profile: Profile::new(name),
                percentage_of_nodes_to_score: None,
            }],
            extenders: Vec::new(),
            delay_cache_until_active: false,
        }
    }

    /// Whose pods are ours.
    #[must_use]
    pub fn scheduler_names(&self) -> Vec<String> {
        let names = self
            .profiles
            .iter()
            .map(|p| p.profile.scheduler_name.clone());
        names.collect()
    }

    /// The profiles to make frameworks of.
    #[must_use]
    pub fn profiles(&self) -> Vec<Profile> {
        self.profiles.iter().map(|p| p.profile.clone()).collect()
    }
}
