//! What a runtime says about a container that it could not start.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::Runtime;
use crate::{ExecError, ExecRequest};

/// The last error in the runtime's log; a step's own failure leaves none.
pub(super) fn failure(runtime: &Runtime, log: &Path, request: &ExecRequest) -> Option<ExecError> {
    let text = fs::read_to_string(log).ok()?;
    let message = text
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|entry| entry["level"] == "error")
        .filter_map(|entry| entry["msg"].as_str().map(str::to_owned))
        .next_back()?;
    let program = request.args.first().cloned().unwrap_or_default();
    Some(match program_error(&message, &program) {
        Some((reason, code)) => ExecError::Program {
            program,
            reason,
            code,
        },
        None => ExecError::Runtime {
            runtime: runtime.binary.clone(),
            message,
        },
    })
}

/// Whether the message is about the program itself, in the words of runc or crun.
fn program_error(message: &str, program: &str) -> Option<(String, u32)> {
    let about = message.contains("exec")
        && (message.contains(program) || message.contains("open executable"));
    let lower = message.to_ascii_lowercase();
    if lower.contains("not found in $path") && !program.contains('/') {
        Some(("executable file not found in $PATH".to_owned(), 127))
    } else if !about {
        None
    } else if lower.contains("no such file or directory") || lower.contains("not found in $path") {
        Some((format!("stat {program}: no such file or directory"), 127))
    } else if lower.contains("permission denied") {
        Some(("permission denied".to_owned(), 126))
    } else if lower.contains("exec format error") {
        Some(("exec format error".to_owned(), 126))
    } else {
        None
    }
}
