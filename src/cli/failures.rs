//! What goes wrong on purpose: flags of `wam sandbox` and `wam kubelets`.

use std::time::Duration;

use clap::Args;

use super::duration;
use crate::sandbox::kubelet::Failures;

/// The flags.
#[derive(Debug, Clone, Args)]
pub struct FailureFlags {
    /// This share of pods (0 to 1) runs but never becomes Ready
    #[arg(long, value_name = "SHARE", default_value = "0", value_parser = share)]
    pub never_ready: f64,
    /// This share of pods crashes, again and again
    #[arg(long, value_name = "SHARE", default_value = "0", value_parser = share)]
    pub crash: f64,
    /// This share of pods starts late, by --slow-by
    #[arg(long, value_name = "SHARE", default_value = "0", value_parser = share)]
    pub slow: f64,
    /// How much later slow pods start
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration::parse)]
    pub slow_by: Duration,
}

impl FailureFlags {
    /// As the kubelets take them.
    #[must_use]
    pub fn failures(&self) -> Failures {
        Failures {
            never_ready: self.never_ready,
            crash: self.crash,
            slow: self.slow,
            slow_by: self.slow_by,
        }
    }
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err(format!("{text:?} is no share; write a number from 0 to 1")),
    }
}
