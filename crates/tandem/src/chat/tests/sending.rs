//! Messages get their numbers: one after the other, at once, twice, and when two nodes want the same.

use std::collections::BTreeSet;

use kernel::Role;

use super::stage::{NOON, Stage, draft};
use crate::chat::model::{Body, Draft, Kind, MAX_BODY_BYTES, Refused, Sender};
use crate::chat::{Act, Change, ChatError, Heard, How, Opener, What};

#[tokio::test]
async fn messages_are_numbered_acknowledged_kept_and_told() {
    for stage in Stage::each(&[]).await {
        let (opened, visitor) = stage.room().await;
        let room = &opened.room.id;
        let mut heard = stage.chats.hub().subscribe(&visitor);
        heard.join(room);
        let agent = stage.person("per_1", Role::Agent);

        let first = stage.chats.send(&visitor, room, Draft { author: "Ann".into(), ..draft("Hello", "c1") }).await;
        let first = first.unwrap();
        assert_eq!((first.seq, first.at_ms), (1, NOON));
        assert!(first.id.len() == 24 && first.id.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let odd = Draft {
            body: Body::parse(r#"{"b": [1, 2.50]}"#).unwrap(),
            side: Some(Body::text("True")),
            ..Draft::text("")
        };
        assert_eq!(stage.chats.send(&agent, room, odd).await.unwrap().seq, 2);

        let stored = stage.stored(room).await;
        let seen: Vec<_> =
            stored.iter().map(|m| (m.seq, m.sender.role(), m.side.as_json(), m.author.as_str())).collect();
        assert_eq!(seen, [(1, "visitor", "false", "Ann"), (2, "agent", "\"True\"", "")]);
        assert_eq!(stored[1].body.as_ref().unwrap().as_json(), r#"{"b": [1, 2.50]}"#, "as it was sent");
        assert_eq!((&*stored[0].id, stored[0].created_ms), (&*first.id, NOON));
        for expected in &stored {
            let Heard::News(news) = heard.next().await else { panic!("lagging") };
            let What::Message(message) = &news.what else { panic!("{:?}", news.what) };
            assert_eq!(**message, *expected);
        }
        let now = stage.chats.room(&agent, room).await.unwrap();
        assert_eq!((now.seq_head, now.last_body), (2, stored[1].body.clone()));

        let events = stage.kernel.events.of_key(&stage.org, room, 0, 10).await.unwrap();
        let kinds: Vec<_> = events.iter().map(|event| (event.seq, event.kind.as_str())).collect();
        assert_eq!(kinds, [(1, "room.opened"), (2, "message.created"), (3, "message.created")]);
        assert!(events[1].envelope.contains(r#""body":"Hello""#), "{}", events[1].envelope);
    }
}

#[tokio::test]
async fn many_senders_in_the_same_moment_get_numbers_without_holes() {
    for stage in Stage::each(&[]).await {
        let (opened, visitor) = stage.room().await;
        let room = &opened.room.id;
        let mut heard = stage.chats.hub().subscribe(&stage.application());
        let sends = (0..100).map(|n| {
            let asker = if n % 2 == 0 { visitor.clone() } else { stage.person(&format!("per_{n}"), Role::Supervisor) };
            let chats = stage.chats.clone();
            async move { chats.send(&asker, room, draft(&n.to_string(), &n.to_string())).await.unwrap().seq }
        });
        let seqs: BTreeSet<i64> = futures_util::future::join_all(sends).await.into_iter().collect();
        assert_eq!(seqs, (1..=100).collect());
        let stored = stage.stored(room).await;
        assert_eq!(stored.iter().map(|m| m.seq).collect::<Vec<_>>(), (1..=100).collect::<Vec<_>>());
        for seq in 1..=100 {
            let Heard::News(news) = heard.next().await else { panic!("lagging") };
            assert!(matches!(&news.what, What::Message(message) if message.seq == seq), "in order, once");
        }
    }
}

#[tokio::test]
async fn the_same_message_in_the_same_moment_is_one() {
    for stage in Stage::each(&[]).await {
        let (opened, visitor) = stage.room().await;
        let room = &opened.room.id;
        let other_node = stage.second_node();
        let tries = (0..20).map(|n| {
            let chats = if n % 2 == 0 { stage.chats.clone() } else { other_node.clone() };
            let visitor = visitor.clone();
            async move { chats.send(&visitor, room, draft("once", "c1")).await.unwrap() }
        });
        let mut acks = futures_util::future::join_all(tries).await;
        acks.dedup();
        assert_eq!(acks.len(), 1, "{acks:?}");
        // The name is the sender's own: another one's message of that name is another message.
        let other = stage.chats.send(&stage.application(), room, draft("another", "c1")).await.unwrap();
        assert_eq!(other.seq, 2);
        assert_eq!(stage.stored(room).await.len(), 2);
    }
}

#[tokio::test]
async fn a_retry_is_known_after_a_restart_and_after_many_others() {
    for stage in Stage::each(&[]).await {
        let (opened, visitor) = stage.room().await;
        let room = &opened.room.id;
        let first = stage.chats.send(&visitor, room, draft("0", "c0")).await.unwrap();
        for n in 1..=100 {
            stage.chats.send(&visitor, room, draft(&n.to_string(), &format!("c{n}"))).await.unwrap();
        }
        let restarted = stage.second_node();
        for chats in [&stage.chats, &restarted] {
            assert_eq!(chats.send(&visitor, room, draft("0", "c0")).await.unwrap(), first, "long ago");
            let last = chats.send(&visitor, room, draft("100", "c100")).await.unwrap();
            assert_eq!(last.seq, 101, "just now");
        }
        assert_eq!(stage.stored(room).await.len(), 101);
        assert_eq!(restarted.send(&visitor, room, draft("new", "c101")).await.unwrap().seq, 102);
        assert_eq!(stage.chats.send(&visitor, room, draft("newer", "c102")).await.unwrap().seq, 103);
    }
}

#[tokio::test]
async fn what_a_message_may_not_hold_is_refused() {
    let stage = Stage::sqlite(&[("limit_characters", "10")]).await;
    let (opened, visitor) = stage.room().await;
    let room = &opened.room.id;
    let body = |json: &str| Draft { body: Body::parse(json).unwrap(), ..Draft::text("") };
    let long = "é".repeat(11);
    let cases = [
        (body("null"), Refused::Empty),
        (Draft::text(&long), Refused::TooLong { max: 10 }),
        (Draft::text(&"x".repeat(MAX_BODY_BYTES)), Refused::TooLarge),
        (Draft { author: "a\nb".into(), ..Draft::text("x") }, Refused::Author),
        (draft("x", ""), Refused::Cid),
        (Draft { side: Some(Body::text("left")), ..Draft::text("x") }, Refused::Side),
    ];
    for (draft, expected) in cases {
        let said = stage.chats.send(&visitor, room, draft).await;
        assert!(matches!(said, Err(ChatError::Refused(refused)) if refused == expected), "{expected}: {said:?}");
    }
    stage.chats.send(&visitor, room, Draft::text(&"é".repeat(10))).await.unwrap();
    stage.chats.send(&visitor, room, Draft { kind: Kind::Image, ..body("[1,2,3]") }).await.unwrap();
    assert_eq!(stage.stored(room).await.len(), 2);
}

#[tokio::test]
async fn a_visitor_is_not_support_and_sends_no_more_than_its_limit() {
    let stage = Stage::sqlite(&[("limit_messages_per_minute", "30"), ("limit_messages_burst", "3")]).await;
    let (opened, visitor) = stage.room().await;
    let room = &opened.room.id;
    let support = Draft { side: Some(Body::from(true)), ..Draft::text("I am support") };
    let said = stage.chats.send(&visitor, room, support).await;
    assert!(matches!(said, Err(ChatError::Forbidden)), "{said:?}");
    for kind in [Kind::System, Kind::Call] {
        let said = stage.chats.send(&visitor, room, Draft { kind, ..Draft::text("The server says so") }).await;
        assert!(matches!(said, Err(ChatError::Refused(Refused::Kind))), "{said:?}");
    }
    for n in 0..3 {
        stage.chats.send(&visitor, room, draft("x", &n.to_string())).await.unwrap();
    }
    let said = stage.chats.send(&visitor, room, draft("x", "3")).await;
    assert!(matches!(&said, Err(ChatError::Limit(wait)) if wait.seconds == 3), "{said:?}");
    // Other words for what was said, and a word taken back, are counted with the others.
    let changed = stage.chats.edit(&visitor, room, 1, Body::text("y")).await;
    assert!(matches!(changed, Err(ChatError::Limit(_))), "{changed:?}");
    assert!(matches!(stage.chats.delete(&visitor, room, 1).await, Err(ChatError::Limit(_))));
    // What was sent is acknowledged again, whatever the limit.
    assert_eq!(stage.chats.send(&visitor, room, draft("x", "1")).await.unwrap().seq, 2);
    for _ in 0..20 {
        stage.chats.send(&stage.application(), room, Draft::text("servers are not counted here")).await.unwrap();
    }
    stage.hand.advance(2_000);
    assert_eq!(stage.chats.send(&visitor, room, draft("x", "3")).await.unwrap().seq, 24);
}

#[tokio::test]
async fn a_room_of_somebody_else_is_not_there() {
    for stage in Stage::each(&[]).await {
        let (opened, visitor) = stage.room().await;
        let (_, stranger) = stage.room().await;
        let room = &opened.room.id;
        stage.chats.send(&visitor, room, Draft::text("secret")).await.unwrap();
        let mut other_org = stage.application();
        if let crate::chat::Asker::App { org, .. } = &mut other_org {
            *org = "org_other".into();
        }
        let member = stage.person("per_1", Role::Member);
        for asker in [stranger, other_org, member] {
            let sent = stage.chats.send(&asker, room, Draft::text("x")).await;
            assert!(matches!(sent, Err(ChatError::NotFound)), "{asker:?}: {sent:?}");
            let read = stage.chats.messages(&asker, room, 0, 10).await;
            assert!(matches!(read, Err(ChatError::NotFound)), "{asker:?}");
            let closed = stage.chats.reach(&asker, room, Act::Close).await;
            assert!(matches!(closed, Err(ChatError::NotFound)), "{asker:?}");
        }
        let auditor = stage.person("per_2", Role::Auditor);
        assert_eq!(stage.chats.messages(&auditor, room, 0, 10).await.unwrap().len(), 1);
        let sent = stage.chats.send(&auditor, room, Draft::text("x")).await;
        assert!(matches!(sent, Err(ChatError::Forbidden)), "{sent:?}");
        assert_eq!(stage.stored(room).await[0].sender, Sender::Visitor(opened.visitor.clone()));
        // Without any credential nothing is there either, but by the id of the room.
        let wish = stage.wish(Opener::Stranger, How::GetOrCreate);
        assert_ne!(stage.chats.open_room(wish).await.unwrap().room.id, *room);
    }
}

#[tokio::test]
async fn a_message_that_is_there_though_its_commit_was_refused_is_told_and_sent_once() {
    for stage in Stage::each(&[]).await {
        let (opened, visitor) = stage.room().await;
        let room = &opened.room.id;
        let [first, second] = stage.twins();
        // The second has looked at the room, so that it gives the same number.
        second.typing(&visitor, room, false, None, None).await.unwrap();
        let mut heard = second.hub().subscribe(&stage.application());
        let sent = first.send(&visitor, room, Draft::text("once")).await.unwrap();
        assert_eq!(second.send(&visitor, room, Draft::text("once")).await.unwrap(), sent);
        assert_eq!(stage.stored(room).await.len(), 1);
        let Heard::News(news) = heard.next().await else { panic!("lagging") };
        assert!(matches!(&news.what, What::Message(message) if message.id == sent.id), "{:?}", news.what);
    }
}

#[tokio::test]
async fn a_retry_is_known_though_the_room_was_closed_or_the_limit_is_reached() {
    let stage = Stage::sqlite(&[("limit_messages_per_minute", "1"), ("limit_messages_burst", "2")]).await;
    let (opened, visitor) = stage.room().await;
    let room = &opened.room.id;
    let first = stage.chats.send(&visitor, room, draft("x", "c1")).await.unwrap();
    // More than memory keeps.
    for _ in 0..40 {
        stage.chats.send(&stage.application(), room, draft("y", &stage.kernel.ids.token())).await.unwrap();
    }
    stage.chats.send(&visitor, room, draft("x", "c2")).await.unwrap();
    let said = stage.chats.send(&visitor, room, draft("x", "c3")).await;
    assert!(matches!(said, Err(ChatError::Limit(_))), "{said:?}");
    assert_eq!(stage.chats.send(&visitor, room, draft("x", "c1")).await.unwrap(), first);
    stage.chats.change(&stage.application(), room, &Change::Close, |_| Vec::new()).await.unwrap();
    assert_eq!(stage.chats.send(&visitor, room, draft("x", "c1")).await.unwrap(), first);
    let said = stage.chats.send(&visitor, room, draft("x", "c4")).await;
    assert!(matches!(said, Err(ChatError::Refused(Refused::Closed))), "{said:?}");
}
