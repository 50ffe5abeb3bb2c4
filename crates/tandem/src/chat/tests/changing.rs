//! Rooms are closed, opened again and given to people; messages are changed, taken back and read.

use std::sync::Arc;

use kernel::Role;

use super::stage::{NOON, Stage, draft};
use crate::chat::model::{Body, Draft, EDIT_WINDOW_MS, Id, Mark, Refused, State};
use crate::chat::{Change, ChatError, Heard, Subscription, What};

/// What is heard next, in a word.
async fn heard(subscription: &mut Subscription) -> String {
    let Heard::News(news) = subscription.next().await else { return "lagging".into() };
    match &news.what {
        What::Message(message) => format!("message {}", message.seq),
        What::Edited(message) => format!("edited {}", message.seq),
        What::Deleted(message) => format!("deleted {}", message.seq),
        What::Marked { mark, .. } => format!("read {} of {}", mark.read_seq, mark.delivered_seq),
        What::Room { room, .. } => format!("room {} {}", room.state.as_str(), room.assignee.as_deref().unwrap_or("-")),
        What::Note(note) => format!("note {}", note.text),
        What::Typing { draft, .. } => format!("typing {}", draft.as_deref().unwrap_or("-")),
        other => format!("{other:?}"),
    }
}

#[tokio::test]
async fn a_closed_room_takes_no_messages_until_it_is_opened_again() {
    for stage in Stage::each(&[]).await {
        let (opened, visitor) = stage.room().await;
        let (room, app) = (&opened.room.id, stage.application());
        let other_node = stage.second_node();
        other_node.send(&visitor, room, Draft::text("x")).await.unwrap();

        let denied = stage.chats.change(&visitor, room, &Change::Close, |_| Vec::new()).await;
        assert!(matches!(denied, Err(ChatError::Forbidden)), "{denied:?}");
        let closed = stage.chats.change(&app, room, &Change::Close, |_| Vec::new()).await.unwrap();
        assert_eq!((closed.state, closed.closed_ms), (State::Closed, Some(NOON)));
        assert_eq!(
            stage.chats.change(&app, room, &Change::Close, |_| Vec::new()).await.unwrap(),
            closed,
            "once is enough"
        );
        for chats in [&stage.chats, &other_node] {
            let sent = chats.send(&visitor, room, Draft::text("y")).await;
            assert!(matches!(sent, Err(ChatError::Refused(Refused::Closed))), "{sent:?}");
        }
        let read = stage.chats.messages(&visitor, room, 0, 10).await.unwrap();
        assert_eq!(read.len(), 1, "what was said can be read");
        stage.chats.change(&app, room, &Change::Reopen, |_| Vec::new()).await.unwrap();
        for (n, chats) in [&stage.chats, &other_node].into_iter().enumerate() {
            assert_eq!(chats.send(&visitor, room, Draft::text("z")).await.unwrap().seq, 2 + i64::try_from(n).unwrap());
        }
        let events = stage.kernel.events.of_key(&stage.org, room, 0, 20).await.unwrap();
        let kinds: Vec<_> = events.iter().map(|event| event.kind.as_str()).collect();
        let expected =
            ["room.opened", "message.created", "room.closed", "room.opened", "message.created", "message.created"];
        assert_eq!(kinds, expected);
    }
}

