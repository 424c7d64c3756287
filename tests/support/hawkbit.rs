//! A real hawkBit server, and its management API: what an operator does.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::child_server::{ChildServer, fetch};
use crate::process::downloader;

/// How long the server may take to start. It takes some ten seconds where nothing else runs.
const START: Duration = Duration::from_secs(400);

/// The longest that its background tasks may take.
const SOON: Duration = Duration::from_secs(120);

/// The token of all machines of these tests.
pub const TOKEN: &str = "s3cret-gateway-token";

/// A server that runs, for as long as this process does.
pub struct HawkBit {
    pub url: String,
    server: ChildServer,
    uploads: Mutex<()>,
}

/// A version that was uploaded.
pub struct Uploaded {
    pub set: u64,
}

impl HawkBit {
    /// Starts one from `target`, where it is fetched to.
    ///
    /// # Errors
    /// Why it is not available here.
    pub fn start(repository: &Path) -> Result<Self, String> {
        let (scripts, dir) =
            (repository.join("tests/servers/hawkbit"), repository.join("target/servers/hawkbit"));
        if std::env::var_os("ABIDE_HAWKBIT").is_none() {
            fetch(&scripts.join("fetch"), &dir)?;
        }
        let mut command = downloader(scripts.join("start"));
        command.arg(&dir);
        let (server, ()) = ChildServer::start(command, START, |agent, url| {
            let answer = agent.get(format!("{url}/rest/v1/targets")).header("Authorization", ADMIN).call();
            answer.is_ok_and(|answer| answer.status() == 200).then_some(())
        });
        let it = Self { url: server.url.clone(), server, uploads: Mutex::new(()) };
        let configs = [
            ("authentication.gatewaytoken.enabled", json!(true)),
            ("authentication.gatewaytoken.key", json!(TOKEN)),
            ("authentication.targettoken.enabled", json!(true)),
        ];
        for (key, value) in configs {
            it.put(&format!("system/configs/{key}"), &json!({ "value": value }));
        }
        Ok(it)
    }

    /// Switches one of the server's own settings; whether it has that one.
    pub fn set(&self, key: &str, value: Value) -> bool {
        self.call("PUT", &format!("system/configs/{key}"), Some(&json!({ "value": value }))).0 == 200
    }

    /// Uploads a version's files.
    pub fn upload(&self, name: &str, version: &str, files: &[(&str, &[u8])]) -> Uploaded {
        // Of two uploads at once the server refuses one now and then.
        let _one = self.uploads.lock().unwrap();
        let module = json!([{ "name": name, "version": version, "type": "os" }]);
        let module = self.post("softwaremodules", &module)[0]["id"].as_u64().unwrap();
        for (file, bytes) in files {
            self.upload_file(module, file, bytes);
        }
        let set = json!([{ "name": name, "version": version, "type": "os", "modules": [{ "id": module }] }]);
        Uploaded { set: self.post("distributionsets", &set)[0]["id"].as_u64().unwrap() }
    }

    fn upload_file(&self, module: u64, name: &str, bytes: &[u8]) {
        let boundary = "----abide";
        let mut body = vec![];
        write!(
            body,
            "--{boundary}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\
             Content-Type: application/octet-stream\r\n\r\n"
        )
        .unwrap();
        body.extend_from_slice(bytes);
        write!(body, "\r\n--{boundary}--\r\n").unwrap();
        let answer = self
            .server
            .agent
            .post(format!("{}/rest/v1/softwaremodules/{module}/artifacts", self.url))
            .header("Authorization", ADMIN)
            .content_type(format!("multipart/form-data; boundary={boundary}"))
            .send(&body[..])
            .unwrap();
        assert_eq!(answer.status(), 201, "{name}");
    }

    /// Assigns a version to a machine. `how`: more keys of the assignment. Returns the action.
    pub fn assign(&self, machine: &str, version: &Uploaded, how: Value) -> u64 {
        let before = self.actions(machine);
        let mut body = json!({ "id": version.set });
        body.as_object_mut().unwrap().extend(how.as_object().unwrap().clone());
        let path = format!("targets/{machine}/assignedDS");
        let (status, answer) = self.call("POST", &path, Some(&body));
        assert!(matches!(status, 200 | 201), "{status} {answer}");
        let actions = self.actions(machine);
        *actions.iter().find(|action| !before.contains(action)).unwrap()
    }

    fn actions(&self, machine: &str) -> Vec<u64> {
        let list = self.get(&format!("targets/{machine}/actions"));
        list["content"].as_array().unwrap().iter().map(|action| action["id"].as_u64().unwrap()).collect()
    }

    /// The newest action of a machine.
    pub fn newest_action(&self, machine: &str) -> Option<u64> {
        self.actions(machine).into_iter().max()
    }

