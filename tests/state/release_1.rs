//! The layout of the state as the first release reads and writes it, frozen: machines have it in one of their slots,
//! and go back to it. It is not to be changed.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

const SIZE: usize = 16 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SlotName {
    A,
    B,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reboots {
    pub asked: u32,
    #[serde(default)]
    pub boot_id: String,
}

impl Reboots {
    fn is_none(&self) -> bool {
        self.asked == 0
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update: Option<Update>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failures: Vec<Failure>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub a: Option<Installed>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub b: Option<Installed>,
    pub baseline: Baseline,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unhealthy: Vec<Unhealthy>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unhealthy {
    pub entry: String,
    pub tried: Remedy,
    pub reason: String,
    pub time: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Remedy {
    Reboot,
    Leave,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Installed {
    pub version: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    pub entry: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Baseline {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub passed_checks: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failed_units: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    Writing,
    Staged,
    Applied,
    Testing,
    Committed,
    Failed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    Loader,
    Initramfs,
    SwitchRoot,
    Userspace,
    Checks,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Update {
    pub image_id: String,
    pub version: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    pub slot: SlotName,
    pub stage: Stage,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uki: Option<Uki>,
    #[serde(default)]
    pub root: String,
    #[serde(default)]
    pub entry: String,
    #[serde(default)]
    pub tries: u32,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub applied_in: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Previous>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub boots: Vec<TrialBoot>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub counted: bool,
    #[serde(default, skip_serializing_if = "Reboots::is_none")]
    pub reboots: Reboots,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Uki {
    pub sha256: String,
    pub size: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Previous {
    pub slot: SlotName,
    pub entry: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    #[serde(default)]
    pub demoted: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrialBoot {
    pub boot_id: String,
    pub attempt: u32,
    pub phase: Phase,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub time: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<BootEnd>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BootEnd {
    Orderly,
    Failed(Verdict),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    pub phase: Phase,
    pub reason: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<FailedCheck>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedCheck {
    pub name: String,
    pub reason: String,
    #[serde(default)]
    pub output: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    pub version: String,
    #[serde(default)]
    pub digest: Option<String>,
    pub attempts: u32,
    pub phase: Phase,
    pub reason: String,
    #[serde(default)]
    pub checks: Vec<FailedCheck>,
    pub time: String,
    #[serde(default = "once")]
    pub times: u32,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub forgiven: bool,
}

fn once() -> u32 {
    1
}

/// What that release makes of a generation; nothing where it would take the other one.
pub fn read(bytes: &[u8]) -> Option<(u64, State)> {
    let end = bytes.iter().position(|b| *b == b'\n')?;
    let mut words = std::str::from_utf8(&bytes[..end]).ok()?.split(' ');
    if words.next() != Some("abide-state") || words.next()?.parse::<u32>().ok()? > 1 {
        return None;
    }
    let (sequence, length): (u64, usize) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let body = bytes[end + 1..SIZE.min(bytes.len())].get(..length)?;
    if checksum(sequence, body) != words.next()? {
        return None;
    }
    Some((sequence, serde_json::from_slice(body).ok()?))
}

/// A generation as that release writes it.
pub fn write(state: &State, sequence: u64) -> Vec<u8> {
    let body = serde_json::to_vec(state).unwrap();
    let sum = checksum(sequence, &body);
    let mut bytes = format!("abide-state 1 {sequence:020} {:05} {sum}\n", body.len()).into_bytes();
    bytes.extend_from_slice(&body);
    bytes.resize(SIZE, b'\n');
    bytes
}

fn checksum(sequence: u64, body: &[u8]) -> String {
    let mut hash = Sha256::new();
    hash.update(sequence.to_le_bytes());
    hash.update(body);
    abide_core::hex::encode(&hash.finalize())
}
