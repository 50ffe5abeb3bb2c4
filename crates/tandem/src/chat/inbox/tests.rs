//! The inbox on a store: who gets which room, what is found, how it went.

use kernel::Role;
use kernel::app::NewApp;
use kernel::person::NewPerson;

use super::agents::Word;
use super::canned::Canned;
use super::macros::{Macro, Step};
use super::moves::To;
use super::reports::Span;
use crate::chat::model::{Body, Draft, Id, Room};
use crate::chat::store::concerning;
use crate::chat::tests::stage::Stage;
use crate::chat::{Asker, Change, ChatError, Chats, Heard, Opened, RoomFilter, RoomOrder, What};

/// A person of the organisation, who is at a page as long as the ear lives.
async fn hire(stage: &Stage, name: &str, role: Role) -> Asker {
    let new = NewPerson { name: name.into(), role: Some(role), ..NewPerson::default() };
    let (person, _) = stage.kernel.create_person(&stage.org, new).await.unwrap();
    stage.person(&person.id, role)
}

fn id(asker: &Asker) -> Id {
    match asker {
        Asker::Person { id, .. } => id.clone(),
        other => panic!("{other:?}"),
    }
}

/// An agent who takes so many chats.
async fn agent(stage: &Stage, name: &str, capacity: u32) -> Asker {
    let agent = hire(stage, name, Role::Agent).await;
    say(stage, &agent, true, Some(capacity)).await;
    agent
}

async fn say(stage: &Stage, agent: &Asker, is_available: bool, capacity: Option<u32>) {
    stage.hand.advance(1_000);
    stage.chats.say(agent, &id(agent), Word { is_available, capacity }).await.unwrap();
}

/// A room in which the visitor has said something.
async fn asked(stage: &Stage, words: &str) -> (Opened, Asker) {
    stage.hand.advance(1_000);
    let (opened, visitor) = stage.room().await;
    stage.chats.send(&visitor, &opened.room.id, Draft::text(words)).await.unwrap();
    (opened, visitor)
}

async fn room(stage: &Stage, id: &str) -> Room {
    stage.chats.room(&stage.application(), id).await.unwrap()
}

async fn assignee(stage: &Stage, opened: &Opened) -> Option<Id> {
    room(stage, &opened.room.id).await.assignee
}

async fn close(stage: &Stage, room: &str) {
    stage.hand.advance(1_000);
    stage.chats.change(&stage.application(), room, &Change::Close, |_| Vec::new()).await.unwrap();
}

