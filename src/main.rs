//! The `wam` binary: installs the TLS provider, parses the command line, hands over.

use std::process::ExitCode;

fn main() -> ExitCode {
    // One TLS provider for the process; two compiled in, or none installed, would panic later.
    if rustls::crypto::ring::default_provider()
        .install_default()
        .is_err()
    {
        eprintln!("error: another TLS provider was installed first");
        return ExitCode::FAILURE;
    }
    wam::cli::main()
}
