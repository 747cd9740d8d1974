//! Chromium without a window, driven as the W3C's `WebDriver` protocol says.

use std::process::Stdio;

use eventhubs_test_harness::until_async;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::program::{JSON, http, within};

const MISSING: &str = "Chromium and its driver are needed: `apt install chromium chromium-driver`";
/// The key under which `WebDriver` returns an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";
/// The flags without a value keep it from calling home.
const ARGUMENTS: [&str; 9] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1500,1100",
];

/// How often the driver is started again, if it ends at once.
const DRIVER_TRIES: usize = 5;

/// One window, closed with all its processes when it is dropped.
pub(crate) struct Browser {
    driver: Child,
    host: String,
    session: String,
    profile: TempDir,
}

impl Browser {
    pub(crate) async fn open(url: &str) -> Self {
        let profile = TempDir::new().unwrap();
        let (driver, port) = start_driver().await;
        let host = format!("127.0.0.1:{port}");
        let mut browser = Self { driver, host, session: String::new(), profile };
        browser.start().await;
        browser.ask("/url", json!({ "url": url })).await;
        browser
    }

    async fn start(&mut self) {
        let profile = format!("--user-data-dir={}", self.profile.path().display());
        let mut arguments: Vec<&str> = ARGUMENTS.to_vec();
        arguments.push(&profile);
        let options = json!({ "goog:chromeOptions": { "args": arguments } });
        let wanted = json!({ "capabilities": { "alwaysMatch": options } });
        let session = self.post("/session", &wanted).await;
        self.session = session["sessionId"].as_str().expect("a session").to_owned();
    }

    async fn post(&self, path: &str, body: &Value) -> Value {
        let headers = [("Host", self.host.as_str()), JSON];
        let (status, answer) = http(&self.host, "POST", path, &headers, &body.to_string()).await;
        assert!(status.contains("200"), "{path}: {status} {answer}");
        let mut answer: Value = serde_json::from_str(&answer).unwrap();
        answer["value"].take()
    }

    async fn ask(&self, path: &str, body: Value) -> Value {
        self.post(&format!("/session/{}{path}", self.session), &body).await
    }

    async fn element(&self, css: &str) -> String {
        let found = self.ask("/element", json!({ "using": "css selector", "value": css })).await;
        found[ELEMENT].as_str().unwrap().to_owned()
    }

    pub(crate) async fn click(&self, css: &str) {
        let element = self.element(css).await;
        self.ask(&format!("/element/{element}/click"), json!({})).await;
    }

    /// Types a text into an emptied field.
    pub(crate) async fn fill(&self, css: &str, text: &str) {
        let element = self.element(css).await;
        self.ask(&format!("/element/{element}/clear"), json!({})).await;
        self.ask(&format!("/element/{element}/value"), json!({ "text": text })).await;
    }

    /// Shows the page on a screen of this size.
    pub(crate) async fn resize(&self, width: u32, height: u32) {
        let screen =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600 });
        let command = json!({ "cmd": "Emulation.setDeviceMetricsOverride", "params": screen });
        self.ask("/goog/cdp/execute", command).await;
    }

    /// What the window shows, as PNG in base64, for people who change the page.
    pub(crate) async fn screenshot(&self) -> String {
        let path = format!("/session/{}/screenshot", self.session);
        let (_, answer) = http(&self.host, "GET", &path, &[("Host", self.host.as_str())], "").await;
        let answer: Value = serde_json::from_str(&answer).unwrap();
        answer["value"].as_str().unwrap().to_owned()
    }

    /// What an expression is on the page.
    pub(crate) async fn value(&self, expression: &str) -> Value {
        self.ask("/execute/sync", json!({ "script": format!("return {expression}"), "args": [] })).await
    }

    /// Waits until an expression is true on the page.
    pub(crate) async fn until(&self, expression: &str) {
        until_async(expression, async || self.value(expression).await == true).await;
    }
}

/// Starts the driver on a port that it chooses itself.
///
/// It looks for one that is free in two families of addresses and binds it afterwards, so it may end when somebody
/// was faster: several tests start one at a time.
async fn start_driver() -> (Child, String) {
    for _ in 0..DRIVER_TRIES {
        let mut command = Command::new("chromedriver");
        // a group of its own, so that the browser can be killed with its driver
        command
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0);
        let mut driver = command.spawn().expect(MISSING);
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        while let Some(line) = within(lines.next_line()).await.unwrap() {
            if let Some((_, port)) = line.split_once("started successfully on port ") {
                let port = port.trim_end_matches('.').to_owned();
                return (driver, port);
            }
        }
    }
    panic!("the driver ended {DRIVER_TRIES} times at its start; {MISSING}");
}

impl Drop for Browser {
    fn drop(&mut self) {
        if let Some(id) = self.driver.id() {
            // nothing can be done about a group that cannot be killed
            let _ = std::process::Command::new("kill").args(["-s", "KILL", "--", &format!("-{id}")]).status();
        }
    }
}