    /// Where an action stands: `open`, `well`, `badly` or `canceled`. Versions of the server differ in how they
    /// say it.
    pub fn action(&self, machine: &str, action: u64) -> &'static str {
        let said = self.statuses(machine, action);
        let last = said.iter().map(|(kind, _)| kind.as_str()).rfind(|kind| *kind != "retrieved");
        let state = self.get(&format!("targets/{machine}/actions/{action}"))["status"].clone();
        match (state.as_str().unwrap(), last.unwrap_or_default()) {
            ("error", _) | ("finished", "error") => "badly",
            ("canceled", _) | ("finished", "canceled") => "canceled",
            ("finished" | "downloaded", _) => "well",
            _ => "open",
        }
    }

    /// All that was said about an action, the oldest first: kind, and messages in one.
    pub fn statuses(&self, machine: &str, action: u64) -> Vec<(String, String)> {
        let path = format!("targets/{machine}/actions/{action}/status?limit=100");
        let mut list: Vec<Value> = self.get(&path)["content"].as_array().unwrap().clone();
        list.sort_by_key(|status| status["id"].as_u64());
        let text = |status: &Value| {
            let messages = status["messages"].as_array().cloned().unwrap_or_default();
            messages.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("\n")
        };
        list.iter().map(|s| (s["type"].as_str().unwrap().to_owned(), text(s))).collect()
    }

    /// What the machine itself has said: the kind, and the last line.
    pub fn said(&self, machine: &str, action: u64) -> Vec<String> {
        let servers = ["Update Server:", "Assign"];
        let own = |(_, text): &(String, String)| !servers.iter().any(|start| text.starts_with(start));
        let said = self.statuses(machine, action).into_iter().skip(1).filter(own);
        said.map(|(kind, text)| format!("{kind}: {}", text.lines().last().unwrap_or_default())).collect()
    }

    /// Wants an action to be ended.
    pub fn cancel(&self, machine: &str, action: u64) {
        let (status, answer) = self.call("DELETE", &format!("targets/{machine}/actions/{action}"), None);
        assert_eq!(status, 204, "{answer}");
    }

    /// What the server knows of a machine.
    pub fn attributes(&self, machine: &str) -> Value {
        self.get(&format!("targets/{machine}/attributes"))
    }

    /// Whether the server knows a machine of this name.
    pub fn knows(&self, machine: &str) -> bool {
        self.call("GET", &format!("targets/{machine}"), None).0 == 200
    }

    /// Begins a rollout over the machines whose names begin so, all in one group.
    pub fn rollout(&self, name: &str, machines: &str, version: &Uploaded) -> u64 {
        let body = json!({
            "name": name, "distributionSetId": version.set, "targetFilterQuery": format!("id=={machines}*"),
            "amountGroups": 1, "type": "forced",
            "successCondition": { "condition": "THRESHOLD", "expression": "100" },
            "errorCondition": { "condition": "THRESHOLD", "expression": "50" },
            "errorAction": { "action": "PAUSE" },
        });
        let id = self.post("rollouts", &body)["id"].as_u64().unwrap();
        let status = || self.get(&format!("rollouts/{id}"))["status"].as_str().unwrap().to_owned();
        wait_for("the rollout is not ready", || status() == "ready");
        self.call("POST", &format!("rollouts/{id}/start"), None);
        wait_for("the rollout does not begin", || status() == "running");
        id
    }

    /// A rollout's state, and how many of its machines are where.
    pub fn rollout_status(&self, id: u64) -> (String, Value) {
        let rollout = self.get(&format!("rollouts/{id}"));
        (rollout["status"].as_str().unwrap().to_owned(), rollout["totalTargetsPerStatus"].clone())
    }

    fn get(&self, path: &str) -> Value {
        let (status, answer) = self.call("GET", path, None);
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        let (status, answer) = self.call("POST", path, Some(body));
        assert_eq!(status, 201, "{path}: {answer}");
        answer
    }

    fn put(&self, path: &str, body: &Value) {
        let (status, answer) = self.call("PUT", path, Some(body));
        assert!(matches!(status, 200 | 204), "{path}: {status} {answer}");
    }

    fn call(&self, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
        let url = format!("{}/rest/v1/{path}", self.url);
        let request = ureq::http::Request::builder()
            .method(method)
            .uri(url)
            .header("Authorization", ADMIN)
            .header("Content-Type", "application/json")
            .body(body.map(Value::to_string).unwrap_or_default())
            .unwrap();
        let mut answer = self.server.agent.run(request).unwrap();
        let status = answer.status().as_u16();
        (status, serde_json::from_str(&answer.body_mut().read_to_string().unwrap()).unwrap_or(Value::Null))
    }
}

/// admin:admin
const ADMIN: &str = "Basic YWRtaW46YWRtaW4=";

/// Waits for a result of the server's background tasks.
pub fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < SOON, "{what}");
        sleep(Duration::from_millis(200));
    }
}

/// The repository, from a package in it.
pub fn repository(manifest: &str) -> PathBuf {
    let dir = Path::new(manifest);
    if dir.join("tests/servers").exists() { dir.to_owned() } else { dir.parent().unwrap().to_owned() }
}
