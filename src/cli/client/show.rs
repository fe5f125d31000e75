//! `wam get` and `wam list`, and how an action is shown.

use std::io::Write;

use serde_json::{Value, json};

use super::args::{GetArgs, ListArgs};
use super::output::{self, Format, age, text, took};
use super::rpc::Client;

/// `wam get`.
pub(super) async fn get(args: GetArgs, out: &mut (dyn Write + Send)) -> anyhow::Result<bool> {
    let client = Client::new(&args.server)?;
    let action = client
        .call("action.Get", &json!({"actionId": args.id}))
        .await?;
    show(args.server.output, &action, out)?;
    Ok(true)
}

/// `wam list`.
pub(super) async fn list(
    args: ListArgs,
    out: &mut (dyn Write + Send),
    err: &mut (dyn Write + Send),
) -> anyhow::Result<bool> {
    let client = Client::new(&args.server)?;
    let from = args.r#continue.unwrap_or_default();
    let argument = json!({"limit": args.limit, "continue": from});
    let page = client.call("action.List", &argument).await?;
    let format = args.server.output;
    if output::document(format, &page, out)? {
        return Ok(true);
    }
    let actions = page["actions"].as_array().map_or(&[][..], Vec::as_slice);
    if format == Format::Name {
        for action in actions {
            writeln!(out, "{}", text(action, "actionId"))?;
        }
    } else if actions.is_empty() {
        writeln!(err, "No actions found.")?;
    } else {
        let rows: Vec<_> = std::iter::once(header(format == Format::Wide))
            .chain(
                actions
                    .iter()
                    .map(|action| row(action, format == Format::Wide)),
            )
            .collect();
        output::table(&rows, out)?;
    }
    let next = text(&page, "continue");
    if !next.is_empty() {
        writeln!(err, "There are more: wam list --continue {next}")?;
    }
    Ok(true)
}

fn header(wide: bool) -> Vec<String> {
    let mut columns = vec!["ID", "METHOD", "STATE", "AGE", "TOOK"];
    if wide {
        columns.extend(["REASON", "PODS"]);
    }
    columns.push("MESSAGE");
    columns.into_iter().map(str::to_owned).collect()
}

fn row(action: &Value, wide: bool) -> Vec<String> {
    let mut row = vec![
        text(action, "actionId").to_owned(),
        text(action, "method").to_owned(),
        text(action, "state").to_owned(),
        age(text(action, "createdAt")),
        took(text(action, "createdAt"), text(action, "finishedAt")),
    ];
    if wide {
        row.push(text(action, "reason").to_owned());
        let pods = action["pods"].as_array().map_or(&[][..], Vec::as_slice);
        row.push(pods.iter().map(pod).collect::<Vec<_>>().join(","));
    }
    row.push(text(action, "message").replace('\n', " "));
    row
}

/// A time without the fraction of its second.
fn seconds(time: &str) -> String {
    match time.split_once('.') {
        Some((whole, _)) => format!("{whole}Z"),
        None => time.to_owned(),
    }
}

/// A pod with its node.
fn pod(pod: &Value) -> String {
    let (namespace, name, node) = (text(pod, "namespace"), text(pod, "name"), text(pod, "node"));
    if node.is_empty() {
        format!("{namespace}/{name}")
    } else {
        format!("{namespace}/{name} on {node}")
    }
}

/// Writes one action.
pub(super) fn show(
    format: Format,
    action: &Value,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<()> {
    if output::document(format, action, out)? {
        return Ok(());
    }
    if format == Format::Name {
        writeln!(out, "{}", text(action, "actionId"))?;
        return Ok(());
    }
    let mut line = |name: &str, value: &str| -> std::io::Result<()> {
        if value.is_empty() {
            return Ok(());
        }
        writeln!(out, "{:<10}{value}", format!("{name}:"))
    };
    line("Action", text(action, "actionId"))?;
    line("Method", text(action, "method"))?;
    let reason = text(action, "reason");
    let state = text(action, "state");
    if reason.is_empty() {
        line("State", state)?;
    } else {
        line("State", &format!("{state} ({reason})"))?;
    }
    line("Message", text(action, "message"))?;
    line("Created", &seconds(text(action, "createdAt")))?;
    line("Started", &seconds(text(action, "startedAt")))?;
    let finished = text(action, "finishedAt");
    if !finished.is_empty() {
        let took = took(text(action, "createdAt"), finished);
        line("Finished", &format!("{} (took {took})", seconds(finished)))?;
    }
    for member in action["pods"].as_array().into_iter().flatten() {
        line("Pod", &format!("{} ({})", pod(member), text(member, "uid")))?;
    }
    let steps = action["steps"].as_array().map_or(&[][..], Vec::as_slice);
    if !steps.is_empty() {
        writeln!(out, "Steps:")?;
        let rows: Vec<_> = steps
            .iter()
            .map(|step| {
                vec![
                    format!("  {}", text(step, "state")),
                    text(step, "name").to_owned(),
                    took(text(step, "startedAt"), text(step, "finishedAt")),
                    text(step, "detail").replace('\n', " "),
                ]
            })
            .collect();
        output::table(&rows, out)?;
    }
    Ok(())
}
