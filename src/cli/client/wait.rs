//! Waits for the end of an action.

use std::io::Write;
use std::time::Duration;

use serde_json::{Value, json};

use super::output::{Format, text};
use super::rpc::{self, Client};
use super::show;
use crate::clock;

/// How often the action is looked at: soon at first, since most actions take seconds.
const FIRST: Duration = Duration::from_millis(100);
/// And at most so far apart.
const LONGEST: Duration = Duration::from_secs(1);
/// How long a server may be away (a restart) before waiting ends.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// Whether an action in this state will change no more.
pub(super) fn is_final(state: &str) -> bool {
    matches!(state, "Succeeded" | "Failed" | "Compensated" | "Cancelled")
}

/// Waits until the action has ended, tells each change of a step to `err`, and shows the action.
/// True if it succeeded.
pub(super) async fn until_final(
    client: &Client,
    id: &str,
    format: Format,
    limit: Option<Duration>,
    out: &mut (dyn Write + Send),
    err: &mut (dyn Write + Send),
) -> anyhow::Result<bool> {
    let begin = clock::instant();
    let mut answered = begin;
    let mut pause = FIRST;
    let mut progress = Progress::default();
    writeln!(err, "action {id} accepted")?;
    loop {
        match client.call("action.Get", &json!({"actionId": id})).await {
            Ok(action) => {
                answered = clock::instant();
                progress.tell(&action, err)?;
                if is_final(text(&action, "state")) {
                    finish(format, &action, out)?;
                    return Ok(text(&action, "state") == "Succeeded");
                }
            }
            Err(error) if error.is_transient() && answered.elapsed() < PATIENCE => {
                progress.away(&error, err)?;
            }
            Err(error) => return Err(error.into()),
        }
        if let Some(limit) = limit
            && begin.elapsed() >= limit
        {
            writeln!(
                err,
                "still not ended after {limit:?}; the action goes on: wam watch {id}"
            )?;
            if format == Format::Name {
                writeln!(out, "{id}")?;
            }
            return Ok(false);
        }
        clock::sleep(pause).await;
        pause = (pause * 3 / 2).min(LONGEST);
    }
}

/// One line for people, the whole action for programs.
pub(super) fn finish(
    format: Format,
    action: &Value,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<()> {
    if format != Format::Text {
        return show::show(format, action, out);
    }
    let (id, state, message) = (
        text(action, "actionId"),
        text(action, "state"),
        text(action, "message"),
    );
    if message.is_empty() {
        writeln!(out, "action {id} {state}")?;
    } else {
        writeln!(out, "action {id} {state}: {message}")?;
    }
    Ok(())
}

/// What was told already.
#[derive(Default)]
pub(super) struct Progress {
    states: Vec<String>,
    away: bool,
}

impl Progress {
    /// Tells the steps that have changed since.
    pub(super) fn tell(
        &mut self,
        action: &Value,
        err: &mut (dyn Write + Send),
    ) -> std::io::Result<()> {
        self.away = false;
        let steps = action["steps"].as_array().map_or(&[][..], Vec::as_slice);
        for (index, step) in steps.iter().enumerate() {
            let state = text(step, "state");
            if self.states.len() <= index {
                self.states.push("Pending".to_owned());
            }
            if self.states[index] == state {
                continue;
            }
            state.clone_into(&mut self.states[index]);
            let detail = text(step, "detail");
            let dash = if detail.is_empty() { "" } else { ": " };
            writeln!(err, "  {state:<8} {}{dash}{detail}", text(step, "name"))?;
        }
        Ok(())
    }

    fn away(&mut self, error: &rpc::Error, err: &mut (dyn Write + Send)) -> std::io::Result<()> {
        if !std::mem::replace(&mut self.away, true) {
            writeln!(err, "{error}\nStill trying.")?;
        }
        Ok(())
    }
}
