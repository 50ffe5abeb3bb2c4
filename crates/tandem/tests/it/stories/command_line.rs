//! The command line as a script uses it: one line of JSON, errors on stderr, beside a running server.

use serde_json::json;

use crate::harness::process::Tandem;

/// The text of a member that must be there.
fn text<'a>(answer: &'a serde_json::Value, member: &str) -> &'a str {
    answer[member].as_str().unwrap_or_else(|| panic!("no {member} in {answer}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_sets_up_an_organisation_beside_a_running_server() {
    let folder = tempfile::tempdir().unwrap();
    let tandem = Tandem::on(&folder.path().join("data"));
    let running = tandem.start("serve", &[]).await;

    let org = tandem.json(&["org", "create", "Acme Ltd", "--slug", "acme", "--zone", "Europe/London"]).await;
    assert_eq!(org["slug"], "acme");
    assert!(!text(&org, "id").is_empty() && !text(&org, "cloud_sid").is_empty());

    let user = tandem.json(&["user", "create", "Ann", "--org", "acme", "--extension", "1001"]).await;
    assert_eq!(user["extension"], "1001");
    assert_eq!(user["sip"]["username"], "1001");
    assert_eq!(user["sip"]["domain"], "127.0.0.1");
    assert_eq!((&user["role"], &user["sip"]["server"]), (&json!("owner"), &json!(running.sip.to_string())));
    let link = tandem.json(&["user", "link", text(&user, "id"), "--org", "acme"]).await;
    let console = format!("http://{}/console/link/", running.http);
    assert!(text(&link, "url").starts_with(&console), "{link}: where the server is, not where the settings say");
    let entered = running.client().browsing();
    assert_eq!(
        entered
            .send(entered.post_page(&text(&link, "url")[console.len() - "/console/link/".len()..], &[]))
            .await
            .status,
        303
    );
    assert!(user["sip"]["password"].as_str().unwrap().len() >= 16);
    let bob = tandem.json(&["user", "create", "Bob", "--org", text(&org, "id"), "--role", "agent"]).await;
    assert!(bob.get("sip").is_none(), "a person without an extension has no phone");

    let team =
        tandem.json(&["team", "create", "Service", "--org", "acme", "--number", "5263", "--member", "1001"]).await;
    assert!(!text(&team, "id").is_empty());
    let trunk =
        tandem.json(&["trunk", "add", "carrier", "--org", "acme", "--target", "127.0.0.1:5999;transport=tcp"]).await;
    assert!(!text(&trunk, "id").is_empty());
    let number = tandem.json(&["number", "add", "+442071838750", "--org", "acme", "--to", "person:1001"]).await;
    assert_eq!(number["id"], "+442071838750");
    let hook = tandem
        .json(&["webhook", "add", "http://hooks.example.org/", "--org", "acme", "--event", "call.completed"])
        .await;
    assert!(text(&hook, "secret").starts_with("whsec_"));

    let app = tandem.json(&["app", "create", "crm", "--org", "acme", "--set", "time_zone=Europe/London"]).await;
    assert_eq!(app["org"], org["id"]);
    assert!(text(&app, "publishable_key").starts_with("pk_"));
    let set = tandem.json(&["app", "set", text(&app, "id"), "number_pool=+442071838750"]).await;
    assert_eq!((&set["id"], &set["settings"]["time_zone"]), (&app["id"], &"Europe/London".into()));
    assert!(set["warnings"][0].as_str().unwrap().contains("does not lead to meetings"), "to a person: {set}");
    let help = tandem.refusal(&["app", "set", text(&app, "id"), "colour=blue"]).await;
    assert!(help.contains("remind_before_s"), "{help}");

    // The server, which was running all the time, knows it all.
    let owner = running.client().bearing(text(&user, "auth_token"));
    let hooks = owner.get("/v1/webhooks").await.expect(200);
    assert_eq!(hooks["webhooks"][0]["id"], hook["id"]);
    running.client().bearing(text(&app, "api_key")).get("/v1/events").await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_made_is_listed_and_removed() {
    let folder = tempfile::tempdir().unwrap();
    let tandem = Tandem::on(&folder.path().join("data"));
    tandem.json(&["org", "create", "Acme", "--slug", "acme"]).await;
    tandem.json(&["org", "create", "Other", "--slug", "other"]).await;
    let settings = "public_ip = \"198.51.100.7\"\nsip = [\"0.0.0.0:5070\"]\n";
    std::fs::write(folder.path().join("data/tandem.toml"), settings).unwrap();
    let ann = tandem.json(&["user", "create", "Ann", "--org", "acme", "--extension", "1001"]).await;
    assert_eq!(ann["sip"]["server"], "198.51.100.7:5070", "as tandem.toml says");
    let bob = tandem.json(&["user", "create", "Bob", "--org", "other"]).await;
    let id = |made: &serde_json::Value| text(made, "id").to_owned();
    let list = async |words: &[&str]| tandem.json(words).await["items"].clone();

    assert_eq!(list(&["org", "list"]).await.as_array().unwrap().len(), 2);
    let people = list(&["user", "list"]).await;
    assert_eq!((&people[0]["id"], &people[0]["org"]), (&ann["id"], &json!("acme")));
    assert_eq!((&people[0]["role"], &people[0]["extensions"]), (&json!("owner"), &json!(["1001"])));
    assert_eq!((&people[1]["id"], people.as_array().unwrap().len()), (&bob["id"], 2));
    assert_eq!(list(&["user", "list", "--org", "acme"]).await.as_array().unwrap().len(), 1);

    let org = ["--org", "acme"];
    let with = |words: &[&'static str]| [words, &org[..]].concat();
    let app = id(&tandem.json(&with(&["app", "create", "crm"])).await);
    let team = id(&tandem.json(&with(&["team", "create", "S", "--number", "5263", "--member", "1001"])).await);
    let trunk = id(&tandem.json(&with(&["trunk", "add", "t", "--target", "a.example", "--target", "b.example"])).await);
    let hook = id(&tandem.json(&with(&["webhook", "add", "http://hooks.example.org/"])).await);
    tandem.json(&with(&["number", "add", "+442071838750", "--to", "team:5263"])).await;
    assert_eq!(list(&with(&["trunk", "list"])).await[0]["targets"], json!(["a.example", "b.example"]));
    assert_eq!(list(&with(&["number", "list"])).await[0]["to"], "team:5263");

    let said = tandem.refusal(&["team", "remove", &team, "--org", "acme"]).await;
    assert!(said.contains("+442071838750"), "{said}");
    for (noun, id) in [("number", "+442071838750"), ("team", &team), ("trunk", &trunk), ("webhook", &hook)] {
        let said = tandem.refusal(&[noun, "remove", id, "--org", "other"]).await;
        assert!(said.contains(id), "another organisation's {noun}: {said}");
        assert_eq!(tandem.json(&[noun, "remove", id, "--org", "acme"]).await, json!({"id": id}));
        assert_eq!(list(&[noun, "list"]).await, json!([]), "{noun}");
    }
    assert_eq!(tandem.json(&["app", "remove", &app]).await, json!({"id": app}));
    assert_eq!(list(&["app", "list"]).await, json!([]));
    assert!(tandem.refusal(&["app", "rotate", &app]).await.contains(&app), "no new key for an ended application");
    let again = tandem.json(&with(&["team", "create", "S", "--number", "5263"])).await;
    assert_ne!(id(&again), team, "its number was free again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_application_and_a_wrong_directory_are_noticed_by_others() {
    let folder = tempfile::tempdir().unwrap();
    let tandem = Tandem::on(&folder.path().join("data"));
    let running = tandem.start("serve", &[]).await;
    tandem.json(&["org", "create", "Acme", "--slug", "acme"]).await;
    let app = tandem.json(&["app", "create", "crm", "--org", "acme"]).await;
    let key = text(&app, "api_key");
    running.client().bearing(key).get("/v1/events").await.expect(200);
    tandem.json(&["app", "remove", text(&app, "id")]).await;
    running.client().bearing(key).until_status("/v1/events", 401).await;

    let elsewhere = Tandem::on(&folder.path().join("elsewhere"));
    let output = elsewhere.output(&["doctor", "--json"], "").await;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!output.status.success() && said.contains("there is no store at"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_done_is_refused_in_a_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let tandem = Tandem::on(&folder.path().join("data"));
    tandem.json(&["org", "create", "Acme", "--slug", "acme"]).await;
    tandem.json(&["user", "create", "Ann", "--org", "acme", "--extension", "1001"]).await;
    for (words, expected) in [
        (&["org", "create", "Other", "--slug", "acme"][..], "acme"),
        (&["user", "create", "Bob", "--org", "nobody"], "nobody"),
        (&["user", "create", "Bob", "--org", "acme", "--extension", "1001"], "1001"),
        (&["user", "create", "Bob", "--org", "acme", "--role", "king"], "king"),
        (&["team", "create", "T", "--org", "acme", "--number", "5263", "--strategy", "by_height"], "ring_all"),
        (&["team", "create", "T", "--org", "acme", "--number", "5263", "--member", "9999"], "9999"),
        (&["team", "create", "T", "--org", "acme", "--number", "5263", "--wrap-up", "99999"], "wrap_up_s"),
        (&["number", "add", "12", "--org", "acme", "--to", "person:1001"], "number"),
        (&["number", "add", "+442071838750", "--org", "acme", "--to", "pigeon:1"], "flow:ID"),
        (&["org", "set", "acme", "colour=red"], "do_not_call"),
        (&["app", "create", "crm", "--org", "acme", "--set", "colour=red"], "remind_before_s"),
        (&["org", "set", "acme", "do_not_call=+442071838750,12"], "\"12\""),
        (&["org", "set", "acme", "quiet_hours=late"], "quiet_hours"),
        (&["org", "set", "acme", "retention_days=events:soon"], "retention_days"),
        (&["org", "set", "nobody", "dial_sip=true"], "nobody"),
        (&["number", "add", "+442071838750", "--org", "acme", "--to", "flow:flow_none"], "flow_none"),
        (&["trunk", "add", "t", "--org", "acme", "--target", "h;transport=pigeon"], "transport"),
        (&["webhook", "add", "ftp://example.org/", "--org", "acme"], "http"),
        (&["webhook", "add", "http://127.0.0.1/", "--org", "acme"], "127.0.0.1"),
        (&["flow", "check", "/nowhere/flow.json"], "/nowhere/flow.json"),
        (&["flow", "run", "flow_none", "--org", "acme"], "server"),
        (&["migrate-store", "--to", "postgres://h/d"], "several nodes"),
        (&["serve", "--bus", "nats://127.0.0.1"], "one node"),
        (&["restore", "/nowhere/backup"], "/nowhere/backup"),
    ] {
        let said = tandem.refusal(words).await;
        assert!(said.contains(expected), "{words:?} said {said:?}");
        assert!(!said.contains("panicked"), "{words:?} said {said:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_server_on_the_same_data_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let tandem = Tandem::on(&folder.path().join("data"));
    let _first = tandem.start("serve", &[]).await;
    let said = tandem.refusal(&["serve", "--http", "127.0.0.1:0", "--sip", "127.0.0.1:0"]).await;
    let path = folder.path().join("data").display().to_string();
    assert!(said.contains(&format!("a server uses {path}")) && said.contains("--data"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_of_an_organisation_are_set_and_put_back() {
    let folder = tempfile::tempdir().unwrap();
    let tandem = Tandem::on(&folder.path().join("data"));
    tandem.json(&["org", "create", "Acme", "--slug", "acme"]).await;
    let words = [
        "org",
        "set",
        "acme",
        "do_not_call=+442071838750,+442071838751",
        "quiet_hours=21:00-08:00",
        "dial_sip=true",
        "retention_days=recordings:30,events:90",
        "recording_announcement=This call is recorded, as you may know.",
    ];
    let settings = tandem.json(&words).await["settings"].clone();
    assert_eq!(settings["do_not_call"], json!(["+442071838750", "+442071838751"]));
    assert_eq!(settings["quiet_hours"], json!({"from": "21:00", "to": "08:00"}));
    assert_eq!(settings["retention_days"], json!({"recordings": 30, "events": 90}));
    assert_eq!(settings["recording_announcement"], "This call is recorded, as you may know.");
    assert_eq!(settings["dial_sip"], true);
    let settings = tandem.json(&["org", "set", "acme", "quiet_hours=", "do_not_call="]).await["settings"].clone();
    assert_eq!((&settings["quiet_hours"], &settings["do_not_call"]), (&json!(null), &json!([])));
    assert_eq!(settings["dial_sip"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leaked_credential_is_replaced_and_a_person_is_let_go() {
    let folder = tempfile::tempdir().unwrap();
    let tandem = Tandem::on(&folder.path().join("data"));
    let running = tandem.start("serve", &[]).await;
    tandem.json(&["org", "create", "Acme", "--slug", "acme"]).await;
    let ann = tandem.json(&["user", "create", "Ann", "--org", "acme", "--extension", "1001"]).await;
    let app = tandem.json(&["app", "create", "crm", "--org", "acme"]).await;
    let says = async |token: &str| running.client().bearing(token).get("/v1/events").await.status;
    assert_eq!(says(text(&ann, "auth_token")).await, 200);

    let again = tandem.json(&["user", "rotate", text(&ann, "id"), "--org", "acme"]).await;
    let key = tandem.json(&["app", "rotate", text(&app, "id")]).await;
    // Another process changed them: what the server believes of a credential lasts two seconds.
    for (old, new) in
        [(text(&ann, "auth_token"), text(&again, "auth_token")), (text(&app, "api_key"), text(&key, "api_key"))]
    {
        running.client().bearing(old).until_status("/v1/events", 401).await;
        assert_eq!(says(new).await, 200);
    }
    let said = tandem.refusal(&["user", "disable", text(&ann, "id"), "--org", "acme"]).await;
    assert!(said.contains("needs an owner"), "{said}");
    tandem.json(&["user", "create", "Ben", "--org", "acme", "--role", "owner"]).await;
    tandem.json(&["user", "disable", text(&ann, "id"), "--org", "acme"]).await;
    running.client().bearing(text(&again, "auth_token")).until_status("/v1/events", 401).await;
    let said = tandem.refusal(&["user", "disable", text(&ann, "id"), "--org", "acme"]).await;
    assert!(said.contains("person"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn verbs_find_no_store_in_a_wrong_directory_and_make_none() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("nowhere");
    let tandem = Tandem::on(&data);
    let target = folder.path().join("backup").display().to_string();
    for words in [
        &["backup", &target][..],
        &["user", "create", "Ann", "--org", "acme"],
        &["webhook", "add", "http://a.example/", "--org", "acme"],
    ] {
        let said = tandem.refusal(words).await;
        assert!(said.contains("nowhere"), "{words:?} said {said:?}");
    }
    assert!(!data.join("tandem.db").exists() && !std::path::Path::new(&target).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn flow_check_asks_the_organisation_when_it_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let tandem = Tandem::on(&folder.path().join("data"));
    tandem.json(&["org", "create", "Acme", "--slug", "acme"]).await;
    tandem.json(&["user", "create", "Ann", "--org", "acme", "--extension", "1001"]).await;
    let file = folder.path().join("flow.json");
    let path = file.display().to_string();
    let write = |number: &str| {
        let call = json!({"id": 1, "type": "call", "number": "1001", "caller_id": "+442071838750", "next_step": 2});
        let body = json!({"flow": [call, {"id": 2, "type": "connect", "number": number}]});
        std::fs::write(&file, body.to_string()).unwrap();
    };
    write("1001");
    let alone = tandem.json(&["flow", "check", &path]).await;
    assert_eq!(alone["warnings"], json!([]));
    let asked = tandem.json(&["flow", "check", &path, "--org", "acme"]).await;
    assert_eq!(asked["warnings"][0]["code"], "caller_id_replaced");
    write("1002");
    tandem.json(&["flow", "check", &path]).await;
    let said = tandem.refusal(&["flow", "check", &path, "--org", "acme"]).await;
    assert!(said.contains("unknown_entity at /flow/1/number: nobody has the number 1002"), "{said}");
    assert!(said.contains("warning caller_id_replaced"), "{said}");
    let said = tandem.refusal(&["flow", "check", &path, "--org", "nobody"]).await;
    assert!(said.contains("nobody"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_keeps_a_server_from_starting_names_the_flag_that_changes_it() {
    let folder = tempfile::tempdir().unwrap();
    let tandem = Tandem::on(&folder.path().join("data"));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let browsers = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let browsers = browsers.local_addr().unwrap().to_string();
    let empty = folder.path().join("empty.pem");
    std::fs::write(&empty, "nothing").unwrap();
    let empty = empty.display().to_string();
    let certificate = ["--tls-cert", &empty, "--tls-key", &empty];
    let elsewhere = ["--http", "127.0.0.1:0", "--sip", "127.0.0.1:0", "--rtc", "127.0.0.1:0"];
    for (words, named) in [
        (vec!["--http", &taken, "--sip", "127.0.0.1:0", "--rtc", "127.0.0.1:0"], [&*taken, "--http"]),
        (vec!["--http", "127.0.0.1:0", "--sip", &taken, "--rtc", "127.0.0.1:0"], [&taken, "--sip"]),
        (vec!["--http", "127.0.0.1:0", "--sip", "127.0.0.1:0", "--rtc", &browsers], [&browsers, "--rtc"]),
        ([elsewhere.to_vec(), certificate.to_vec()].concat(), [&empty, "--tls-cert"]),
        ([&elsewhere[..], &["--https", "127.0.0.1:0"], &certificate[..]].concat(), [&empty, "--tls-cert"]),
    ] {
        let said = tandem.refusal(&[&["serve"], &words[..]].concat()).await;
        assert!(named.iter().all(|name| said.contains(name)), "{words:?} said {said}");
    }
}
