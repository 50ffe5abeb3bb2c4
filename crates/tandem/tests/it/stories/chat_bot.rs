//! A bot is a webhook and REST: docs/samples/chat_bot.py, as the page says, with a library that is not ours judging the
//! signature, answers a visitor, hands over to a team, and never answers itself.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use crate::harness::chat::Line;
use crate::harness::phone::free_ports;
use crate::harness::server::Plan;

const START: Duration = Duration::from_secs(20);

/// Starts the bot of the page.
async fn bot(port: u16, server: SocketAddr, key: &str, secret: &str, team: &str) -> Child {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let python = std::env::var("TANDEM_TEST_PYTHON").map_or(root.join(".venv/bin/python"), PathBuf::from);
    assert!(python.is_file(), "{} is missing: ./test installs standardwebhooks there", python.display());
    let bot = Command::new(python)
        .arg(root.join("docs/samples/chat_bot.py"))
        .arg(port.to_string())
        .env("TANDEM_URL", format!("http://{server}"))
        .env("TANDEM_KEY", key)
        .env("TANDEM_TEAM", team)
        .env("WEBHOOK_SECRET", secret)
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let listening = timeout(START, async {
        while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            sleep(Duration::from_millis(20)).await;
        }
    });
    listening.await.expect("the bot listens");
    bot
}

#[test]
fn the_page_shows_the_bot_that_is_run_here() {
    let (page, bot) =
        (include_str!("../../../../../docs/chat-bots.md"), include_str!("../../../../../docs/samples/chat_bot.py"));
    let body = bot.split_once("\nURL,").and_then(|(_, rest)| rest.split_once("\n\n\nThreading")).unwrap().0;
    assert!(page.contains(&format!("```python\nURL,{body}\n```")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bot_answers_a_visitor_hands_over_and_does_not_answer_itself() {
    let port = free_ports();
    let place = SocketAddr::from(([127, 0, 0, 1], port));
    let server = Plan::new().reaching(place).start().await;
    let org = server.org("shop").await;
    org.team("5263", &[]).await;
    let (people, shop) = (org.client(), org.shop(&[]).await);
    let team = people.get("/v1/teams").await.expect(200)["teams"][0]["id"].as_str().unwrap().to_owned();
    let wanted = json!({"url": format!("http://{place}/"), "events": ["message.created"]});
    let hook = people.post("/v1/webhooks", &wanted).await.expect(201);
    let _bot = bot(port, server.app.http(), &shop.key, hook["secret"].as_str().unwrap(), &team).await;

    let ours = shop.room("ann").await;
    let (mut line, _) = Line::hello(server.app.http(), &ours.token, json!({})).await;
    line.send(&ours.room, "c1", "Hello").await;
    let answer = line.until(|frame| frame["type"] == "msg" && frame["role"] != "visitor").await;
    let said = (&answer["body"], &answer["role"], &answer["author"], &answer["seq"]);
    assert_eq!(said, (&json!("You said: Hello"), &json!("app"), &json!("Robot"), &json!(2)));

    // Who signs with nothing is not heard.
    let forged =
        json!({"id": "evt_1", "type": "message.created", "data": {"role": "visitor", "room": ours.room, "body": "x"}});
    let refused = reqwest::Client::builder().no_proxy().build().unwrap().post(format!("http://{place}/"));
    let refused =
        refused.header("webhook-id", "evt_1").header("webhook-timestamp", "1").header("webhook-signature", "v1,eA==");
    assert_eq!(refused.json(&forged).send().await.unwrap().status(), 400);

    line.send(&ours.room, "c2", "I want a human, please").await;
    let answer = line.until(|frame| frame["type"] == "msg" && frame["role"] != "visitor").await;
    assert_eq!(answer["body"], "One moment: somebody will be with you.");
    let path = format!("/v1/chat/rooms/{}", ours.room);
    people.until(&path, "the team has it", |room| room["team"] == team.as_str() && room["assignee"].is_null()).await;

    // From here on it is silent, also to what it was told before: each message was delivered.
    line.sent(&ours.room, "c3", "Are you there?").await;
    let delivered = |page: &serde_json::Value| {
        let tries = page["deliveries"].as_array().unwrap();
        tries.len() == 5 && tries.iter().all(|delivery| delivery["state"] == "done")
    };
    let deliveries = format!("/v1/webhooks/{}/deliveries", hook["id"].as_str().unwrap());
    people.until(&deliveries, "all told", delivered).await;
    assert_eq!(people.get(&path).await.expect(200)["seq_head"], 5, "three of hers, two of the bot's");
    server.stop().await;
}
