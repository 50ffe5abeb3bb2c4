//! A chat by server-sent events: the same frames, and an id from which a client goes on.

use futures_util::StreamExt;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::harness::chat::seqs;
use crate::harness::client::Client;
use crate::harness::phone::PATIENCE;
use crate::harness::server::Server;

/// Events until there are so many messages: the frames, and the last id.
async fn events(client: &Client, path: &str, last_id: Option<&str>, messages: usize) -> (Vec<Value>, String) {
    let mut request = client.request(Method::GET, path);
    if let Some(last) = last_id {
        request = request.header("last-event-id", last);
    }
    let answer = request.send().await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["content-type"]),
        (200, &"text/event-stream".parse().unwrap())
    );
    let mut stream = answer.bytes_stream();
    let (mut text, mut frames, mut id) = (String::new(), Vec::<Value>::new(), String::new());
    while frames.iter().filter(|frame| frame["type"] == "msg").count() < messages {
        let chunk = timeout(PATIENCE, stream.next()).await.expect("an event comes").unwrap().unwrap();
        text += std::str::from_utf8(&chunk).unwrap();
        while let Some((event, rest)) = text.clone().split_once("\n\n") {
            text = rest.to_owned();
            let line = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
            let Some(data) = line("data: ") else { continue };
            let frame: Value = serde_json::from_str(&data).unwrap();
            assert_eq!(line("event: ").as_deref(), frame["type"].as_str());
            id = line("id: ").unwrap_or(id);
            frames.extend(frame["missed"].as_array().cloned().unwrap_or_default());
            frames.push(frame);
        }
    }
    (frames, id)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_goes_on_from_its_last_id() {
    let server = Server::start().await;
    let org = server.org("shop").await;
    let shop = org.shop(&[]).await;
    let (ann, bob) = (shop.room("ann").await, shop.room("bob").await);
    let visitor = server.client().bearing(&ann.token);
    let say = async |room: &str, count: usize| {
        for _ in 0..count {
            shop.client.post(&format!("/v1/chat/rooms/{room}/messages"), &json!({"body": "x"})).await.expect(201);
        }
    };
    say(&ann.room, 3).await;
    let path = format!("/v1/chat/events?rooms={}:1", ann.room);
    let ((frames, id), ()) = tokio::join!(events(&visitor, &path, None, 4), async {
        say(&bob.room, 1).await;
        say(&ann.room, 2).await;
    });
    assert_eq!(seqs(&frames, &ann.room), [2, 3, 4, 5]);
    assert!(frames.iter().all(|frame| frame["room"] != bob.room), "{frames:?}");
    assert_eq!(id, format!("{}:5", ann.room));
    say(&ann.room, 2).await;
    let (frames, id) = events(&visitor, &path, Some(&id), 2).await;
    assert_eq!((seqs(&frames, &ann.room), id), (vec![6, 7], format!("{}:7", ann.room)));
    // An application hears its rooms, from cursors where it names them.
    let path = format!("/v1/chat/events?rooms={}:6,{}:0", ann.room, bob.room);
    let (frames, id) = events(&shop.client, &path, None, 2).await;
    assert_eq!((seqs(&frames, &ann.room), seqs(&frames, &bob.room)), (vec![7], vec![1]));
    assert!(id.contains(&format!("{}:7", ann.room)) && id.contains(&format!("{}:1", bob.room)), "{id}");
    for (client, path, status) in [
        (&server.client(), "/v1/chat/events", 401),
        (&visitor, "/v1/chat/events?rooms=x", 400),
        (&server.client().bearing("vt_wrong"), "/v1/chat/events", 401),
    ] {
        assert_eq!(client.get(path).await.status, status, "{path}");
    }
    server.stop().await;
}
