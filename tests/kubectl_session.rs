//! One long session with the real kubectl, on the sandbox and on a real control plane at once: exit code,
//! output and complaints of every step are the same on both, after ids, times and random names are taken
//! out. What still differs stands in `tests/session/differences.yaml` with its reason.
//!
//! The script is `tests/session/*.session` (`session_support::script` says how it is written); both
//! transcripts are written to the target's `tmp/kubectl-session`. With `WAM_SESSION_ONLY=20,40` only some of its
//! files are walked. With `WAM_WRITE_DESCRIPTIONS=1` it writes what `kubectl explain` tells in the sandbox anew.
// It talks to other processes: their time is the real one.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    unreachable_pub,
    missing_docs
)]

mod session_support;
mod support;

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

use session_support::compare::{accepted, compare};
use session_support::descriptions;
use session_support::side::{self, Answer, Ground};
use session_support::{script, side::run};
use support::testbed::Testbed;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn kubectl_cannot_tell_the_sandbox_from_a_real_cluster() {
    let started = tokio::task::spawn_blocking(Testbed::start).await.unwrap();
    let Some(testbed) = support::require("the kubectl session", started) else {
        return;
    };
    if std::env::var_os("WAM_WRITE_DESCRIPTIONS").is_some() {
        descriptions::write(&testbed.kubectl()).await;
        return;
    }
    let steps = script::read();
    let whole = std::env::var_os("WAM_SESSION_ONLY").is_none();
    let sandbox = Box::pin(side::sandbox()).await;
    let ours = tokio::spawn(Box::pin(run(sandbox, steps.clone())));
    let theirs = tokio::spawn(Box::pin(run(Ground::Real(testbed), steps)));
    let (ours, theirs) = (ours.await.unwrap(), theirs.await.unwrap());
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("kubectl-session");
    std::fs::create_dir_all(&folder).unwrap();
    transcript(&folder, "sandbox", &ours);
    transcript(&folder, "real", &theirs);
    let report = compare(&theirs, &ours, &accepted(), whole);
    std::fs::write(folder.join("differences.txt"), report.problems.join("\n")).unwrap();
    // Not by a macro, whose output is kept back when the test passes.
    let told = format!(
        "kubectl session: {} steps on both servers, {} accepted differences; transcripts in {}\n",
        report.steps,
        report.accepted,
        folder.display()
    );
    std::io::stderr().write_all(told.as_bytes()).unwrap();
    assert!(
        report.problems.is_empty(),
        "{} of {} steps differ; transcripts in {}\n\n{}",
        report.problems.len(),
        report.steps,
        folder.display(),
        report.problems.join("\n")
    );
    assert!(!whole || report.steps >= 150, "{} steps", report.steps);
}

/// What was said, as it was and as it is compared.
fn transcript(folder: &Path, side: &str, answers: &[Answer]) {
    let (mut raw, mut compared) = (String::new(), String::new());
    for answer in answers {
        let _ = writeln!(raw, "{}: $ {}\n{}", answer.place, answer.name, answer.raw);
        let _ = writeln!(
            compared,
            "{}: $ {}\n{}\n",
            answer.place, answer.name, answer.text
        );
    }
    std::fs::write(folder.join(format!("{side}.txt")), raw).unwrap();
    std::fs::write(folder.join(format!("{side}.compared.txt")), compared).unwrap();
}
