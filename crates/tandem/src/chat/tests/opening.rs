//! Rooms are opened: got by their keys or made, with a token for whoever is new.

use kernel::limit::RetryAfter;

use super::stage::{NOON, Stage};
use crate::chat::model::Visitor;
use crate::chat::visitors::Card;
use crate::chat::{Asker, Change, ChatError, How, OpenRoom, Opener, RoomFilter, RoomOrder, TOKEN_LIFE_MS};

#[tokio::test]
async fn a_room_is_got_by_its_keys_or_made() {
    for stage in Stage::each(&[]).await {
        let open = async |opener, how| stage.chats.open_room(stage.wish(opener, how)).await.unwrap();
        let first = open(Opener::Anyone, How::GetOrCreate).await;
        assert!(first.created && first.token.is_some());
        let room = &first.room;
        assert!(room.id.len() == 24 && room.event_id.starts_with("FB10100000001795262400#"), "{}", room.event_id);
        assert_eq!(room.event_id.rsplit('#').next().unwrap().len(), 7);

        let again = open(Opener::Anyone, How::GetOrCreate).await;
        assert_eq!((again.room.id.clone(), again.created, again.token.is_none()), (room.id.clone(), false, true));
        let new = open(Opener::Anyone, How::New).await;
        assert!(new.created && new.room.id != room.id);
        let stranger = open(Opener::Stranger, How::GetOrCreate).await;
        assert!(stranger.created, "nobody gets a room by naming its keys");
        let again = open(Opener::Anyone, How::GetOrCreate).await;
        assert!(again.room.id != stranger.room.id && !again.created, "nor lays one for others to get");

        let visitor = stage.chats.authenticate_visitor(first.token.unwrap().expose()).await.unwrap().unwrap();
        let own = open(Opener::Visitor(visitor.clone()), How::GetOrCreate).await;
        assert_eq!((own.room.id, own.token.is_none()), (room.id.clone(), true));
        let other = OpenRoom { product: "LOGOSCAN".into(), ..stage.wish(Opener::Visitor(visitor), How::GetOrCreate) };
        let other = stage.chats.open_room(other).await.unwrap();
        assert_eq!((other.created, &other.visitor), (true, &first.visitor), "another room, the same visitor");
    }
}

#[tokio::test]
async fn who_opens_the_same_room_in_the_same_moment_gets_the_same() {
    for stage in Stage::each(&[]).await {
        let other_node = stage.second_node();
        let opens = (0..16).map(|n| {
            let chats = if n % 2 == 0 { stage.chats.clone() } else { other_node.clone() };
            let wish = stage.wish(Opener::Anyone, How::GetOrCreate);
            async move { chats.open_room(wish).await.unwrap() }
        });
        let opened = futures_util::future::join_all(opens).await;
        assert_eq!(opened.iter().filter(|opened| opened.created).count(), 1);
        assert!(opened.iter().all(|each| each.room.id == opened[0].room.id));
    }
}

#[tokio::test]
async fn a_closed_room_is_not_got_again() {
    for stage in Stage::each(&[]).await {
        let wish = stage.wish(Opener::Anyone, How::GetOrCreate);
        let first = stage.chats.open_room(wish.clone()).await.unwrap();
        let app = stage.application();
        stage.chats.change(&app, &first.room.id, &Change::Close, |_| Vec::new()).await.unwrap();
        let second = stage.chats.open_room(wish.clone()).await.unwrap();
        assert!(second.created && second.room.id != first.room.id);
        stage.chats.change(&app, &first.room.id, &Change::Reopen, |_| Vec::new()).await.unwrap();
        let third = stage.chats.open_room(wish).await.unwrap();
        assert!(!third.created);
    }
}

#[tokio::test]
async fn a_token_slides_while_it_is_used_and_ends_when_it_is_not() {
    for stage in Stage::each(&[]).await {
        let wish = stage.wish(Opener::Stranger, How::New);
        let token = stage.chats.open_room(wish).await.unwrap().token.unwrap();
        let good = async || stage.chats.authenticate_visitor(token.expose()).await.unwrap().is_some();
        stage.hand.set(NOON + TOKEN_LIFE_MS - 1);
        assert!(good().await);
        stage.kernel.db.writer().flush().await.unwrap();
        stage.hand.set(NOON + 2 * TOKEN_LIFE_MS - 2);
        assert!(good().await, "it was used meanwhile");
        stage.kernel.db.writer().flush().await.unwrap();
        stage.hand.set(NOON + 3 * TOKEN_LIFE_MS);
        assert!(!good().await);
        for wrong in ["", "vt_", "vt_x", "ak_x", &"vt_".repeat(100)] {
            assert_eq!(stage.chats.authenticate_visitor(wrong).await.unwrap(), None, "{wrong}");
        }
    }
}

