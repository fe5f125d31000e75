//! `wam create`, `delete`, `move` and `swap`.

use std::io::Write;

use serde_json::{Value, json};

use super::args::{CreateArgs, DeleteArgs, MoveArgs, SubmitArgs, SwapArgs};
use super::output::{self, Format, text};
use super::rpc::Client;
use super::wait;

/// `wam create`.
pub(super) async fn create(
    args: CreateArgs,
    out: &mut (dyn Write + Send),
    err: &mut (dyn Write + Send),
) -> anyhow::Result<bool> {
    let argument = json!({
        "workload": {
            "namespace": args.submit.namespace,
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "name": args.workload.name,
        },
        "node": {"name": args.node},
    });
    submit("action.Create", argument, &args.submit, out, err).await
}

/// `wam delete`.
pub(super) async fn delete(
    args: DeleteArgs,
    out: &mut (dyn Write + Send),
    err: &mut (dyn Write + Send),
) -> anyhow::Result<bool> {
    let pod = args.pod.wire(&args.submit.namespace, args.uid.as_deref());
    submit("action.Delete", json!({"pod": pod}), &args.submit, out, err).await
}

/// `wam move`.
pub(super) async fn relocate(
    args: MoveArgs,
    out: &mut (dyn Write + Send),
    err: &mut (dyn Write + Send),
) -> anyhow::Result<bool> {
    let pod = args.pod.wire(&args.submit.namespace, args.uid.as_deref());
    let argument = json!({"pod": pod, "node": {"name": args.node}});
    submit("action.Move", argument, &args.submit, out, err).await
}

/// `wam swap`.
pub(super) async fn swap(
    args: SwapArgs,
    out: &mut (dyn Write + Send),
    err: &mut (dyn Write + Send),
) -> anyhow::Result<bool> {
    let namespace = &args.submit.namespace;
    let x = args.pod.wire(namespace, args.uid.as_deref());
    let y: Vec<_> = args
        .with
        .iter()
        .map(|pod| pod.wire(namespace, None))
        .collect();
    submit(
        "action.Swap",
        json!({"x": x, "y": y}),
        &args.submit,
        out,
        err,
    )
    .await
}

async fn submit(
    method: &str,
    mut argument: Value,
    args: &SubmitArgs,
    out: &mut (dyn Write + Send),
    err: &mut (dyn Write + Send),
) -> anyhow::Result<bool> {
    let client = Client::new(&args.server)?;
    if let Some(options) = args.options() {
        argument["options"] = options;
    }
    let result = client.call(method, &argument).await?;
    let format = args.server.output;
    if args.dry_run {
        let plan = &result["plan"];
        if !output::document(format, &result, out)? {
            show_plan(plan, out)?;
        }
        return Ok(plan["feasible"] != Value::Bool(false));
    }
    let id = text(&result, "actionId");
    if args.wait {
        return wait::until_final(&client, id, format, args.timeout, out, err).await;
    }
    if !output::document(format, &result, out)? {
        if format == Format::Name {
            writeln!(out, "{id}")?;
        } else {
            writeln!(out, "action {id} accepted")?;
            writeln!(err, "Follow it with: wam watch {id}")?;
        }
    }
    Ok(true)
}

/// A plan's steps with what each needs; a plan of another shape as it is.
fn show_plan(plan: &Value, out: &mut (dyn Write + Send)) -> anyhow::Result<()> {
    if plan["feasible"] == Value::Bool(false) {
        let (reason, message) = (text(plan, "reason"), text(plan, "message"));
        writeln!(out, "Nothing was done. It would fail ({reason}): {message}")?;
        return Ok(());
    }
    let Some(steps) = plan["steps"].as_array() else {
        writeln!(out, "{}", serde_json::to_string_pretty(plan)?)?;
        return Ok(());
    };
    writeln!(out, "Nothing was done. This would be done:")?;
    let rows: Vec<_> = steps
        .iter()
        .enumerate()
        .map(|(index, step)| {
            let needs: Vec<_> = step["needs"].as_array().map_or_else(Vec::new, |needs| {
                needs
                    .iter()
                    .filter_map(Value::as_u64)
                    .map(|need| (need + 1).to_string())
                    .collect()
            });
            let name = step["name"].as_str().or_else(|| step.as_str());
            vec![
                format!("  {}.", index + 1),
                name.map_or_else(|| step.to_string(), str::to_owned),
                if needs.is_empty() {
                    String::new()
                } else {
                    format!("after {}", needs.join(", "))
                },
            ]
        })
        .collect();
    output::table(&rows, out)?;
    Ok(())
}
