//! What the server is told about an action, in its words.

use serde::{Deserialize, Serialize};

/// The longest line that is told, in bytes: hawkBit keeps 512 characters of each.
const MOST_LINE: usize = 500;

/// More lines are not told at once.
const MOST_LINES: usize = 20;

/// How far an action has come. Each is told once, and none after a later one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Milestone {
    /// The machine knows of it.
    Accepted,
    /// It is being downloaded.
    Downloading,
    /// It is here.
    Downloaded,
    /// Written into the other slot and verified.
    Staged,
    /// Boots next, on trial.
    Applied,
    /// Runs on trial.
    Testing,
    /// It has come to its end; nothing more is told.
    Closed,
}

/// One thing that is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// The action.
    pub action: String,
    /// Which of its resources is told.
    pub about: About,
    /// When, in milliseconds since 1970.
    pub time: i64,
    /// What it is about, in hawkBit's words.
    pub execution: Execution,
    /// How it ended.
    pub finished: Finished,
    /// For people, line by line.
    pub details: Vec<String>,
}

/// The resource of an action that a message goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum About {
    /// Its installation.
    Deployment,
    /// The wish to end it.
    Cancel,
}

/// DDI's `execution`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Execution {
    /// The action is over.
    Closed,
    /// It goes on.
    Proceeding,
    /// It waits for its time.
    Scheduled,
    /// What was asked for is not done.
    Rejected,
    /// Its files are being downloaded.
    Download,
    /// Its files are here.
    Downloaded,
}

/// DDI's `result.finished`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Finished {
    /// Well.
    Success,
    /// Badly.
    Failure,
    /// Not yet. (With `closed` the server would take it for success.)
    None,
}

impl Message {
    /// The name of the resource that it goes to, below the machine's.
    #[must_use]
    pub fn resource(&self) -> &'static str {
        match self.about {
            About::Deployment => "deploymentBase",
            About::Cancel => "cancelAction",
        }
    }

    /// Whether it ends the action.
    #[must_use]
    pub fn closes(&self) -> bool {
        self.execution == Execution::Closed
    }

    /// As it is posted.
    #[must_use]
    pub fn body(&self) -> serde_json::Value {
        serde_json::json!({
            // Servers before 0.3.0M8 want the id here, too.
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

/// Lines that the server keeps whole.
fn lines(details: &[String]) -> Vec<&str> {
    let mut lines = vec![];
    for mut rest in details.iter().flat_map(|detail| detail.lines()) {
        while !rest.is_empty() {
            let most = rest.len().min(MOST_LINE);
            let end = (1..=most).rev().find(|at| rest.is_char_boundary(*at)).unwrap_or(rest.len());
            let (line, after) = rest.split_at(end);
            lines.push(line);
            rest = after;
        }
    }
    lines.truncate(MOST_LINES);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_told_in_the_words_of_the_protocol() {
        let message = Message {
            action: "8".into(),
            about: About::Deployment,
            time: 1_627_997_501_890,
            execution: Execution::Closed,
            finished: Finished::Failure,
            details: vec!["why".into()],
        };
        let expected = r#"{"id":"8","status":{"details":["why"],"execution":"closed","result":{"finished":"failure"}},"timestamp":1627997501890}"#;
        assert_eq!(message.body().to_string(), expected);
        assert_eq!(message.resource(), "deploymentBase");
    }

    #[test]
    fn long_lines_are_told_in_pieces_that_the_server_keeps() {
        let long = "\u{e4}".repeat(600);
        let details = [long.clone(), "two\nlines".into()];
        let told = lines(&details);
        assert_eq!(told.len(), 5);
        assert!(told.iter().all(|line| line.len() <= MOST_LINE));
        assert_eq!(told.iter().take(3).copied().collect::<String>(), long);
        assert_eq!(lines(&vec!["x".into(); 100]).len(), MOST_LINES);
    }
}