#[tokio::test]
async fn a_room_is_closed_while_many_write() {
    for stage in Stage::each(&[]).await {
        let (opened, visitor) = stage.room().await;
        let (room, app) = (&opened.room.id, stage.application());
        let sends = (0..40).map(|n| {
            let (chats, visitor) = (stage.chats.clone(), visitor.clone());
            async move { chats.send(&visitor, room, draft("x", &n.to_string())).await }
        });
        let (sent, closed) = tokio::join!(
            futures_util::future::join_all(sends),
            stage.chats.change(&app, room, &Change::Close, |_| Vec::new())
        );
        let head = closed.unwrap().seq_head;
        let mut acknowledged: Vec<i64> = sent.iter().filter_map(|sent| sent.as_ref().ok()).map(|ack| ack.seq).collect();
        acknowledged.sort_unstable();
        let stored: Vec<i64> = stage.stored(room).await.iter().map(|message| message.seq).collect();
        assert_eq!(stored, (1..=i64::try_from(stored.len()).unwrap()).collect::<Vec<_>>());
        assert_eq!(acknowledged, stored, "what was acknowledged is there, and nothing else");
        assert!(head <= i64::try_from(stored.len()).unwrap());
        for refused in sent.iter().filter_map(|sent| sent.as_ref().err()) {
            assert!(matches!(refused, ChatError::Refused(Refused::Closed)), "{refused:?}");
        }
        let last = stage.chats.room(&app, room).await.unwrap();
        assert_eq!((last.state, last.seq_head), (State::Closed, i64::try_from(stored.len()).unwrap()));
    }
}

#[tokio::test]
async fn an_agent_works_in_what_waits_and_in_what_is_its_own() {
    for stage in Stage::each(&[]).await {
        let (opened, _) = stage.room().await;
        let room = &opened.room.id;
        let (ann, bob) = (stage.person("per_ann", Role::Agent), stage.person("per_bob", Role::Agent));
        let boss = stage.person("per_boss", Role::Supervisor);
        stage.chats.send(&bob, room, Draft::text("who is there?")).await.unwrap();
        let mine = Change::Assign(Some("per_ann".into()));
        let taken = stage.chats.change(&ann, room, &mine, |_| Vec::new()).await.unwrap();
        assert_eq!(taken.assignee.as_deref(), Some("per_ann"));
        let sent = stage.chats.send(&bob, room, Draft::text("me too")).await;
        assert!(matches!(sent, Err(ChatError::Forbidden)), "{sent:?}");
        assert_eq!(stage.chats.messages(&bob, room, 0, 10).await.unwrap().len(), 1, "it may be read");
        stage.chats.send(&ann, room, Draft::text("hello")).await.unwrap();
        stage.chats.send(&boss, room, Draft::text("good evening")).await.unwrap();
        let given = Change::Assign(Some("per_bob".into()));
        stage.chats.change(&ann, room, &given, |_| Vec::new()).await.unwrap();
        stage.chats.send(&bob, room, Draft::text("now it is me")).await.unwrap();
        let team = stage.chats.change(&boss, room, &Change::Team(Some("team_1".into())), |_| Vec::new()).await.unwrap();
        assert_eq!((team.team.as_deref(), team.assignee), (Some("team_1"), None));
        let events = stage.kernel.events.of_key(&stage.org, room, 0, 20).await.unwrap();
        let moves: Vec<_> =
            events.iter().map(|event| event.kind.as_str()).filter(|kind| kind.starts_with("room.")).collect();
        assert_eq!(moves, ["room.opened", "room.assigned", "room.transferred", "room.transferred"]);
    }
}

