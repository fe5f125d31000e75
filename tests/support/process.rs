//! Runs `wam` as its user would: a process whose output is read.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// A running `wam`; it is told to stop (SIGTERM) and waited for at the end.
pub struct Wam {
    child: Child,
    lines: mpsc::Receiver<String>,
    seen: Vec<String>,
}

impl Wam {
    /// Starts `wam ARGS…` with these variables added to the environment.
    pub fn start(args: &[&str], env: &[(&str, &str)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wam"));
        command
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        command
            .env_remove("KUBECONFIG")
            .env_remove("REDIS_HOST")
            .env_remove("REDIS_URL");
        for (name, value) in env {
            command.env(name, value);
        }
        let mut child = command.spawn().expect("wam starts");
        let output = child.stdout.take().expect("a pipe");
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Self {
            child,
            lines,
            seen: Vec::new(),
        }
    }

    /// Waits for a line that contains `text`; panics with all output if it does not come.
    pub fn line(&mut self, text: &str) -> String {
        if let Some(line) = self.seen.iter().find(|line| line.contains(text)) {
            return line.clone();
        }
        loop {
            match self.lines.recv_timeout(Duration::from_secs(120)) {
                Ok(line) => {
                    self.seen.push(line.clone());
                    if line.contains(text) {
                        return line;
                    }
                }
                Err(error) => panic!("no line with {text:?} ({error}); output:\n{:#?}", self.seen),
            }
        }
    }

    /// The word in a line that begins with `prefix`, without it and without trailing punctuation.
    pub fn word(&mut self, text: &str, prefix: &str) -> String {
        let line = self.line(text);
        line.split_whitespace()
            .find_map(|word| word.strip_prefix(prefix))
            .unwrap_or_else(|| panic!("no {prefix} in {line:?}"))
            .trim_end_matches([',', '.'])
            .to_owned()
    }

    /// SIGKILL.
    pub fn kill(mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("ended");
    }

    /// SIGTERM; answers whether it ended well.
    pub fn stop(mut self) -> bool {
        self.terminate();
        self.child.wait().expect("ended").success()
    }

    /// Stops it in its tracks: connections stay, nothing is answered.
    pub fn freeze(&self) {
        self.signal("-STOP");
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.signal("-CONT");
    }

    fn terminate(&self) {
        self.signal("-TERM");
    }

    fn signal(&self, signal: &str) {
        let _ = Command::new("kill")
            .args([signal, &self.child.id().to_string()])
            .status();
    }
}

impl Drop for Wam {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            self.thaw();
            self.terminate();
            // A test that fails must not hang on what it started.
            for _ in 0..100 {
                if !matches!(self.child.try_wait(), Ok(None)) {
                    return;
                }
                std::thread::sleep(Duration::from_millis(50));
            }
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