#[tokio::test]
async fn rooms_go_to_whoever_is_idle_longest_and_the_others_wait_in_order() {
    for stage in Stage::each(&[]).await {
        let (ann, bob) = (agent(&stage, "Ann", 1).await, agent(&stage, "Bob", 1).await);
        let empty = stage.room().await.0;
        let mut rooms = Vec::new();
        for words in ["first", "second", "third", "fourth"] {
            rooms.push(asked(&stage, words).await);
        }
        let mut ear = stage.chats.hub().subscribe(&rooms[3].1);
        ear.join(&rooms[3].0.room.id);
        stage.chats.assign(&stage.org).await.unwrap();
        let mut given = Vec::new();
        for (opened, _) in &rooms {
            given.push(assignee(&stage, opened).await);
        }
        assert_eq!(given, [Some(id(&ann)), Some(id(&bob)), None, None]);
        assert_eq!(assignee(&stage, &empty).await, None, "nobody said anything there");
        let place = |opened: &Opened| stage.chats.queue_position(&stage.org, &opened.room.id);
        assert_eq!((place(&rooms[2].0), place(&rooms[3].0), place(&empty)), (Some(1), Some(2), None));

        close(&stage, &rooms[0].0.room.id).await;
        stage.chats.assign(&stage.org).await.unwrap();
        assert_eq!(assignee(&stage, &rooms[2].0).await, Some(id(&ann)), "the oldest one, to who is free");
        let mut places = Vec::new();
        while let Some(Heard::News(news)) = ear.try_next() {
            if let What::QueuePosition(place) = news.what {
                places.push(place);
            }
        }
        assert_eq!(places, [2, 1], "the visitor is told");
        let events = stage.kernel.events.of_key(&stage.org, &rooms[2].0.room.id, 0, 20).await.unwrap();
        let kinds: Vec<String> = events
            .iter()
            .map(|event| serde_json::from_str::<serde_json::Value>(&event.envelope).unwrap())
            .map(|event| event["type"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(kinds, ["room.opened", "message.created", "queue.position", "room.assigned"]);
    }
}

#[tokio::test]
async fn who_is_away_or_not_there_or_may_not_any_more_gets_nothing() {
    for stage in Stage::each(&[]).await {
        let (away, gone) = (agent(&stage, "Away", 4).await, agent(&stage, "Gone", 4).await);
        let left = agent(&stage, "Left", 4).await;
        say(&stage, &away, false, None).await;
        stage.kernel.disable_person(&stage.org, &id(&left)).await.unwrap();
        let ear = stage.chats.hub().subscribe(&left);
        stage.hand.advance(120_000);
        let (opened, _) = asked(&stage, "hello").await;
        stage.chats.assign(&stage.org).await.unwrap();
        assert_eq!(assignee(&stage, &opened).await, None);
        // A page of Gone's is open again.
        let page = stage.chats.hub().subscribe(&gone);
        stage.chats.assign(&stage.org).await.unwrap();
        assert_eq!(assignee(&stage, &opened).await, Some(id(&gone)));
        drop((ear, page));
    }
}

#[tokio::test]
async fn the_rooms_of_who_has_left_go_to_others() {
    for stage in Stage::each(&[]).await {
        let (left, demoted) = (agent(&stage, "Left", 1).await, agent(&stage, "Demoted", 1).await);
        let (first, _) = asked(&stage, "hello").await;
        let (second, _) = asked(&stage, "hello").await;
        let (third, _) = asked(&stage, "hello").await;
        stage.chats.assign(&stage.org).await.unwrap();
        let administrator = stage.kernel.find_administrator(None).await.unwrap();
        let root = stage.person(&administrator.id, Role::Owner);
        stage.chats.take(&root, &third.room.id).await.unwrap();
        stage.kernel.disable_person(&stage.org, &id(&left)).await.unwrap();
        let person = stage.kernel.person(&stage.org, &id(&demoted)).await.unwrap();
        stage.kernel.set_role(&person, Role::Member).await.unwrap();
        stage.chats.assign(&stage.org).await.unwrap();
        assert_eq!((assignee(&stage, &first).await, assignee(&stage, &second).await), (None, None));
        assert_eq!(assignee(&stage, &third).await, Some(id(&root)), "no person of the organisation, and not gone");
        let ann = agent(&stage, "Ann", 4).await;
        stage.chats.assign(&stage.org).await.unwrap();
        let given = [assignee(&stage, &first).await, assignee(&stage, &second).await];
        assert_eq!(given, [Some(id(&ann)), Some(id(&ann))]);
    }
}

#[tokio::test]
async fn a_program_sees_the_queues_and_tags_of_its_own_application_and_none_of_the_people() {
    for stage in Stage::each(&[]).await {
        let (ann, (opened, _)) = (hire(&stage, "Ann", Role::Agent).await, asked(&stage, "hello").await);
        stage.chats.set_tags(&ann, &opened.room.id, &["vip".to_owned()]).await.unwrap();
        let other = NewApp { name: "Other".into(), ..NewApp::default() };
        let (other, _) = stage.kernel.create_app(&stage.org, other).await.unwrap();
        let other = Asker::App { org: stage.org.clone(), app: other.id.into() };
        let mine = stage.application();
        let floor = |asker: Asker| {
            let chats = stage.chats.clone();
            async move {
                let floor = chats.floor(&asker).await.unwrap();
                (floor.agents.len(), floor.lines.iter().map(|line| line.rooms).sum::<i64>())
            }
        };
        assert_eq!(floor(ann.clone()).await, (1, 1));
        assert_eq!((floor(mine.clone()).await, floor(other.clone()).await), ((0, 1), (0, 0)));
        assert_eq!(stage.chats.all_tags(&mine).await.unwrap(), [("vip".to_owned(), 1)]);
        assert_eq!(stage.chats.all_tags(&other).await.unwrap(), []);
        assert!(matches!(stage.chats.canned_replies(&mine, None).await, Err(ChatError::Forbidden)));
        assert!(matches!(stage.chats.macros(&mine).await, Err(ChatError::Forbidden)));
        let away = Word { is_available: false, capacity: None };
        assert!(matches!(stage.chats.say(&mine, &id(&ann), away).await, Err(ChatError::Forbidden)));
        let span = Span::read(None, None, None, stage.chats.now_ms()).unwrap();
        assert!(matches!(stage.chats.report(&mine, &span).await, Err(ChatError::Forbidden)));
        // What changes is seen at once, though the answer is remembered.
        stage.chats.take(&ann, &opened.room.id).await.unwrap();
        assert_eq!(floor(ann).await, (1, 0));
    }
}

#[tokio::test]
async fn a_start_tells_no_place_twice() {
    for stage in Stage::each(&[]).await {
        agent(&stage, "Ann", 0).await;
        let (first, _) = asked(&stage, "hello").await;
        let (second, _) = asked(&stage, "hello").await;
        stage.chats.assign(&stage.org).await.unwrap();
        let told = async |opened: &Opened| {
            let events = stage.kernel.events.of_key(&stage.org, &opened.room.id, 0, 50).await.unwrap();
            events.iter().filter(|event| event.kind == "queue.position").count()
        };
        assert_eq!((told(&first).await, told(&second).await), (1, 1));
        let started = stage.second_node();
        super::queue::recall(&started).await.unwrap();
        assert_eq!(started.queue_position(&stage.org, &second.room.id), Some(2));
        started.assign(&stage.org).await.unwrap();
        assert_eq!((told(&first).await, told(&second).await), (1, 1), "nothing has changed");
        close(&stage, &first.room.id).await;
        started.assign(&stage.org).await.unwrap();
        assert_eq!(told(&second).await, 2, "its place is another one");
    }
}

#[tokio::test]
async fn nothing_is_written_beside_a_room_that_is_gone_and_no_tag_is_lost() {
    for stage in Stage::each(&[]).await {
        let (ann, (opened, _)) = (hire(&stage, "Ann", Role::Agent).await, asked(&stage, "hello").await);
        let at = &*opened.room.id;
        let (one, other) = tokio::join!(stage.chats.add_tag(&ann, at, "One"), stage.chats.add_tag(&ann, at, "two"));
        one.unwrap();
        other.unwrap();
        assert_eq!(stage.chats.tags(&ann, at).await.unwrap(), ["one", "two"]);
        let tagged = RoomFilter { tag: Some("one".into()), ..RoomFilter::default() };
        let rooms = async |asker: &Asker, filter: &RoomFilter| {
            let rooms = stage.chats.rooms(asker, filter, 10).await.unwrap().rooms;
            rooms.into_iter().map(|room| room.id).collect::<Vec<_>>()
        };
        asked(&stage, "untagged").await;
        assert_eq!(rooms(&ann, &tagged).await, std::slice::from_ref(&opened.room.id));
        let latest = RoomFilter { order: RoomOrder::LatestFirst, ..tagged.clone() };
        assert_eq!(rooms(&ann, &latest).await, std::slice::from_ref(&opened.room.id));
        let none = RoomFilter { tag: Some("three".into()), ..latest };
        assert_eq!(rooms(&ann, &none).await, Vec::<Id>::new());

        let before = room(&stage, at).await;
        let mut after = String::new();
        while concerning::erase_visitors(&stage.kernel, &stage.org, &opened.visitor, &mut after)
            .await
            .unwrap()
            .is_some()
        {}
        // As whoever had looked at the room before it went.
        let (_, note) = stage.chats.draft_note(&ann, &before, "late").unwrap();
        assert!(stage.kernel.db.writer().commit(note).await.is_err());
        let visit = super::Visit { page: Some("https://shop.example/".into()), ..super::Visit::default() };
        stage.chats.note_visit(&before, visit).await.unwrap();
        stage.kernel.db.writer().commit(vec![super::store::put_tag_write(&stage.org, at, "late")]).await.unwrap();
        assert_eq!(super::store::visit(&stage.kernel.db, &stage.org, at).await.unwrap(), super::Visit::default());
        assert!(super::store::tags(&stage.kernel.db, &stage.org, at).await.unwrap().is_empty());
        assert!(crate::chat::store::notes(&stage.kernel.db, &stage.org, at).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn who_writes_long_after_a_flow_has_left_waits_from_then_on() {
    for stage in Stage::each(&[]).await {
        let (late, visitor) = stage.room().await;
        let released = super::release_write(&stage.org, &late.room.id, stage.chats.now_ms());
        stage.kernel.db.writer().commit(vec![released]).await.unwrap();
        let (early, _) = asked(&stage, "hello").await;
        stage.hand.advance(1_000);
        stage.chats.send(&visitor, &late.room.id, Draft::text("I am back")).await.unwrap();
        agent(&stage, "Ann", 0).await;
        stage.chats.assign(&stage.org).await.unwrap();
        let place = |opened: &Opened| stage.chats.queue_position(&stage.org, &opened.room.id);
        assert_eq!((place(&early), place(&late)), (Some(1), Some(2)));
    }
}

#[tokio::test]
async fn a_room_goes_from_hand_to_hand_and_not_back_by_itself() {
    for stage in Stage::each(&[]).await {
        let (ann, bob) = (agent(&stage, "Ann", 4).await, hire(&stage, "Bob", Role::Agent).await);
        let (opened, _) = asked(&stage, "hello").await;
        let at = &*opened.room.id;
        stage.chats.assign(&stage.org).await.unwrap();
        assert!(matches!(stage.chats.take(&bob, at).await, Err(ChatError::Forbidden)), "it is Ann's");
        stage.chats.release(&ann, at).await.unwrap();
        stage.chats.assign(&stage.org).await.unwrap();
        assert_eq!(assignee(&stage, &opened).await, None, "Ann gave it back");
        stage.chats.take(&bob, at).await.unwrap();
        let to_ann = To::Person(id(&ann).to_string());
        stage.chats.transfer(&bob, at, &to_ann, Some("a hard one")).await.unwrap();
        assert_eq!(assignee(&stage, &opened).await, Some(id(&ann)), "by hand");
        let notes = stage.chats.notes(&ann, at).await.unwrap();
        assert_eq!(notes.iter().map(|note| note.text.as_str()).collect::<Vec<_>>(), ["a hard one"]);
        let nobody = To::Person("per_none".into());
        assert!(matches!(stage.chats.transfer(&ann, at, &nobody, None).await, Err(ChatError::Org(_))));
        let no_team = To::Team(Some("team_none".into()));
        assert!(matches!(stage.chats.transfer(&ann, at, &no_team, None).await, Err(ChatError::Org(_))));
        close(&stage, at).await;
        assert!(matches!(stage.chats.take(&ann, at).await, Err(ChatError::Refused(_))), "it is over");
    }
}

#[tokio::test]
async fn two_nodes_give_each_room_once_and_nobody_too_many() {
    for stage in Stage::each(&[]).await {
        let second = stage.second_node();
        let agents = [agent(&stage, "Ann", 2).await, agent(&stage, "Bob", 3).await];
        let _pages: Vec<_> = agents.iter().map(|agent| second.hub().subscribe(agent)).collect();
        let mut rooms = Vec::new();
        for _ in 0..8 {
            rooms.push(asked(&stage, "hello").await.0);
        }
        let (one, other) = tokio::join!(stage.chats.assign(&stage.org), second.assign(&stage.org));
        one.unwrap();
        other.unwrap();
        // Whoever lost too often looks again at the next beat.
        stage.chats.assign(&stage.org).await.unwrap();
        let mut loads = [0, 0];
        for opened in &rooms {
            if let Some(person) = assignee(&stage, opened).await {
                loads[agents.iter().position(|agent| id(agent) == person).unwrap()] += 1;
            }
            let events = stage.kernel.events.of_key(&stage.org, &opened.room.id, 0, 50).await.unwrap();
            let given = events.iter().filter(|event| event.envelope.contains("room.assigned")).count();
            assert!(given <= 1, "given {given} times");
        }
        assert_eq!(loads, [2, 3]);
    }
}

#[tokio::test]
async fn a_room_that_a_flow_answers_waits_when_it_is_handed_over() {
    for stage in Stage::each(&[]).await {
        let ann = agent(&stage, "Ann", 4).await;
        let (opened, _) = asked(&stage, "hello").await;
        let hold = super::hold_write(&stage.org, &opened.room.id, stage.chats.now_ms());
        stage.kernel.db.writer().commit(vec![hold]).await.unwrap();
        stage.chats.assign(&stage.org).await.unwrap();
        assert_eq!(assignee(&stage, &opened).await, None);
        let released = super::release_write(&stage.org, &opened.room.id, stage.chats.now_ms());
        stage.kernel.db.writer().commit(vec![released]).await.unwrap();
        stage.chats.assign(&stage.org).await.unwrap();
        assert_eq!(assignee(&stage, &opened).await, Some(id(&ann)));
    }
}

#[tokio::test]
async fn an_application_can_leave_its_rooms_to_be_taken() {
    for stage in Stage::each(&[("chat_assign", "manual")]).await {
        agent(&stage, "Ann", 4).await;
        let (opened, _) = asked(&stage, "hello").await;
        stage.chats.assign(&stage.org).await.unwrap();
        assert_eq!(assignee(&stage, &opened).await, None);
        assert_eq!(stage.chats.queue_position(&stage.org, &opened.room.id), Some(1));
    }
}

/// The texts that are found, newest first.
async fn found(chats: &Chats, asker: &Asker, query: &str) -> Vec<String> {
    let found = chats.search(asker, query, None, 50).await.unwrap();
    found.hits.into_iter().map(|hit| hit.text).collect()
}

#[tokio::test]
async fn what_was_said_is_found_until_it_is_changed_or_taken_back() {
    for stage in Stage::each(&[]).await {
        let (ann, (opened, visitor)) = (hire(&stage, "Ann", Role::Agent).await, asked(&stage, "Grüße aus Köln").await);
        let at = &*opened.room.id;
        stage.chats.send(&stage.application(), at, Draft::text("My \"refund\" isn't here, e-mail me")).await.unwrap();
        stage.chats.note(&ann, at, "an angry refund").await.unwrap();
        let search = |query: &'static str| found(&stage.chats, &ann, query);
        assert_eq!(search("grusse koln").await, ["Grüße aus Köln"]);
        assert_eq!(search("KÖ").await, ["Grüße aus Köln"]);
        assert_eq!(search("refund").await, ["an angry refund", "My \"refund\" isn't here, e-mail me"]);
        assert_eq!(search("\"refund\" AND (e-mail* OR").await, Vec::<String>::new(), "and, or are words");
        assert_eq!(search("isn't e-mail").await.len(), 1);
        for odd in ["", "\"", "*", "(", "a:b", "NEAR(", "' ; drop", "\\", "words:x", "-refund", "^"] {
            search(odd).await;
        }
        let audit = stage.kernel.audit(&stage.org, None, 100).await.unwrap();
        let read = audit.iter().filter(|row| row.action == "chat.read" && row.actor == *id(&ann) && row.object == *at);
        assert_eq!(read.count(), 1, "what was found was read");
        let page = stage.chats.search(&ann, "refund", None, 1).await.unwrap();
        let rest = stage.chats.search(&ann, "refund", page.last, 5).await.unwrap();
        assert_eq!((page.hits.len(), rest.hits.len()), (1, 1));
        assert!(stage.chats.search(&visitor, "refund", None, 5).await.is_err());
        let abroad = Asker::Person { org: "org_other".into(), id: "per_x".into(), role: Role::Owner };
        assert!(found(&stage.chats, &abroad, "refund").await.is_empty());

        stage.chats.edit(&visitor, at, 1, Body::text("Greetings from Bonn")).await.unwrap();
        assert!(search("koln").await.is_empty());
        assert_eq!(search("bonn").await, ["Greetings from Bonn"]);
        stage.chats.delete(&stage.application(), at, 2).await.unwrap();
        assert_eq!(search("refund").await, ["an angry refund"]);
        let mut after = String::new();
        while concerning::erase_visitors(&stage.kernel, &stage.org, &opened.visitor, &mut after)
            .await
            .unwrap()
            .is_some()
        {}
        assert!(search("refund").await.is_empty() && search("bonn").await.is_empty());
        assert_eq!(super::store::search::count(&stage.kernel.db).await, 0, "nothing of it is left");
    }
}

#[tokio::test]
async fn a_macro_ends_at_the_first_step_that_fails() {
    for stage in Stage::each(&[]).await {
        let (ann, boss) = (hire(&stage, "Ann", Role::Agent).await, hire(&stage, "Boss", Role::Supervisor).await);
        let (opened, _) = asked(&stage, "hello").await;
        let at = &*opened.room.id;
        let steps = vec![
            Step::Assign { person: "me".into() },
            Step::Tag { tag: "Spam".into() },
            Step::Reply { text: "Bye {visitor.name|there}, {agent.name}".into() },
            Step::Close {},
            Step::Note { text: "done".into() },
            Step::Reply { text: "too late".into() },
            Step::Tag { tag: "never".into() },
        ];
        let wanted = Macro { name: "Spam".into(), steps, ..Macro::default() };
        assert!(matches!(stage.chats.add_macro(&ann, wanted.clone()).await, Err(ChatError::Forbidden)));
        let wanted = stage.chats.add_macro(&boss, wanted).await.unwrap();
        let run =
            stage.chats.run_macro(&ann, at, &stage.chats.one_macro(&ann, &wanted.id).await.unwrap()).await.unwrap();
        let told = serde_json::to_value(&run).unwrap();
        assert_eq!(
            (&told["done"], &told["failed"]["step"], &told["failed"]["code"]),
            (&5.into(), &6.into(), &"chat_closed".into())
        );
        assert_eq!(stage.chats.tags(&ann, at).await.unwrap(), ["spam"]);
        assert_eq!(stage.chats.all_tags(&ann).await.unwrap(), [("spam".to_owned(), 1)]);
        let said = stage.stored(at).await;
        assert_eq!(said.last().unwrap().body, Some(Body::text("Bye there, Ann")));
        assert!(!room(&stage, at).await.is_open());
    }
}

#[tokio::test]
async fn a_shortcut_names_one_reply_of_an_organisation() {
    for stage in Stage::each(&[]).await {
        let boss = hire(&stage, "Boss", Role::Supervisor).await;
        let hi = |shortcut: &str| Canned {
            shortcut: shortcut.into(),
            title: "Greeting".into(),
            text: "Hello {product}".into(),
            ..Canned::default()
        };
        let made = stage.chats.add_canned(&boss, hi("hi")).await.unwrap();
        assert!(matches!(
            stage.chats.add_canned(&boss, hi("/HI")).await,
            Err(ChatError::Org(kernel::RecordError::Taken { field: "shortcut", .. }))
        ));
        let (opened, _) = asked(&stage, "hello").await;
        let listed = stage.chats.canned_replies(&boss, Some(&opened.room.id)).await.unwrap();
        assert_eq!(listed, [(made.clone(), Some("Hello WIFIQRCODE".to_owned()))]);
        let abroad = Asker::Person { org: "org_other".into(), id: "per_x".into(), role: Role::Owner };
        assert!(stage.chats.canned_reply(&abroad, &made.id).await.is_err());
        assert!(stage.chats.remove_canned(&abroad, &made.id).await.is_err());
        stage.chats.remove_canned(&boss, &made.id).await.unwrap();
        assert!(stage.chats.canned_replies(&boss, None).await.unwrap().is_empty());
        let audit = stage.kernel.audit(&stage.org, None, 100).await.unwrap();
        let mut acts: Vec<_> = audit.into_iter().map(|row| (row.action, row.object)).collect();
        acts.retain(|(action, _)| action.starts_with("chat.canned"));
        acts.reverse();
        let act = |action: &str| (action.to_owned(), made.id.clone());
        assert_eq!(acts, [act("chat.canned_create"), act("chat.canned_delete")]);
        let many = (0..1_000).map(|n| {
            super::store::replies::put_canned_write(
                &stage.org,
                &Canned { id: format!("can_{n}"), shortcut: format!("s{n}"), ..hi("x") },
                0,
            )
        });
        stage.kernel.db.writer().commit(many.collect()).await.unwrap();
        assert!(matches!(
            stage.chats.add_canned(&boss, hi("more")).await,
            Err(ChatError::Org(kernel::RecordError::Invalid { .. }))
        ));
        assert_eq!(stage.chats.canned_replies(&boss, None).await.unwrap().len(), 1_000);
    }
}

#[tokio::test]
async fn a_report_counts_what_happened() {
    for stage in Stage::each(&[]).await {
        let (ann, boss) = (hire(&stage, "Ann", Role::Agent).await, hire(&stage, "Boss", Role::Supervisor).await);
        for seconds in [10, 20, 30] {
            let (opened, _) = asked(&stage, "hello").await;
            stage.chats.take(&ann, &opened.room.id).await.unwrap();
            stage.hand.advance(seconds * 1_000);
            stage.chats.send(&ann, &opened.room.id, Draft::text("hi")).await.unwrap();
            close(&stage, &opened.room.id).await;
        }
        asked(&stage, "still open").await;
        stage.room().await;
        let span = Span::read(None, None, None, stage.chats.now_ms()).unwrap();
        assert!(matches!(stage.chats.report(&ann, &span).await, Err(ChatError::Forbidden)));
        let told = serde_json::to_value(stage.chats.report(&boss, &span).await.unwrap()).unwrap();
        assert_eq!((&told["opened"], &told["closed"]), (&4.into(), &3.into()), "{told}");
        assert_eq!(told["first_response"], serde_json::json!({"count": 3, "median_s": 20, "p90_s": 30}));
        assert_eq!(told["resolution"]["median_s"], 21);
        assert_eq!((&told["agents"][0]["name"], &told["agents"][0]["answered"]), (&"Ann".into(), &3.into()));
        assert_eq!(told["days"].as_array().unwrap().len(), 7);
    }
}
