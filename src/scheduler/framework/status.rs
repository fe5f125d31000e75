//! Why a plugin did not simply agree.

use std::borrow::Cow;
use std::fmt;

use smallvec::{SmallVec, smallvec};

/// What kind of "no" it is. Success is no status at all: `Ok`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Code {
    /// Something went wrong inside.
    Error,
    /// The pod does not fit; other pods leaving could change that.
    Unschedulable,
    /// The pod does not fit, and no pod leaving would change that.
    UnschedulableAndUnresolvable,
    /// Permit: wait before binding.
    Wait,
    /// The plugin has nothing to say about this pod.
    Skip,
    /// The pod waits for something that will move it at once when it happens.
    Pending,
}

/// A plugin's "no", with its reasons.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// The kind.
    pub code: Code,
    /// The reasons, as they appear in events and conditions.
    pub reasons: SmallVec<[Cow<'static, str>; 1]>,
    /// The plugin that said it; filled in by the runtime.
    pub plugin: &'static str,
}

impl Status {
    /// One reason.
    #[must_use]
    pub fn new(code: Code, reason: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            reasons: smallvec![reason.into()],
            plugin: "",
        }
    }

    /// `Unschedulable`.
    #[must_use]
    pub fn unschedulable(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::Unschedulable, reason)
    }

    /// `UnschedulableAndUnresolvable`.
    #[must_use]
    pub fn unresolvable(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::UnschedulableAndUnresolvable, reason)
    }

    /// `Skip`.
    #[must_use]
    pub fn skip() -> Self {
        Self {
            code: Code::Skip,
            reasons: SmallVec::new(),
            plugin: "",
        }
    }

    /// The same, said by `plugin`.
    #[must_use]
    pub fn by(mut self, plugin: &'static str) -> Self {
        self.plugin = plugin;
        self
    }

    /// Whether it says that the pod does not fit (rather than that something broke).
    #[must_use]
    pub fn is_rejection(&self) -> bool {
        matches!(
            self.code,
            Code::Unschedulable | Code::UnschedulableAndUnresolvable | Code::Pending
        )
    }

    /// The reasons, joined by a comma.
    #[must_use]
    pub fn message(&self) -> String {
        self.reasons.join(", ")
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.plugin, self.message())
    }
}
