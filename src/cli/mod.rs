//! The command line: one file per subcommand.

pub mod apply;
pub mod client;
pub mod config;
pub mod duration;
pub mod explain;
pub mod failures;
pub mod kubelets;
pub mod sandbox;
pub mod serve;
pub mod signals;

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use client::ClientCommand;

/// Says what should happen to running workloads on Kubernetes, and makes it happen exactly once.
#[derive(Debug, Parser)]
#[command(
    name = "wam",
    version,
    after_help = "Examples:\n  \
        wam sandbox                                     a cluster in this process, to try things out\n  \
        wam create deployment/test-a --node NODE --wait one more replica on this node\n  \
        wam move POD --node NODE --wait                 this pod's place is taken by a new one there\n  \
        wam serve --redis redis://127.0.0.1:6379        on a real cluster\n\n\
        WAM_LOG sets what is logged, for example WAM_LOG=wam=debug"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Log as JSON
    #[arg(long, global = true, env = "WAM_LOG_JSON")]
    log_json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::ServeCommand),
    Sandbox(sandbox::SandboxCommand),
    Kubelets(kubelets::KubeletsCommand),
    Explain(explain::ExplainCommand),
    #[command(flatten)]
    Client(ClientCommand),
}

/// Parses the command line and runs the command.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    log(cli.log_json);
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let ended = runtime.block_on(Box::pin(run(cli.command)));
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    match ended {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Serve(command) => Box::pin(serve::run(command)).await?,
        Command::Sandbox(command) => Box::pin(sandbox::run(command)).await?,
        Command::Kubelets(command) => Box::pin(kubelets::run(command)).await?,
        Command::Explain(command) => return Box::pin(explain::run(command)).await,
        Command::Client(command) => return Box::pin(client::run(command)).await,
    }
    Ok(ExitCode::SUCCESS)
}

fn log(json: bool) {
    let filter =
        EnvFilter::try_from_env("WAM_LOG").unwrap_or_else(|_| EnvFilter::new("warn,wam=info"));
    let colours = std::io::stderr().is_terminal();
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(colours)
        .with_writer(std::io::stderr);
    if json {
        builder.json().init()
    } else {
        builder.init()
    }
}
