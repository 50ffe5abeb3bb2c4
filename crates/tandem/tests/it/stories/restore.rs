//! `tandem restore`, killed in the middle: what was there is there, and the server starts.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::json;
use tokio::process::Command;
use tokio::time::{sleep, timeout};

use crate::harness::process::Tandem;

const SOON: Duration = Duration::from_secs(20);

/// A pipe: whoever reads it waits for what is written, so that a restore can be held in the middle of its archive.
async fn pipe(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().await.unwrap().success());
}

/// Begins a restore, feeds it `part` of the archive, and kills it when it has written the first file from it.
async fn killed_while_it_reads(tandem: &Tandem, folder: &Path, data: &Path, part: &[u8]) {
    let archive = folder.join("pipe");
    pipe(&archive).await;
    let mut restoring = Command::new(env!("CARGO_BIN_EXE_tandem"))
        .args(["restore", "--replace"])
        .arg(&archive)
        .arg("--data")
        .arg(data)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let (path, part) = (archive.clone(), part.to_vec());
    let (told, held) = std::sync::mpsc::channel::<()>();
    let feeding = tokio::task::spawn_blocking(move || {
        let mut pipe = std::fs::File::options().write(true).open(path).unwrap();
        std::io::Write::write_all(&mut pipe, &part).unwrap();
        // Held open, or the restore would see an end.
        let _closed = held.recv();
    });
    let in_the_middle = data.join("restore.incoming/secret.key");
    let came = timeout(SOON, async {
        while !in_the_middle.exists() {
            sleep(Duration::from_millis(10)).await;
        }
    });
    assert!(came.await.is_ok(), "it reads");
    let refused = tandem.refusal(&["restore", folder.join("backup").to_str().unwrap()]).await;
    assert!(refused.contains("uses this store"), "{refused}");
    restoring.kill().await.unwrap();
    drop(told);
    feeding.await.unwrap();
    std::fs::remove_file(archive).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_that_is_killed_while_it_reads_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let tandem = Tandem::on(&data);
    tandem.json(&["org", "create", "Acme"]).await;
    let file = folder.path().join("backup");
    tandem.json(&["backup", file.to_str().unwrap()]).await;
    // What came after the backup.
    let app = tandem.json(&["app", "create", "crm", "--org", "acme"]).await;
    let key = std::fs::read(data.join("secret.key")).unwrap();

    // All but the archive's last line, behind the rows and the key.
    let archive = std::fs::read(&file).unwrap();
    let part = archive[..archive.len() - 20].to_vec();
    killed_while_it_reads(&tandem, folder.path(), &data, &part).await;

    let said = tandem.refusal(&["restore", file.to_str().unwrap()]).await;
    assert!(said.contains("1 organisation") && said.contains("--replace"), "a killed one gave no leave: {said}");
    killed_while_it_reads(&tandem, folder.path(), &data, &part).await;
    let running = tandem.start("serve", &[]).await;
    let client = running.client().bearing(app["api_key"].as_str().unwrap());
    assert_eq!(client.get("/v1/webhooks").await.expect(200)["webhooks"], json!([]));
    assert_eq!(std::fs::read(data.join("secret.key")).unwrap(), key);
    for left in ["restore.incoming", "restore.outgoing", "restore.pending"] {
        assert!(!data.join(left).exists(), "{left} is swept away");
    }
    running.kill().await;

    let restored = tandem.json(&["restore", file.to_str().unwrap(), "--replace"]).await;
    assert!(Path::new(restored["set_aside"].as_str().unwrap()).join("tandem.db").exists());
    let running = tandem.start("serve", &[]).await;
    let client = running.client().bearing(app["api_key"].as_str().unwrap());
    assert_eq!(client.get("/v1/webhooks").await.status, 401, "the application came after the backup");
    running.kill().await;
}
