//! From a file to a [`Configuration`], or to all its mistakes.

use std::fmt;
use std::path::{Path, PathBuf};

use super::decode;
use super::reader::{Problem, Reader};
use super::types::Configuration;
use super::validate;
use super::yaml;

/// Why a file gives no configuration.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error("cannot read the scheduler configuration {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// It has mistakes.
    #[error("the scheduler configuration {path} has {problems}")]
    Wrong {
        /// The file.
        path: PathBuf,
        /// All of them.
        problems: Problems,
    },
}

/// The mistakes of a file, in order of their places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.len() {
            1 => f.write_str("a mistake:")?,
            count => write!(f, "{count} mistakes:")?,
        }
        for problem in &self.0 {
            write!(f, "\n  {problem}")?;
        }
        Ok(())
    }
}

/// Reads a file.
///
/// # Errors
/// See [`Error`].
pub fn load(path: &Path) -> Result<Configuration, Error> {
    let text = std::fs::read_to_string(path).map_err(|source| Error::Read {
        path: path.to_owned(),
        source,
    })?;
    parse(&text).map_err(|problems| Error::Wrong {
        path: path.to_owned(),
        problems,
    })
}

/// Reads a text (YAML or JSON).
///
/// # Errors
/// Every mistake in it: what is no YAML; fields that there are not, that are given twice, or that have the
/// wrong type; values that cannot be; plugins that there are not.
pub fn parse(text: &str) -> Result<Configuration, Problems> {
    let mut twice = Vec::new();
    let mut reader = Reader::default();
    let root = match yaml::parse(text, &mut twice) {
        Ok(root) => root,
        Err((at, text)) => {
            reader.problem(at, "", text);
            return Err(Problems(reader.problems));
        }
    };
    for (at, text) in twice {
        reader.problem(at, "", text);
    }
    let config = decode::configuration(&mut reader, &root);
    let unread: Vec<String> = reader.problems.iter().map(|p| p.path.clone()).collect();
    for (path, text) in validate::findings(&config) {
        let at = root.locate(&path);
        // What could not be read has its default, which may be wrong beside the rest: said once is enough.
        if !unread.contains(&path) {
            reader.problem(at, &path, text);
        }
    }
    if reader.problems.is_empty() {
        return Ok(config);
    }
    reader.problems.sort();
    Err(Problems(reader.problems))
}
