//! The chat's WebSocket with two published clients: `websockets` of PyPI and `ws` of npm. Each sends a message in pieces
//! with a ping between them, sends it again, closes, and comes back with a cursor.

use std::path::Path;

use serde_json::{Value, json};
use tokio::process::Command;
use tokio::time::timeout;

use crate::harness::ear::python;
use crate::harness::phone::{PATIENCE, need};
use crate::harness::server::Server;

/// What a client tells, line by line.
async fn told(mut program: Command, task: &Value) -> Vec<Value> {
    let output = program.arg(task.to_string()).env("PYTHONDONTWRITEBYTECODE", "1").kill_on_drop(true).output();
    let output = timeout(PATIENCE * 3, output).await.expect("a client ends").unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

async fn talks(program: Command, cid: &str) {
    let server = Server::start().await;
    let org = server.org("shop").await;
    let shop = org.shop(&[]).await;
    let ours = shop.room("ann").await;
    let path = format!("/v1/chat/rooms/{}/messages", ours.room);
    shop.client.post(&path, &json!({"body": "Good day"})).await.expect(201);
    let url = format!("ws://{}/v1/chat/socket", server.app.http());
    let told = told(program, &json!({"url": url, "token": ours.token, "room": ours.room})).await;
    let events: Vec<&str> = told.iter().map(|line| line["event"].as_str().unwrap()).collect();
    assert_eq!(events, ["ready", "sent", "again", "closed", "resumed", "refused"]);
    assert_eq!(told[0]["frame"]["missed"][0]["body"], "Good day");
    let (ack, msg) = (&told[1]["ack"], &told[1]["msg"]);
    assert_eq!((&ack["cid"], &ack["seq"], &msg["seq"]), (&json!(cid), &json!(2), &json!(2)));
    assert_eq!(msg["body"], "grüße 👋");
    assert_eq!(&told[2]["ack"], ack, "the same on a retry");
    assert_eq!((&told[3]["code"], &told[3]["reason"]), (&json!(1000), &json!("bye")));
    let missed: Vec<&Value> = told[4]["frame"]["missed"].as_array().unwrap().iter().map(|msg| &msg["seq"]).collect();
    assert_eq!(missed, [2]);
    assert_eq!(told[5]["code"], 1003, "bytes are no frame");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn websockets_of_pypi_talks() {
    let python = python();
    assert!(python.is_file(), "{} is missing: ./test installs it", python.display());
    let mut program = Command::new(python);
    program.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bots/chat_client.py"));
    talks(program, "published-1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ws_of_npm_talks() {
    need("node", "nodejs");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/web");
    assert!(folder.join("node_modules/ws").is_dir(), "npm packages are missing: ./test installs them");
    let mut program = Command::new("node");
    program.arg("chat_client.mjs").current_dir(folder);
    talks(program, "published-2").await;
}
