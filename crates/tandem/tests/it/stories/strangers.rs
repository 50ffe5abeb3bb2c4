//! A tester that is not ours reads openapi.json from the running server and tries what it may hold:
//! schemathesis of PyPI. No 5xx, no status, type or body that the document does not promise.

use std::path::{Path, PathBuf};

use tokio::process::Command;

use crate::harness::chance::is_full;
use crate::harness::crowd::Act;
use crate::harness::house::House;

/// How long it may try, in seconds, and how many examples of each operation; in a long run.
const BOUNDS: (&str, &str) = ("40", "6");
const LONG_BOUNDS: (&str, &str) = ("600", "200");
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance";

#[tokio::test(flavor = "multi_thread")]
async fn schemathesis_finds_nothing_that_the_document_does_not_say() {
    let python = std::env::var("TANDEM_TEST_PYTHON")
        .map_or_else(|_| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.venv/bin/python"), PathBuf::from);
    let program = python.with_file_name("st");
    assert!(program.is_file(), "{} is missing: ./test installs schemathesis there", program.display());
    let limits = "[limits]\ncalls_per_second = 0\nconcurrent_calls = 0\nrequests_per_minute_per_ip = 0\nrequests_per_minute_per_token = 0\n";
    let house = House::start(limits, |_| vec![Act::Refuse(486)]).await;
    house.phone("1001").await;
    let (seconds, examples) = if is_full() { LONG_BOUNDS } else { BOUNDS };
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(program)
        .arg("run")
        .arg(format!("http://{}/openapi.json", house.running().http))
        .args(["--header", &format!("Authorization: Bearer {}", house.client().token())])
        .args(["--phases", "coverage,fuzzing", "--max-time", seconds, "--max-examples", examples])
        // The tap answers for as long as anybody listens.
        .args(["--exclude-path", "/v1/tap", "--checks", CHECKS])
        .args(["--no-color", "--warnings", "off", "--generation-database", "none", "--continue-on-failure"])
        .current_dir(folder.path())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("No issues found"), "{said}");
    house.client().get("/healthz").await.expect(200);
}