#[tokio::test]
async fn an_application_vouches_for_a_visitor_once() {
    for stage in Stage::each(&[]).await {
        let card = Card { name: "Ann".into(), email: Some("ann@example.org".into()) };
        let vouch = |card: Card| {
            let (chats, org, app) = (stage.chats.clone(), stage.org.clone(), stage.app.clone());
            async move { chats.vouched_visitor(&org, &app, "u1", &card).await.unwrap() }
        };
        let both = tokio::join!(vouch(card.clone()), vouch(card.clone()));
        assert_eq!(both.0.id, both.1.id);
        let later = vouch(Card { name: "Ann B.".into(), email: None }).await;
        assert_eq!((later.id.clone(), later.name.as_str()), (both.0.id, "Ann B."));
        assert_eq!(later.email.as_deref(), Some("ann@example.org"));
        let known: Visitor = stage.chats.visitor(&stage.org, &later.id).await.unwrap();
        assert_eq!(known, later);
        assert!(stage.chats.visitor(&"org_other".into(), &later.id).await.is_err());
        // Whoever merely says that it is u1 is somebody else.
        let stranger = stage.chats.open_room(stage.wish(Opener::Stranger, How::New)).await.unwrap();
        assert_ne!(stranger.visitor, later.id);
    }
}

#[tokio::test]
async fn new_visitors_and_conversations_are_limited() {
    let limits = [("limit_sessions_per_minute", "10"), ("limit_conversations_per_hour", "6")];
    let stage = Stage::sqlite(&limits).await;
    let from =
        |address: &str| OpenRoom { address: Some(address.parse().unwrap()), ..stage.wish(Opener::Stranger, How::New) };
    let mut token = None;
    for _ in 0..10 {
        token = stage.chats.open_room(from("192.0.2.1")).await.unwrap().token;
    }
    let refused = stage.chats.open_room(from("192.0.2.1")).await;
    assert!(matches!(refused, Err(ChatError::Limit(RetryAfter { seconds: 7 }))), "{refused:?}");
    stage.chats.open_room(from("192.0.2.2")).await.unwrap();

    let visitor = stage.chats.authenticate_visitor(token.unwrap().expose()).await.unwrap().unwrap();
    let wish = stage.wish(Opener::Visitor(visitor), How::New);
    for _ in 0..6 {
        stage.chats.open_room(wish.clone()).await.unwrap();
    }
    let refused = stage.chats.open_room(wish.clone()).await;
    assert!(matches!(refused, Err(ChatError::Limit(RetryAfter { seconds: 601 }))), "{refused:?}");
}

#[tokio::test]
async fn rooms_are_listed_page_by_page_in_both_orders() {
    for stage in Stage::each(&[]).await {
        let mut ids = Vec::new();
        for n in 0..5 {
            stage.hand.set(NOON + n * 1_000);
            let wish = OpenRoom { label: format!("L{}", n % 2), ..stage.wish(Opener::Stranger, How::New) };
            ids.push(stage.chats.open_room(wish).await.unwrap());
        }
        let app = stage.application();
        let list = async |filter: RoomFilter| {
            let (mut filter, mut all) = (filter, Vec::new());
            loop {
                let page = stage.chats.rooms(&app, &filter, 2).await.unwrap();
                all.extend(page.rooms.into_iter().map(|room| room.id));
                filter.after = page.next;
                if filter.after.is_none() {
                    return all;
                }
            }
        };
        let all: Vec<_> = ids.iter().map(|opened| opened.room.id.clone()).collect();
        assert_eq!(list(RoomFilter::default()).await, all);
        let latest = list(RoomFilter { order: RoomOrder::LatestFirst, ..RoomFilter::default() }).await;
        assert_eq!(latest, all.iter().rev().cloned().collect::<Vec<_>>());
        let labelled = list(RoomFilter { label: Some("L1".into()), ..RoomFilter::default() }).await;
        assert_eq!(labelled, [all[1].clone(), all[3].clone()]);
        let person = Change::Assign(Some("per_1".into()));
        stage.chats.change(&app, &all[2], &person, |_| Vec::new()).await.unwrap();
        let waiting = list(RoomFilter { unassigned: true, ..RoomFilter::default() }).await;
        assert_eq!(waiting.len(), 4);
        let mine = list(RoomFilter { assignee: Some("per_1".into()), ..RoomFilter::default() }).await;
        assert_eq!(mine, [all[2].clone()]);

        let visitor = stage.chats.authenticate_visitor(ids[3].token.as_ref().unwrap().expose()).await.unwrap().unwrap();
        let own = stage.chats.rooms(&Asker::from(&visitor), &RoomFilter::default(), 10).await.unwrap();
        assert_eq!(own.rooms.iter().map(|room| &room.id).collect::<Vec<_>>(), [&all[3]]);
        let by_id = Asker::Room { org: stage.org.clone(), room: all[0].clone() };
        assert!(matches!(stage.chats.rooms(&by_id, &RoomFilter::default(), 10).await, Err(ChatError::Forbidden)));
    }
}
