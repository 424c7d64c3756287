//! A real gooseBit server, and its API for operators. It speaks hawkBit's DDI API, gives each action the number of the
//! software, has one artifact with a SHA-1, and forces every update.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::child_server::{ChildServer, fetch};
use crate::process::downloader;

/// How long the server may take to start. It takes some four seconds where nothing else runs.
const START: Duration = Duration::from_secs(200);

/// A server that runs, for as long as this process does.
pub struct GooseBit {
    pub url: String,
    server: ChildServer,
    token: String,
}

impl GooseBit {
    /// Starts one from `target`, where it is installed.
    ///
    /// # Errors
    /// Why it is not available here.
    pub fn start(repository: &Path) -> Result<Self, String> {
        let (scripts, dir) =
            (repository.join("tests/servers/goosebit"), repository.join("target/servers/goosebit"));
        fetch(&scripts.join("fetch"), &dir)?;
        let mut command = downloader(dir.join("venv/bin/python"));
        command.arg(scripts.join("start.py"));
        let operator = [("username", "op@example.org"), ("password", "secret")];
        let (server, token) = ChildServer::start(command, START, |agent, url| {
            let answer = agent.post(format!("{url}/setup")).send_form(operator).ok();
            let mut answer = answer.filter(|answer| answer.status() == 200)?;
            let said: Value = serde_json::from_str(&answer.body_mut().read_to_string().unwrap()).unwrap();
            Some(said["access_token"].as_str().unwrap().to_owned())
        });
        // The first machine makes the row of the hardware. Two at once make it twice, and nothing works from then on.
        let first = server.agent.get(format!("{}/DEFAULT/controller/v1/first", server.url)).call().unwrap();
        assert_eq!(first.status(), 200);
        Ok(Self { url: server.url.clone(), server, token: format!("Bearer {token}") })
    }

    /// Has the server offer the image at this URL, which it fetches once, and names to the machines.
    pub fn offer(&self, url: &str) -> u64 {
        self.software("application/x-www-form-urlencoded", format!("url={url}").as_bytes())
    }

    /// Uploads an image.
    pub fn upload(&self, name: &str, image: &[u8]) -> u64 {
        let boundary = "----abide";
        let mut body = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\r\n"
        )
        .into_bytes();
        body.extend_from_slice(image);
        body.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
        self.software(&format!("multipart/form-data; boundary={boundary}"), &body)
    }

    fn software(&self, kind: &str, body: &[u8]) -> u64 {
        let request = self
            .server
            .agent
            .put(format!("{}/api/v1/software", self.url))
            .header("Authorization", &self.token);
        let mut answer = request.content_type(kind).send(body).unwrap();
        let text = answer.body_mut().read_to_string().unwrap();
        assert_eq!(answer.status(), 200, "{text}");
        serde_json::from_str::<Value>(&text).unwrap()["id"].as_u64().unwrap()
    }

    /// Assigns a software to a machine.
    pub fn assign(&self, machine: &str, software: u64) {
        self.change(&json!({ "devices": [machine], "software": software.to_string() }));
    }

    /// Begins a rollout over these machines.
    pub fn rollout(&self, name: &str, machines: &[&str], software: u64) -> u64 {
        self.change(&json!({ "devices": machines, "feed": name }));
        let rollout = json!({ "name": name, "feed": name, "software_id": software });
        self.call("PUT", "rollouts", Some(&rollout))["id"].as_u64().unwrap()
    }

    /// How many machines have ended a rollout well, and how many have not.
    pub fn rollout_counts(&self, id: u64) -> (u64, u64) {
        let rollouts = self.call("GET", "rollouts", None);
        let list = rollouts["rollouts"].as_array().unwrap();
        let rollout = list.iter().find(|rollout| rollout["id"] == id).unwrap();
        (rollout["success_count"].as_u64().unwrap(), rollout["failure_count"].as_u64().unwrap())
    }

    /// Has a machine try again what it has ended.
    pub fn force(&self, machine: &str) {
        self.change(&json!({ "devices": [machine], "force_update": true }));
    }

    fn change(&self, change: &Value) {
        self.call("PATCH", "devices", Some(change));
    }

    /// Whether the server knows a machine of this name.
    pub fn knows(&self, machine: &str) -> bool {
        self.find(machine).is_some_and(|device| device["last_state"] != "Unknown")
    }

    /// What the server knows of a machine. (Asked for one machine, it fails where software is assigned.)
    pub fn device(&self, machine: &str) -> Value {
        self.find(machine).unwrap()
    }

    fn find(&self, machine: &str) -> Option<Value> {
        let devices = self.call("GET", "devices", None);
        devices["devices"].as_array().unwrap().iter().find(|device| device["id"] == machine).cloned()
    }

    /// Where a machine stands: `Registered`, `Running`, `Finished` or `Error`.
    pub fn state(&self, machine: &str) -> String {
        self.device(machine)["last_state"].as_str().unwrap().to_owned()
    }

    /// What the machine has said about its update.
    pub fn log(&self, machine: &str) -> String {
        let log = self.call("GET", &format!("devices/{machine}/log"), None);
        log["log"].as_str().unwrap_or_default().to_owned()
    }

    fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Value {
        let request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("{}/api/v1/{path}", self.url))
            .header("Authorization", &self.token)
            .header("Content-Type", "application/json")
            .body(body.map(Value::to_string).unwrap_or_default())
            .unwrap();
        let mut answer = self.server.agent.run(request).unwrap();
        let text = answer.body_mut().read_to_string().unwrap();
        assert_eq!(answer.status(), 200, "{method} {path}: {text}");
        serde_json::from_str(&text).unwrap()
    }
}
