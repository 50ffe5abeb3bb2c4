//! Every verb of the command line with `--json`: one success, which is one object on one line, and
//! one failure, which is a sentence on stderr and nothing on stdout.

use clap::CommandFactory;
use serde_json::{Value, json};

use crate::harness::crowd::Act;
use crate::harness::house::House;

/// `serve` and `demo` run until they are stopped, and their stories stand in `life` and `real::demo`.
const ENDLESS: [&str; 2] = ["serve", "demo"];

/// The verbs that end, as clap knows them: `org create`.
fn leaves() -> Vec<String> {
    let mut found = Vec::new();
    for group in tandem::cli::Cli::command().get_subcommands() {
        let name = group.get_name();
        let below: Vec<String> = group.get_subcommands().map(|verb| format!("{name} {}", verb.get_name())).collect();
        found.extend(if below.is_empty() { vec![name.to_owned()] } else { below });
    }
    found.retain(|verb| !ENDLESS.contains(&verb.as_str()) && !verb.ends_with("help"));
    found
}

/// Verb, good words, members of the answer, bad words, what the sentence names.
type Case<'a> = (&'a str, Vec<String>, &'a [&'a str], Vec<String>, &'a str);

#[tokio::test(flavor = "multi_thread")]
async fn every_verb_succeeds_on_one_line_and_fails_in_a_sentence() {
    let house = House::start("", |_| vec![Act::Ring, Act::Answer]).await;
    let folder = tempfile::tempdir().unwrap();
    let flow = json!({"flow": [{"id": 1, "type": "call", "number": "+442071838103", "next_step": 2}, {"id": 2, "type": "hangup"}]});
    let place = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (file, bad, backup) = (place("flow.json"), place("bad.json"), place("backup"));
    std::fs::write(&file, flow.to_string()).unwrap();
    std::fs::write(&bad, r#"{"flow":[{"id":1,"type":"dance"}]}"#).unwrap();
    let app = house.verb(&["app", "create", "first", "--org", "acme"]).await["id"].as_str().unwrap().to_owned();

    // The first person owns the organisation and stays.
    house.verb(&["user", "create", "Owner", "--org", "acme"]).await;
    let eve = house.verb(&["user", "create", "Eve", "--org", "acme"]).await["id"].as_str().unwrap().to_owned();

    let id = |made: Value| made["id"].as_str().unwrap().to_owned();
    let gone = id(house.verb(&["app", "create", "gone", "--org", "acme"]).await);
    let team = id(house.verb(&["team", "create", "G", "--org", "acme", "--number", "5999"]).await);
    let trunk = id(house.verb(&["trunk", "add", "g", "--org", "acme", "--target", "127.0.0.1:5998"]).await);
    house.verb(&["number", "add", "+442071838759", "--org", "acme", "--to", "team:5999"]).await;
    let hook = id(house.verb(&["webhook", "add", "http://gone.example.org/", "--org", "acme"]).await);
    let saved = id(house.verb(&["flow", "save", &file, "--org", "acme", "--name", "gone"]).await);
    let public = "+442071838757";
    let named = house.verb(&["number", "add", public, "--org", "acme", "--to", "flow:gone"]).await;
    assert_eq!(named["to"], format!("flow:{saved}"), "by the flow's name");
    house.verb(&["number", "remove", public, "--org", "acme"]).await;

    let org = ["--org", "acme"];
    let with = |words: &[&str]| -> Vec<String> { words.iter().chain(&org).map(|word| (*word).to_owned()).collect() };
    let plain = |words: &[&str]| -> Vec<String> { words.iter().map(|word| (*word).to_owned()).collect() };
    let table: Vec<Case> = vec![
        ("org create", plain(&["Second"]), &["id", "slug", "cloud_sid"], plain(&["Acme", "--slug", "acme"]), "acme"),
        (
            "org set",
            plain(&["acme", "quiet_hours=21:00-08:00"]),
            &["id", "settings"],
            plain(&["acme", "colour=blue"]),
            "colour",
        ),
        (
            "app create",
            with(&["crm"]),
            &["id", "org", "api_key", "publishable_key"],
            plain(&["crm", "--org", "nobody"]),
            "nobody",
        ),
        ("app rotate", plain(&[&app]), &["id", "org", "api_key"], plain(&["app_none"]), "app_none"),
        (
            "app set",
            plain(&[&app, "record=true"]),
            &["id", "settings"],
            plain(&["app_none", "record=true"]),
            "app_none",
        ),
        (
            "user create",
            with(&["Ann", "--extension", "1001"]),
            &["id", "auth_token", "extension", "sip"],
            with(&["Ann", "--role", "king"]),
            "king",
        ),
        ("user link", with(&[&eve]), &["id", "url"], with(&["per_none"]), "per_none"),
        ("user rotate", with(&[&eve]), &["id", "auth_token"], with(&["per_none"]), "per_none"),
        ("user disable", with(&[&eve]), &["id"], with(&["per_none"]), "per_none"),
        (
            "team create",
            with(&["T", "--number", "5263", "--member", "1001"]),
            &["id"],
            with(&["T", "--number", "5264", "--member", "9999"]),
            "9999",
        ),
        (
            "trunk add",
            with(&["t", "--target", "127.0.0.1:5999"]),
            &["id"],
            with(&["t", "--target", "h;transport=pigeon"]),
            "transport",
        ),
        (
            "number add",
            with(&["+442071838750", "--to", "person:1001"]),
            &["id"],
            with(&["12", "--to", "person:1001"]),
            "number",
        ),
        ("webhook add", with(&["http://hooks.example.org/"]), &["id", "secret"], with(&["ftp://example.org/"]), "http"),
        ("flow check", plain(&[&file]), &["id", "steps"], plain(&[&bad]), "unknown_type"),
        ("flow save", with(&[&file, "--name", "f"]), &["id", "version"], with(&[&bad, "--name", "f"]), "unknown_type"),
        ("flow run", with(&[&file]), &["id"], with(&["flow_none"]), "flow_none"),
        ("org list", plain(&[]), &["items"], plain(&["acme"]), "acme"),
        ("app list", with(&[]), &["items"], plain(&["--org", "nobody"]), "nobody"),
        ("user list", with(&[]), &["items"], plain(&["--org", "nobody"]), "nobody"),
        ("team list", with(&[]), &["items"], plain(&["--org", "nobody"]), "nobody"),
        ("trunk list", with(&[]), &["items"], plain(&["--org", "nobody"]), "nobody"),
        ("number list", plain(&[]), &["items"], plain(&["--org", "nobody"]), "nobody"),
        ("webhook list", with(&[]), &["items"], plain(&["--org", "nobody"]), "nobody"),
        ("flow list", with(&[]), &["items"], plain(&["--org", "nobody"]), "nobody"),
        ("app remove", plain(&[&gone]), &["id"], plain(&["app_none"]), "app_none"),
        ("number remove", with(&["+442071838759"]), &["id"], with(&["+442071838758"]), "+442071838758"),
        ("team remove", with(&[&team]), &["id"], with(&["team_none"]), "team_none"),
        ("trunk remove", with(&[&trunk]), &["id"], with(&["trunk_none"]), "trunk_none"),
        ("webhook remove", with(&[&hook]), &["id"], with(&["wh_none"]), "wh_none"),
        ("flow remove", with(&[&saved]), &["id"], with(&["flow_none"]), "flow_none"),
        ("admin link", plain(&["--email", "root@example.org"]), &["id", "url"], plain(&["--email", "nobody"]), "email"),
        ("backup", plain(&[&backup]), &["id"], plain(&["/nowhere/backup"]), "/nowhere/backup"),
        ("doctor", plain(&[]), &["ok"], plain(&["--http", "192.0.2.1:1"]), ""),
    ];
    for (verb, good, members, bad, named) in &table {
        let words: Vec<&str> = verb.split(' ').chain(good.iter().map(String::as_str)).collect();
        let answer = house.try_verb(&words).await;
        let line: Value = serde_json::from_str(&answer.0).unwrap_or_else(|error| panic!("{verb}: {error}: {answer:?}"));
        assert!(answer.0.matches('\n').count() == 1 && answer.0.ends_with('\n'), "{verb}: {answer:?}");
        for member in *members {
            assert!(line.get(member).is_some(), "{verb}: no {member} in {line}");
        }
        // The doctor of a test's machine may find something: then it says so on one line as well.
        assert!(answer.2 || *verb == "doctor", "{verb}: {answer:?}");
        let words: Vec<&str> = verb.split(' ').chain(bad.iter().map(String::as_str)).collect();
        let (out, err, success) = house.try_verb(&words).await;
        assert!(!success, "{words:?} succeeded: {out}");
        assert!(*verb == "doctor" || out.is_empty(), "{words:?} wrote to stdout: {out}");
        assert!(err.contains(named) && !err.contains("panicked"), "{words:?} said {err:?}");
    }

    // Both need a server that is stopped, or another store: their stories stand in `stores`.
    let elsewhere = ["restore", "migrate-store"];
    let mut tested: Vec<&str> = table.iter().map(|(verb, ..)| *verb).chain(elsewhere).collect();
    tested.sort_unstable();
    let mut there = leaves();
    there.sort_unstable();
    assert_eq!(there, tested, "every verb is tested");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flow_runs_from_the_command_line_on_the_server_that_is_running() {
    let house = House::start("", |_| vec![Act::Ring, Act::Answer]).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("flow.json");
    let flow = json!({"flow": [{"id": 1, "type": "call", "number": "+442071838103", "next_step": 2}, {"id": 2, "type": "hangup"}]});
    std::fs::write(&file, flow.to_string()).unwrap();
    let file = file.to_str().unwrap();
    let saved = house.verb(&["flow", "save", file, "--org", "acme", "--name", "f"]).await;
    let saved = saved["id"].as_str().unwrap();
    for (words, number) in [
        (vec!["flow", "run", file, "--org", "acme"], "+442071838103"),
        (vec!["flow", "run", saved, "--org", "acme"], "+442071838103"),
        (vec!["flow", "run", saved, "--org", "acme", "--to", "+442071838104"], "+442071838104"),
    ] {
        let before = house.crowd.rung(number);
        let run = house.verb(&words).await["id"].as_str().unwrap().to_owned();
        let path = format!("/v1/calls?number={}", number.replace('+', "%2B"));
        let is_over = |page: &Value| {
            let calls = page["calls"].as_array().unwrap();
            calls.iter().any(|call| call["flow_run_id"] == run && call["state"] == "completed")
        };
        house.client().until(&path, "the run's call is over", is_over).await;
        assert_eq!(house.crowd.rung(number), before + 1, "{words:?}");
    }
}
