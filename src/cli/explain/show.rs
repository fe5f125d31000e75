//! An answer as a table.

use std::io::{self, Write};

use crate::scheduler::explain::{Answer, NodeAnswer, Nominated};

/// What the plugins score is shown for so many nodes; `-o json` has all.
const SHOWN: usize = 20;

/// Writes it.
pub(super) fn table(answer: &Answer, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{}: {}", answer.pod, answer.result)?;
    if !answer.message.is_empty() {
        writeln!(out, "{}", answer.message)?;
    }
    if answer.via_nominated_node {
        writeln!(
            out,
            "goes to its nominated node {}",
            answer.candidates.join(", ")
        )?;
    } else if !answer.candidates.is_empty() {
        writeln!(out, "goes to {}", answer.candidates.join(" or "))?;
    }
    let mut rows = vec![vec![
        "NODE".to_owned(),
        "TOTAL".to_owned(),
        "WHY".to_owned(),
    ]];
    let (mut fit, not): (Vec<&NodeAnswer>, Vec<&NodeAnswer>) =
        answer.nodes.iter().partition(|n| n.filter.is_none());
    fit.sort_by_key(|n| std::cmp::Reverse(n.total));
    for node in fit.iter().take(SHOWN) {
        let scores = node
            .scores
            .iter()
            .flatten()
            .filter(|(_, s)| s.weighted != 0);
        let scores: Vec<String> = scores.map(|(p, s)| format!("{p} {}", s.weighted)).collect();
        let total = node.total.map(|t| t.to_string()).unwrap_or_default();
        rows.push(vec![node.name.clone(), total, scores.join(", ")]);
    }
    if fit.len() > SHOWN {
        rows.push(vec![format!("and {} more that fit", fit.len() - SHOWN)]);
    }
    for node in not {
        if let Some(why) = &node.filter {
            let plugin = match why.plugin {
                "" => String::new(),
                plugin => format!("{plugin}: "),
            };
            let why = format!("{plugin}{}", why.reasons.join(", "));
            rows.push(vec![node.name.clone(), "-".to_owned(), why]);
        }
    }
    if rows.len() > 1 {
        writeln!(out)?;
        crate::cli::client::output::table(&rows, out)?;
    }
    preemption(answer, out)
}

fn preemption(answer: &Answer, out: &mut dyn Write) -> io::Result<()> {
    let Some(preemption) = answer
        .preemption
        .as_ref()
        .filter(|p| !p.candidates.is_empty())
    else {
        return Ok(());
    };
    let best = |node: &str| match &preemption.nominated {
        Some(Nominated::One(one)) => one == node,
        Some(Nominated::Any(any)) => any.iter().any(|n| n == node),
        None => false,
    };
    let mut rows = vec![vec![
        "PREEMPTION".to_owned(),
        "BUDGETS".to_owned(),
        "VICTIMS".to_owned(),
    ]];
    for candidate in &preemption.candidates {
        let mark = if best(&candidate.node) { " (best)" } else { "" };
        rows.push(vec![
            format!("{}{mark}", candidate.node),
            candidate.pdb_violations.to_string(),
            candidate.victims.join(", "),
        ]);
    }
    writeln!(out)?;
    crate::cli::client::output::table(&rows, out)
}
