//! `wam explain`: why a pod goes where it goes, or nowhere.

use std::io::{BufRead, Write};
use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use crate::scheduler::explain::Case;

/// Says what the scheduler would decide about a pod, and why, node by node
#[derive(Debug, Args)]
pub struct ExplainCommand {
    /// Read cases from stdin, one JSON object a line, and write one answer a line
    #[arg(long)]
    jsonl: bool,
}

/// Runs the command.
///
/// # Errors
/// When nothing can be read or written.
pub fn run(command: &ExplainCommand) -> anyhow::Result<ExitCode> {
    if command.jsonl {
        lines()?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A line that cannot be answered is answered with an error, and the next one is read.
fn lines() -> anyhow::Result<()> {
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        if line.trim().is_empty() {
            continue;
        }
        let answer = match serde_json::from_str::<Case>(&line) {
            Err(error) => json!({"result": "Error", "message": error.to_string()}),
            Ok(case) => {
                let (id, pod) = (case.id.clone(), case.pod.clone());
                match case.answer() {
                    Ok(answer) => serde_json::to_value(answer)?,
                    Err(error) => {
                        json!({"id": id, "pod": pod, "result": "Error", "message": error.to_string()})
                    }
                }
            }
        };
        serde_json::to_writer(&mut out, &answer)?;
        out.write_all(b"\n")?;
    }
    out.flush()?;
    Ok(())
}
