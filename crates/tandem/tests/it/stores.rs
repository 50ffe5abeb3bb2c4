//! One story of the store, told on the engine of this run: ./test tells every story of this binary
//! on SQLite, then on PostgreSQL. Here stands what must survive a restart on both.

use serde_json::json;

use crate::harness::process::Tandem;

/// The addresses of both engines for a process: SQLite in its data directory, PostgreSQL in a schema
/// of the test's own.
async fn database_flags() -> Vec<String> {
    match std::env::var(kernel::db::testing::SERVER_VARIABLE) {
        Ok(_) => {
            let store = kernel::db::testing::TestDb::each().await.pop().unwrap();
            vec!["--database".to_owned(), store.url.clone()]
        }
        Err(_) => Vec::new(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_made_is_there_after_kill_9_and_backup_moves_it() {
    let folder = tempfile::tempdir().unwrap();
    let tandem = Tandem::on(&folder.path().join("data"));
    let database = database_flags().await;
    let flags: Vec<&str> = database.iter().map(String::as_str).collect();
    let with = |words: &[&'static str]| [words, &flags[..]].concat();

    let running = tandem.start("serve", &flags).await;
    let org = tandem.json(&with(&["org", "create", "Acme"])).await;
    let app = tandem.json(&with(&["app", "create", "crm", "--org", "acme"])).await;
    let client = running.client().bearing(app["api_key"].as_str().unwrap());
    let hook = client.post("/v1/webhooks", &json!({"url": "http://hooks.example.org/"})).await.expect(201);
    running.kill().await;

    let running = tandem.start("serve", &flags).await;
    let client = running.client().bearing(app["api_key"].as_str().unwrap());
    let listed = client.get("/v1/webhooks").await.expect(200);
    assert_eq!(listed["webhooks"][0]["id"], hook["id"]);
    assert_eq!(app["org"], org["id"]);

    // A backup is made beside the running server, and restored into a SQLite store elsewhere.
    let file = folder.path().join("backup");
    let backup = tandem.output(&[&["backup", file.to_str().unwrap(), "--json"], &flags[..]].concat(), "").await;
    assert!(backup.status.success(), "{}", String::from_utf8_lossy(&backup.stderr));
    let refused = tandem.output(&[&["restore", file.to_str().unwrap()], &flags[..]].concat(), "").await;
    assert!(!refused.status.success(), "restored beneath a running server");
    running.kill().await;

    // Neither takes the place of what is there unasked; what a restore replaces is kept.
    let file = file.to_str().unwrap();
    let said = tandem.refusal(&[&["backup", file], &flags[..]].concat()).await;
    assert!(said.contains("--replace"), "{said}");
    tandem.json(&[&["backup", file, "--replace"], &flags[..]].concat()).await;
    let said = tandem.refusal(&[&["restore", file], &flags[..]].concat()).await;
    assert!(said.contains("1 organisation") && said.contains("--replace"), "{said}");
    let restored = tandem.json(&[&["restore", file, "--replace"], &flags[..]].concat()).await;
    assert!(std::path::Path::new(restored["set_aside"].as_str().unwrap()).join("secret.key").exists());

    let elsewhere = Tandem::on(&folder.path().join("elsewhere"));
    let restored = elsewhere.output(&["restore", file], "").await;
    assert!(restored.status.success(), "{}", String::from_utf8_lossy(&restored.stderr));
    let running = elsewhere.start("serve", &[]).await;
    let client = running.client().bearing(app["api_key"].as_str().unwrap());
    assert_eq!(client.get("/v1/webhooks").await.expect(200)["webhooks"][0]["id"], hook["id"]);
    running.kill().await;
}
