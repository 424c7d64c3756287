//! The feedback that is sent to the server about an action.

use serde::{Deserialize, Serialize};

/// The longest line that is sent, in bytes: hawkBit keeps 512 characters of each.
const MAX_LINE: usize = 500;

/// The most lines of one feedback.
const MAX_LINES: usize = 20;

/// How far an action has come. Each is reported once, and none after a later one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Milestone {
    /// The machine has received it.
    Accepted,
    /// The download has started.
    Downloading,
    /// Downloaded and verified.
    Downloaded,
    /// Written into the other slot and verified.
    Staged,
    /// Boots next, on trial.
    Applied,
    /// Runs on trial.
    Testing,
    /// Finished; nothing more is reported.
    Closed,
}

/// Feedback about an action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Feedback {
    /// The action.
    pub action: String,
    /// The resource of the action that it goes to.
    pub about: About,
    /// When, in milliseconds since 1970.
    pub time: i64,
    /// The state of the action, in hawkBit's terms.
    pub execution: Execution,
    /// The result.
    pub finished: Finished,
    /// The text, line by line.
    pub details: Vec<String>,
}

/// The resource of an action that feedback goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum About {
    /// Its installation.
    Deployment,
    /// Its cancellation.
    Cancel,
}

/// DDI's `execution`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Execution {
    /// The action is finished.
    Closed,
    /// The action is in progress.
    Proceeding,
    /// The action waits.
    Scheduled,
    /// The cancellation is refused.
    Rejected,
    /// The download has started.
    Download,
    /// The download is complete.
    Downloaded,
}

/// DDI's `result.finished`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Finished {
    /// Successful.
    Success,
    /// Failed.
    Failure,
    /// No result yet. (With `closed` the server takes it for success.)
    None,
}

impl Feedback {
    /// The name of the resource that it goes to, below the machine's.
    #[must_use]
    pub fn resource(&self) -> &'static str {
        match self.about {
            About::Deployment => "deploymentBase",
            About::Cancel => "cancelAction",
        }
    }

    /// Whether it finishes the action.
    #[must_use]
    pub fn closes(&self) -> bool {
        self.execution == Execution::Closed
    }

    /// The body of the request.
    #[must_use]
    pub fn body(&self) -> serde_json::Value {
        serde_json::json!({
            // Servers before 0.3.0M8 need the id here, too.
            "id": self.action,
            "timestamp": self.time,
            "status": {
                "execution": self.execution,
                "result": { "finished": self.finished },
                "details": lines(&self.details),
            },
        })
    }
}

/// The lines, split so that the server does not cut them.
fn lines(details: &[String]) -> Vec<&str> {
    let mut lines = vec![];
    for mut rest in details.iter().flat_map(|detail| detail.lines()) {
        while !rest.is_empty() {
            let most = rest.len().min(MAX_LINE);
            let end = (1..=most).rev().find(|at| rest.is_char_boundary(*at)).unwrap_or(rest.len());
            let (line, after) = rest.split_at(end);
            lines.push(line);
            rest = after;
        }
    }
    lines.truncate(MAX_LINES);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn feedback_has_the_form_of_the_protocol() {
        let feedback = Feedback {
            action: "8".into(),
            about: About::Deployment,
            time: 1_627_997_501_890,
            execution: Execution::Closed,
            finished: Finished::Failure,
            details: vec!["why".into()],
        };
        let expected = r#"{"id":"8","status":{"details":["why"],"execution":"closed","result":{"finished":"failure"}},"timestamp":1627997501890}"#;
        assert_eq!(feedback.body().to_string(), expected);
        assert_eq!(feedback.resource(), "deploymentBase");
    }

    #[test]
    fn long_lines_are_split() {
        let long = "\u{e4}".repeat(600);
        let details = [long.clone(), "two\nlines".into()];
        let sent = lines(&details);
        assert_eq!(sent.len(), 5);
        assert!(sent.iter().all(|line| line.len() <= MAX_LINE));
        assert_eq!(sent.iter().take(3).copied().collect::<String>(), long);
        assert_eq!(lines(&vec!["x".into(); 100]).len(), MAX_LINES);
    }
}