#[tokio::test]
async fn a_message_is_changed_and_taken_back_by_its_sender_for_a_while() {
    for stage in Stage::each(&[]).await {
        let (opened, visitor) = stage.room().await;
        let room = &opened.room.id;
        let agent = stage.person("per_1", Role::Agent);
        let mut ear = stage.chats.hub().subscribe(&agent);
        for words in ["one", "two"] {
            stage.chats.send(&visitor, room, Draft::text(words)).await.unwrap();
        }
        stage.hand.advance(1_000);
        let edited = stage.chats.edit(&visitor, room, 1, Body::text("uno")).await.unwrap();
        assert_eq!((edited.body.as_ref().unwrap().as_json(), edited.edited_ms), ("\"uno\"", Some(NOON + 1_000)));
        let denied = stage.chats.edit(&agent, room, 1, Body::text("x")).await;
        assert!(matches!(denied, Err(ChatError::Forbidden)), "nobody's words are put into another's mouth");
        let by_id = crate::chat::Asker::Room { org: stage.org.clone(), room: room.clone() };
        assert!(matches!(stage.chats.delete(&by_id, room, 1).await, Err(ChatError::Forbidden)));

        let gone = stage.chats.delete(&visitor, room, 1).await.unwrap();
        assert_eq!((gone.body, gone.deleted_ms), (None, Some(NOON + 1_000)));
        let again = stage.chats.delete(&visitor, room, 1).await.unwrap();
        assert_eq!(again.deleted_ms, Some(NOON + 1_000));
        let edited = stage.chats.edit(&visitor, room, 1, Body::text("x")).await;
        assert!(matches!(edited, Err(ChatError::Refused(Refused::Deleted))), "{edited:?}");
        let missing = stage.chats.edit(&visitor, room, 3, Body::text("x")).await;
        assert!(matches!(missing, Err(ChatError::NotFound)), "{missing:?}");

        stage.hand.set(NOON + EDIT_WINDOW_MS + 1);
        for late in
            [stage.chats.edit(&visitor, room, 2, Body::text("x")).await, stage.chats.delete(&visitor, room, 2).await]
        {
            assert!(matches!(late, Err(ChatError::Refused(Refused::TooLate))), "{late:?}");
        }
        stage.chats.delete(&stage.person("per_boss", Role::Supervisor), room, 2).await.unwrap();
        for expected in ["message 1", "message 2", "edited 1", "deleted 1", "deleted 2"] {
            assert_eq!(heard(&mut ear).await, expected);
        }
        assert!(stage.stored(room).await.iter().all(|message| message.body.is_none()), "tombstones keep their numbers");
        assert_eq!(stage.chats.room(&agent, room).await.unwrap().last_body, None);
    }
}

#[tokio::test]
async fn marks_go_forward_only_and_say_what_the_other_side_has_read() {
    for stage in Stage::each(&[]).await {
        let (opened, visitor) = stage.room().await;
        let (room, ann) = (&opened.room.id, stage.person("per_ann", Role::Agent));
        for _ in 0..3 {
            stage.chats.send(&visitor, room, Draft::text("x")).await.unwrap();
        }
        stage.chats.send(&ann, room, Draft::text("y")).await.unwrap();
        let mark = |delivered_seq, read_seq| Mark { delivered_seq, read_seq };
        assert_eq!(stage.chats.mark(&ann, room, mark(0, 2)).await.unwrap(), mark(2, 2), "what was read was delivered");
        let mut ear = stage.chats.hub().subscribe(&ann);
        assert_eq!(stage.chats.mark(&ann, room, mark(3, 1)).await.unwrap(), mark(3, 2));
        assert_eq!(heard(&mut ear).await, "read 2 of 3", "what is told goes forward as well");
        stage.chats.mark(&ann, room, mark(3, 2)).await.unwrap();
        assert!(ear.try_next().is_none(), "what does not move is not told");
        stage.chats.mark(&stage.person("per_bob", Role::Agent), room, mark(1, 1)).await.unwrap();
        assert_eq!(
            stage.chats.mark(&visitor, room, mark(99, 99)).await.unwrap(),
            mark(4, 4),
            "never beyond the newest"
        );
        let now = stage.chats.room(&ann, room).await.unwrap();
        let marks = stage.chats.marks(&now).await.unwrap();
        assert_eq!((marks.support, marks.visitor), (mark(3, 2), mark(4, 4)));
        let read: Vec<bool> = stage.stored(room).await.iter().map(|message| marks.is_read(message)).collect();
        assert_eq!(read, [true, true, false, true]);
    }
}

