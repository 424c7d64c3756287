//! The feedback that is sent to the server about an action.

use serde::{Deserialize, Serialize};

use crate::agent::source::hawkbit::acceptable;

/// After so many deliveries that a fault of the server ended, an answer is sent without its text, too.
pub const MAX_FAILED: u32 = 3;

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
    /// How often a fault of the server has ended its delivery.
    #[serde(default)]
    pub failed: u32,
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

    /// Whether the server waits for it: it ends the action or its cancellation. All other feedback is for people.
    #[must_use]
    pub fn is_answer(&self) -> bool {
        matches!(self.execution, Execution::Closed | Execution::Rejected)
    }

    /// Whether its text may be what the server fails over.
    #[must_use]
    pub fn has_failed_often(&self) -> bool {
        self.failed >= MAX_FAILED
    }

    /// The body of the request.
    #[must_use]
    pub fn body(&self) -> serde_json::Value {
        self.with_details(acceptable::details(&self.details))
    }

    /// The body without a text that the server could refuse.
    #[must_use]
    pub fn bare_body(&self) -> serde_json::Value {
        self.with_details(vec![])
    }

    fn with_details(&self, details: Vec<String>) -> serde_json::Value {
        serde_json::json!({
            // Servers before 0.3.0M8 need the id here, too.
            "id": self.action,
            "timestamp": self.time,
            "status": {
                "execution": self.execution,
                "result": { "finished": self.finished },
                "details": details,
            },
        })
    }
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
            failed: 0,
        };
        let expected = r#"{"id":"8","status":{"details":["why"],"execution":"closed","result":{"finished":"failure"}},"timestamp":1627997501890}"#;
        assert_eq!(feedback.body().to_string(), expected);
        assert_eq!(feedback.resource(), "deploymentBase");
    }
}
