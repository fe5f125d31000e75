//! What is stored of an action. The store keeps life cycle, versions and fences; what the request and
//! the steps mean is known to `actions` alone, hence their opaque JSON.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

/// An action's id: a UUIDv7 without dashes, so that ids sort by age and fit in a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ActionId(Uuid);

impl ActionId {
    /// A new id for an action accepted at `now`.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        let seconds = u64::try_from(now.as_second()).unwrap_or_default();
        let nanos = u32::try_from(now.subsec_nanosecond()).unwrap_or_default();
        Self(Uuid::new_v7(uuid::Timestamp::from_unix(
            uuid::NoContext,
            seconds,
            nanos,
        )))
    }
}

impl fmt::Display for ActionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.simple())
    }
}

/// The text is no action id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an action id")]
pub struct NotAnId(String);

impl FromStr for ActionId {
    type Err = NotAnId;
    fn from_str(text: &str) -> Result<Self, NotAnId> {
        Uuid::try_parse(text)
            .map(Self)
            .map_err(|_| NotAnId(text.chars().take(80).collect()))
    }
}

impl Serialize for ActionId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ActionId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// Where an action is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ActionState {
    /// Stored, not begun.
    Pending,
    /// Being carried out, or being put back.
    Running,
    /// Done, whole.
    Succeeded,
    /// Not done; what could not be put back is said in the message.
    Failed,
    /// Begun and put back to where it was.
    Compensated,
    /// Ended by the caller.
    Cancelled,
}

impl ActionState {
    /// Whether it will change no more.
    #[must_use]
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Pending | Self::Running)
    }
}

/// Whether the plan is being carried out or run back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Direction {
    /// Towards what was asked for.
    Forward,
    /// Back to where it began.
    Back,
}

/// Where a step is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum StepState {
    /// Not begun.
    Pending,
    /// Begun: its side effect may have happened.
    Running,
    /// Done.
    Done,
    /// Did not work; nothing of it is left.
    Failed,
    /// Not needed any more.
    Skipped,
}

/// One step of a plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StepRecord {
    /// For people, for example `evict default/web-1`.
    pub name: String,
    /// The primitive, as `actions` spells it.
    pub op: Value,
    /// Indices of the steps that must be done before.
    pub needs: Vec<usize>,
    /// Its state.
    pub state: StepState,
    /// When it was begun.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// What happened, for people.
    #[serde(default)]
    pub detail: String,
    /// What the step wrote ahead and found out, as `actions` spells it.
    #[serde(default)]
    pub memo: Value,
}

/// A pod that an action concerned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodRef {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// The node it is on, empty if none.
    pub node: String,
}

/// An action as stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ActionRecord {
    /// Its id.
    pub id: ActionId,
    /// For example `action.Move`.
    pub method: String,
    /// The arguments, with uids fixed at acceptance, as `actions` spells them.
    pub request: Value,
    /// Its state.
    pub state: ActionState,
    /// One word why, in CamelCase; empty while all is well.
    #[serde(default)]
    pub reason: String,
    /// What happened, for people.
    #[serde(default)]
    pub message: String,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When the executor began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// When the executor gives up and puts back.
    pub deadline: Timestamp,
    /// The new pods, and those that were put back.
    #[serde(default)]
    pub pods: Vec<PodRef>,
    /// The plan; empty before it is compiled.
    #[serde(default)]
    pub steps: Vec<StepRecord>,
    /// Forward, or being put back.
    pub direction: Direction,
    /// The index of the first step of the present attempt: more than 0 once another way was begun after the
    /// first was put back.
    #[serde(default)]
    pub forward_from: usize,
    /// While being put back: the index of the first step of the way back.
    #[serde(default)]
    pub back_from: usize,
    /// While being put back: whether the steps of the way back put everything where it was.
    #[serde(default)]
    pub restores: bool,
    /// Counts the writes.
    #[serde(default)]
    pub version: u64,
    /// Counts the takeovers.
    #[serde(default)]
    pub fence: u64,
}

/// An event to append.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NewEvent {
    /// The CloudEvent's id, stable over repetitions.
    pub id: String,
    /// The CloudEvent's type, for example `wam.action.accepted.v1`.
    pub kind: String,
    /// The CloudEvent.
    pub body: Value,
}

/// An event with its place in the stream.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredEvent {
    /// The place: `<milliseconds>-<sequence>`, ordered, as a Redis stream spells it.
    pub position: String,
    /// The event.
    pub event: NewEvent,
}