#[tokio::test]
async fn notes_and_drafts_are_for_those_who_answer() {
    for stage in Stage::each(&[]).await {
        let (opened, visitor) = stage.room().await;
        let (room, agent) = (&opened.room.id, stage.person("per_1", Role::Agent));
        let mut theirs = stage.chats.hub().subscribe(&visitor);
        theirs.join(room);
        let mut ours = stage.chats.hub().subscribe(&agent);
        stage.chats.note(&agent, room, "be kind").await.unwrap();
        assert!(matches!(stage.chats.note(&visitor, room, "x").await, Err(ChatError::Forbidden)));
        assert!(matches!(stage.chats.notes(&visitor, room).await, Err(ChatError::Forbidden)));
        stage.chats.typing(&visitor, room, true, Some("I wou"), Some(theirs.id())).await.unwrap();
        stage.chats.typing(&agent, room, true, Some("secret thoughts"), Some(ours.id())).await.unwrap();
        stage.chats.send(&visitor, room, Draft::text("x")).await.unwrap();
        for expected in ["note be kind", "typing I wou", "message 1"] {
            assert_eq!(heard(&mut ours).await, expected);
        }
        for expected in ["typing -", "message 1"] {
            assert_eq!(heard(&mut theirs).await, expected, "seq counts messages only");
        }
        let notes = stage.chats.notes(&agent, room).await.unwrap();
        assert_eq!(notes.iter().map(|note| (note.text.as_str(), note.after_seq)).collect::<Vec<_>>(), [("be kind", 0)]);
    }
}

#[tokio::test]
async fn what_belongs_to_a_change_is_in_its_commit() {
    for stage in Stage::each(&[]).await {
        let (opened, _) = stage.room().await;
        let (room, app) = (&opened.room.id, stage.application());
        let seen: Arc<std::sync::Mutex<Vec<Option<Id>>>> = Arc::default();
        let with = |room: &crate::chat::model::Room| {
            seen.lock().unwrap().push(room.assignee.clone());
            // A unique key that is there already: the whole change fails.
            let note = || kernel::args![&room.org, "n", &room.id, 0, "system", "", 0];
            [note(), note()].map(|args| kernel::Write::new(super::super::store::INSERT_NOTE, args)).into()
        };
        let change = Change::Assign(Some("per_1".into()));
        assert!(stage.chats.change(&app, room, &change, with).await.is_err());
        assert_eq!(stage.chats.room(&app, room).await.unwrap().assignee, None);
        assert_eq!(*seen.lock().unwrap(), [Some("per_1".into())]);
    }
}

#[tokio::test]
async fn of_edits_in_one_moment_each_is_later_than_the_one_before_and_none_follows_the_end() {
    for stage in Stage::each(&[]).await {
        let (opened, visitor) = stage.room().await;
        let (room, other_node) = (&opened.room.id, stage.second_node());
        stage.chats.send(&visitor, room, Draft::text("0")).await.unwrap();
        let edits = (0..10).map(|n| {
            let chats = if n % 2 == 0 { stage.chats.clone() } else { other_node.clone() };
            let visitor = visitor.clone();
            async move { chats.edit(&visitor, room, 1, Body::text(&n.to_string())).await.unwrap() }
        });
        let edited = futures_util::future::join_all(edits).await;
        let mut times: Vec<_> = edited.iter().map(|message| message.edited_ms).collect();
        times.sort_unstable();
        times.dedup();
        assert_eq!(times.len(), 10, "no two are of the same time");
        let last = edited.iter().max_by_key(|message| message.edited_ms).unwrap();
        assert_eq!(stage.stored(room).await[0].body, last.body, "the latest is the one that stays");

        let before = stage.stored(room).await.remove(0);
        stage.chats.change(&stage.application(), room, &Change::Close, |_| Vec::new()).await.unwrap();
        let late = super::super::store::edit_write(&stage.org, &before, before.edited_ms);
        let committed = stage.kernel.db.writer().commit(vec![late]).await;
        assert!(matches!(committed, Err(kernel::DbError::Conflict)), "{committed:?}");
    }
}
