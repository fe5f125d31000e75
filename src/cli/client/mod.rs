//! The commands that talk to a running `wam` over its wire, as any caller would.
//!
//! Results go to standard output, progress and hints to standard error, so that output can be piped.
//! Exit code 0: what was asked for is done (with `--wait`: the action succeeded); 1 otherwise.

mod args;
pub(super) mod output;
mod rpc;
mod show;
mod stream;
mod submit;
mod wait;
mod watch;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Subcommand;

pub use args::{
    CreateArgs, DeleteArgs, GetArgs, ListArgs, MoveArgs, PodName, ServerArgs, SubmitArgs, SwapArgs,
    WatchArgs, Workload,
};
pub use output::Format;

/// The commands.
#[derive(Debug, Subcommand)]
pub enum ClientCommand {
    /// Add one replica of a workload on a node
    #[command(after_help = "Examples:
  # One more replica of deployment web, on node worker-2
  wam create deployment/web --node worker-2

  # The same in namespace shop; wait until the new pod is Ready there
  wam create deployment/web -n shop --node worker-2 --wait

  # Say what would be done
  wam create deployment/web --node worker-2 --dry-run")]
    Create(CreateArgs),
    /// Delete this very pod and shrink its workload by one
    #[command(after_help = "Examples:
  wam delete web-6d4b75cb6d-hx7kq
  wam delete shop/web-6d4b75cb6d-hx7kq --wait

  # Only if it is still the pod that you looked at
  wam delete web-6d4b75cb6d-hx7kq --uid 7c1b7a52-1c5e-4c56-9d8f-0d6f3f2b8a11")]
    Delete(DeleteArgs),
    /// Replace a pod by one on another node
    #[command(after_help = "Examples:
  wam move web-6d4b75cb6d-hx7kq --node worker-3 --wait

  # The old pod goes first: no capacity for one more replica is needed
  wam move web-6d4b75cb6d-hx7kq --node worker-3 --strategy recreate

  # Give up and put things back after two minutes; safe to send again with the same key
  wam move web-6d4b75cb6d-hx7kq --node worker-3 --deadline 2m --idempotency-key night-42")]
    Move(MoveArgs),
    /// Let a pod change places with pods on another node
    #[command(after_help = "Examples:
  # web goes where the two workers are, and they go where it is
  wam swap web-6d4b75cb6d-hx7kq --with worker-5c8-aaaaa,worker-5c8-bbbbb --wait")]
    Swap(SwapArgs),
    /// Show an action
    #[command(after_help = "Examples:
  wam get 0190a6e0c0de7000800000000000abcd
  wam get 0190a6e0c0de7000800000000000abcd -o json")]
    Get(GetArgs),
    /// List actions, newest first
    #[command(after_help = "Examples:
  wam list
  wam list --limit 10 -o wide")]
    List(ListArgs),
    /// Follow how actions go; with an id, until that action has ended
    #[command(after_help = "Examples:
  wam watch
  wam watch 0190a6e0c0de7000800000000000abcd

  # Every event there is, one CloudEvent a line
  wam watch --since 0 -o json")]
    Watch(WatchArgs),
}

/// Runs a command on the process's own output.
///
/// # Errors
/// The server cannot be reached, or refuses; the text is for people.
pub async fn run(command: ClientCommand) -> anyhow::Result<ExitCode> {
    match run_to(command, &mut io::stdout(), &mut io::stderr()).await {
        // `wam watch | head`: nobody reads on.
        Err(error) if is_broken_pipe(&error) => Ok(ExitCode::SUCCESS),
        Ok(true) => Ok(ExitCode::SUCCESS),
        Ok(false) => Ok(ExitCode::FAILURE),
        Err(error) => Err(error),
    }
}

/// Runs a command, writing results to `out`, progress and hints to `err`; false means exit code 1.
///
/// # Errors
/// As [`run`].
pub async fn run_to(
    command: ClientCommand,
    out: &mut (dyn Write + Send),
    err: &mut (dyn Write + Send),
) -> anyhow::Result<bool> {
    match command {
        ClientCommand::Create(args) => submit::create(args, out, err).await,
        ClientCommand::Delete(args) => submit::delete(args, out, err).await,
        ClientCommand::Move(args) => submit::relocate(args, out, err).await,
        ClientCommand::Swap(args) => submit::swap(args, out, err).await,
        ClientCommand::Get(args) => show::get(args, out).await,
        ClientCommand::List(args) => show::list(args, out, err).await,
        ClientCommand::Watch(args) => watch::watch(args, out, err).await,
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
