//! A flow in a room, as the chat sees it: when it begins, what it hears, how it leaves. The flow here is a script.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use calls::driver::Queueing;
use calls::{Answering, Correspondence, Fitness, Heard, NewTeam, Written, create_team};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use kernel::{DbError, Role};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use voice::cause::Cause;

use crate::chat::model::{Draft, Id, Room, State};
use crate::chat::tests::stage::Stage as Desk;
use crate::chat::{Asker, Change, Chats, FlowBegins, How, OpenRoom, Opened, Opener, store};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// Says `Q`, when it may, and then what it was ordered; writes down what it hears.
#[derive(Clone)]
struct Script {
    may_ask: Arc<Semaphore>,
    last: Last,
    begun: Arc<AtomicUsize>,
    heard: Arc<Mutex<Vec<Heard>>>,
}

/// What the script does when it was answered.
#[derive(Clone, Copy)]
enum Last {
    Listen,
    HandOver,
    End(Cause),
    Break,
}

impl Script {
    fn new(last: Last) -> Self {
        Self { may_ask: Arc::new(Semaphore::new(1)), last, begun: Arc::default(), heard: Arc::default() }
    }

    fn heard(&self) -> Vec<Heard> {
        self.heard.lock().unwrap().clone()
    }

    /// Waits until it has heard so much.
    async fn until(&self, enough: impl Fn(&[Heard]) -> bool) -> Vec<Heard> {
        let looking = async {
            while !enough(&self.heard()) {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, looking).await.unwrap_or_else(|_| panic!("it has heard {:?}", self.heard()));
        self.heard()
    }

    async fn over(&self) -> Vec<Heard> {
        self.until(|heard| heard.contains(&Heard::Over)).await
    }

    async fn asked(&self) {
        self.until(|heard| heard.contains(&Heard::Said(1))).await;
    }
}

impl Answering for Script {
    fn fitness<'a>(&'a self, _: &'a str, _: &'a str) -> BoxFuture<'a, Result<Option<Fitness>, DbError>> {
        async { Ok(Some(Fitness::default())) }.boxed()
    }

    fn answer(&self, flow: String, of: Correspondence, mut talk: Box<dyn Written>) -> BoxFuture<'_, ()> {
        async move {
            assert_eq!((flow.as_str(), of.product.as_str()), ("flow_1", "WIFIQRCODE"));
            self.begun.fetch_add(1, Ordering::Relaxed);
            talk.driven_by("run_1", "Robot", Box::new(|_, _| Vec::new()));
            self.may_ask.acquire().await.unwrap().forget();
            talk.say("Q".into(), 1);
            loop {
                let heard = talk.next().await;
                self.heard.lock().unwrap().push(heard.clone());
                match (heard, self.last) {
                    (Heard::Over, _) => return,
                    (Heard::Words(_), Last::HandOver) => {
                        talk.hand_over(Queueing { team: "5263".into(), timeout_ms: 1, max_waiting: 1, joined_ms: None })
                    }
                    (Heard::Words(_), Last::End(cause)) => talk.end(cause),
                    (Heard::Words(_), Last::Break) => panic!("a fault in the flow"),
                    _ => {}
                }
            }
        }
        .boxed()
    }
}

/// A product whose new rooms the script answers.
async fn bind(desk: &Desk, script: &Script) {
    desk.chats.answered_by(Arc::new(script.clone()));
    let write = store::product_write(&desk.org, "WIFIQRCODE", 13, Some("flow_1"));
    desk.kernel.db.writer().commit(vec![write]).await.unwrap();
}

async fn glance(desk: &Desk) -> (Opened, Asker) {
    let wish = OpenRoom { flow: FlowBegins::AtSight, ..desk.wish(Opener::Stranger, How::New) };
    let opened = desk.chats.open_room(wish).await.unwrap();
    let token = opened.token.clone().unwrap();
    let visitor = desk.chats.authenticate_visitor(token.expose()).await.unwrap().unwrap();
    (opened, Asker::from(&visitor))
}

async fn says(chats: &Chats, who: &Asker, room: &Id, words: &str) {
    chats.send(who, room, Draft::text(words)).await.unwrap();
}

async fn room(desk: &Desk, id: &Id) -> Room {
    desk.chats.room_of_desk(&desk.org, id).await.unwrap()
}

/// How the room's flow ended, as the events tell.
async fn causes(desk: &Desk, id: &Id) -> Vec<String> {
    let events = desk.kernel.events.of_key(&desk.org, id, 0, 500).await.unwrap();
    let over = events.iter().filter(|event| event.kind == "flow.completed");
    let cause = |envelope: &str| serde_json::from_str::<serde_json::Value>(envelope).unwrap()["data"]["cause"].clone();
    over.map(|event| cause(&event.envelope).as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn only_what_is_written_after_the_question_is_an_answer() {
    for desk in Desk::each(&[]).await {
        let script = Script { may_ask: Arc::new(Semaphore::new(0)), ..Script::new(Last::Listen) };
        bind(&desk, &script).await;
        let (opened, visitor) = desk.room().await;
        says(&desk.chats, &visitor, &opened.room.id, "early").await;
        script.may_ask.add_permits(1);
        script.asked().await;
        says(&desk.chats, &visitor, &opened.room.id, "late").await;
        let heard = script.until(|heard| heard.len() >= 2).await;
        assert_eq!(heard, [Heard::Said(1), Heard::Words("late".into())]);
        let said = desk.stored(&opened.room.id).await;
        assert_eq!((said[1].author.as_str(), said[1].seq), ("Robot", 2));
    }
}

#[tokio::test]
async fn whoever_answers_ends_it_quietly() {
    for way in ["writes", "takes", "gives", "closes", "ends"] {
        let desk = Desk::sqlite(&[]).await;
        let script = Script::new(Last::Listen);
        bind(&desk, &script).await;
        let (opened, visitor) = desk.room().await;
        script.asked().await;
        let (id, agent) = (&opened.room.id, desk.person("per_1", Role::Supervisor));
        let change = match way {
            "writes" => {
                says(&desk.chats, &desk.application(), id, "I am a bot").await;
                None
            }
            "takes" => Some((&agent, Change::Assign(Some("per_1".into())))),
            "gives" => Some((&agent, Change::Team(Some("team_1".into())))),
            "closes" => Some((&agent, Change::Close)),
            _ => Some((&visitor, Change::End)),
        };
        if let Some((who, change)) = change {
            desk.chats.change(who, id, &change, |_| Vec::new()).await.unwrap();
        }
        script.over().await;
        let cause = if matches!(way, "closes" | "ends") { "closed" } else { "taken_over" };
        assert_eq!(causes(&desk, id).await, [cause], "{way}");
        assert_eq!(script.heard(), [Heard::Said(1), Heard::Over], "{way}");
        let after = room(&desk, id).await;
        assert_eq!(after.assignee.is_some(), way == "takes", "{way}: it leaves the room as it is");
    }
}

#[tokio::test]
async fn it_hands_over_closes_or_leaves_the_room_to_people() {
    for (last, cause) in [
        (Last::HandOver, "handed_over"),
        (Last::End(Cause::Normal), "normal"),
        (Last::End(Cause::FlowLimit), "flow_limit"),
    ] {
        let desk = Desk::sqlite(&[]).await;
        let script = Script::new(last);
        bind(&desk, &script).await;
        let new = NewTeam { name: "Help".into(), number: "5263".into(), ..NewTeam::default() };
        let team = create_team(&desk.kernel, &desk.org, new).await.unwrap();
        let (opened, visitor) = desk.room().await;
        script.asked().await;
        says(&desk.chats, &visitor, &opened.room.id, "a").await;
        script.over().await;
        let after = room(&desk, &opened.room.id).await;
        assert_eq!(causes(&desk, &opened.room.id).await, [cause]);
        assert_eq!(after.state == State::Closed, cause == "normal");
        assert_eq!(after.team.as_deref(), (cause == "handed_over").then_some(team.id.as_str()));
        assert_eq!(after.assignee, None);
    }
}

#[tokio::test]
async fn a_link_that_was_only_looked_at_runs_nothing_until_somebody_writes_or_listens() {
    for desk in Desk::each(&[]).await {
        let script = Script::new(Last::Listen);
        bind(&desk, &script).await;
        let (written, visitor) = glance(&desk).await;
        let (listened, _) = glance(&desk).await;
        assert_eq!(script.begun.load(Ordering::Relaxed), 0);
        says(&desk.chats, &visitor, &written.room.id, "Hello?").await;
        script.asked().await;
        assert_eq!(script.begun.load(Ordering::Relaxed), 1);
        script.may_ask.add_permits(1);
        desk.chats.visitor_is_here(&desk.org, &listened.room.id);
        script.until(|heard| heard.len() >= 2).await;
        assert_eq!(script.heard(), [Heard::Said(1), Heard::Said(1)], "what woke it is no answer");
    }
}

#[tokio::test]
async fn the_words_that_open_a_room_are_no_answer_and_who_has_gone_is_not_asked() {
    for desk in Desk::each(&[]).await {
        let script = Script::new(Last::Listen);
        bind(&desk, &script).await;
        let open = async |flow| {
            let opened =
                desk.chats.open_room(OpenRoom { flow, ..desk.wish(Opener::Stranger, How::New) }).await.unwrap();
            let visitor =
                desk.chats.authenticate_visitor(opened.token.clone().unwrap().expose()).await.unwrap().unwrap();
            (opened.room.id, Asker::from(&visitor))
        };
        let (left, gone) = open(FlowBegins::Never).await;
        says(&desk.chats, &gone, &left, "Call me back").await;
        let (room, visitor) = open(FlowBegins::AtWord).await;
        // The page listens before it sends.
        desk.chats.visitor_is_here(&desk.org, &room);
        assert_eq!(script.begun.load(Ordering::Relaxed), 0);
        says(&desk.chats, &visitor, &room, "Hello?").await;
        script.asked().await;
        assert_eq!((script.begun.load(Ordering::Relaxed), script.heard()), (1, vec![Heard::Said(1)]));
    }
}

#[tokio::test]
async fn of_two_nodes_one_lets_it_talk() {
    for desk in Desk::each(&[]).await {
        let script = Script::new(Last::Listen);
        bind(&desk, &script).await;
        let other = desk.second_node();
        other.answered_by(Arc::new(script.clone()));
        let (opened, _) = glance(&desk).await;
        let [mut here, mut there] = [desk.chats.clone(), other].map(|node| {
            let (org, room) = (desk.org.clone(), opened.room.id.clone());
            desk.kernel.tasks.spawn(async move { node.let_flow_answer(&org, &room).await })
        });
        let both = async {
            tokio::select! { done = &mut here => done, done = &mut there => done }
        };
        timeout(PATIENCE, both).await.expect("one sees that the other has it").unwrap().unwrap();
        script.asked().await;
        assert_eq!(script.begun.load(Ordering::Relaxed), 1);
    }
}

#[tokio::test]
async fn a_room_that_was_answered_before_is_left_alone() {
    let desk = Desk::sqlite(&[]).await;
    let script = Script::new(Last::Listen);
    bind(&desk, &script).await;
    let (opened, visitor) = glance(&desk).await;
    says(&desk.chats, &desk.application(), &opened.room.id, "May I help?").await;
    says(&desk.chats, &visitor, &opened.room.id, "Yes").await;
    let ended = async {
        while causes(&desk, &opened.room.id).await.is_empty() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, ended).await.unwrap();
    assert_eq!(causes(&desk, &opened.room.id).await, ["taken_over"]);
    assert_eq!(script.begun.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn after_a_crash_people_have_what_it_was_saying_and_what_was_due_begins() {
    for desk in Desk::each(&[]).await {
        let script = Script::new(Last::Listen);
        bind(&desk, &script).await;
        let (talking, visitor) = desk.room().await;
        script.asked().await;
        // Another start on the same store: the first one is gone, as far as it knows.
        let (due, _) = {
            let dead = desk.second_node();
            let wish = OpenRoom { product: "LOGOSCAN".into(), ..desk.wish(Opener::Stranger, How::New) };
            (dead.open_room(wish).await.unwrap(), dead)
        };
        let row = store::flow_write(&desk.org, &due.room.id, "flow_1", store::Stage::Due, 0);
        desk.kernel.db.writer().commit(vec![row]).await.unwrap();
        let started = desk.second_node();
        let second = Script::new(Last::Listen);
        started.answered_by(Arc::new(Due(second.clone())));
        started.recover().await.unwrap();
        assert_eq!(causes(&desk, &talking.room.id).await, ["server_restart"]);
        second.asked().await;
        assert_eq!((second.begun.load(Ordering::Relaxed), room(&desk, &talking.room.id).await.team), (1, None));
        // Ended once: whatever the first one does now changes nothing.
        says(&desk.chats, &visitor, &talking.room.id, "hello?").await;
        started.recover().await.unwrap();
        assert_eq!(causes(&desk, &talking.room.id).await.len(), 1);
    }
}

/// The script, for a room of any product.
struct Due(Script);

impl Answering for Due {
    fn fitness<'a>(&'a self, org: &'a str, flow: &'a str) -> BoxFuture<'a, Result<Option<Fitness>, DbError>> {
        self.0.fitness(org, flow)
    }

    fn answer(&self, flow: String, of: Correspondence, talk: Box<dyn Written>) -> BoxFuture<'_, ()> {
        self.0.answer(flow, Correspondence { product: "WIFIQRCODE".into(), ..of }, talk)
    }
}

#[tokio::test]
async fn an_erased_room_ends_its_flow_and_keeps_nothing_of_it() {
    let desk = Desk::sqlite(&[]).await;
    let script = Script::new(Last::Listen);
    bind(&desk, &script).await;
    let (opened, _) = desk.room().await;
    script.asked().await;
    let mut after = String::new();
    while store::concerning::erase_visitors(&desk.kernel, &desk.org, &opened.visitor, &mut after)
        .await
        .unwrap()
        .is_some()
    {}
    assert!(desk.chats.room_of_desk(&desk.org, &opened.room.id).await.is_err());
    let row = store::flow_of_room(&desk.kernel.db, &desk.org, &opened.room.id).await.unwrap();
    assert!(row.is_none());
}

/// Waits until the room's flow is over, and gives the words for how it ended.
async fn ended(desk: &Desk, id: &Id) -> Vec<String> {
    let looking = async {
        while causes(desk, id).await.is_empty() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, looking).await.unwrap();
    causes(desk, id).await
}

#[tokio::test]
async fn the_end_is_tried_until_the_store_keeps_it() {
    let desk = Desk::sqlite(&[]).await;
    let script = Script::new(Last::End(Cause::FlowLimit));
    bind(&desk, &script).await;
    let (opened, visitor) = desk.room().await;
    script.asked().await;
    desk.kernel.db.run("alter table chat_flow rename to chat_flow_away", kernel::args![]).await.unwrap();
    says(&desk.chats, &visitor, &opened.room.id, "a").await;
    sleep(super::TRY_AFTER * 4 * u32::try_from(super::TRIES).unwrap()).await;
    assert_eq!(causes(&desk, &opened.room.id).await, Vec::<String>::new());
    desk.kernel.db.run("alter table chat_flow_away rename to chat_flow", kernel::args![]).await.unwrap();
    assert_eq!(ended(&desk, &opened.room.id).await, ["flow_limit"]);
}

#[tokio::test]
async fn a_flow_that_breaks_off_leaves_its_room_to_people() {
    let desk = Desk::sqlite(&[]).await;
    let script = Script::new(Last::Break);
    bind(&desk, &script).await;
    let (opened, visitor) = desk.room().await;
    script.asked().await;
    says(&desk.chats, &visitor, &opened.room.id, "a").await;
    assert_eq!(ended(&desk, &opened.room.id).await, ["flow_error"]);
    assert!(room(&desk, &opened.room.id).await.is_open());
}

#[tokio::test]
async fn what_nobody_has_heard_is_not_closed() {
    let desk = Desk::sqlite(&[]).await;
    let script = Script { may_ask: Arc::new(Semaphore::new(0)), ..Script::new(Last::Listen) };
    bind(&desk, &script).await;
    let (opened, _) = desk.room().await;
    let begun = async {
        while script.begun.load(Ordering::Relaxed) == 0 {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, begun).await.unwrap();
    says(&desk.chats, &desk.application(), &opened.room.id, "A person here").await;
    let end = |heard_seq| super::End { heard_seq, ..super::End::before(super::Leaving::Close, "normal") };
    desk.chats.try_end_flow(&desk.org, &opened.room.id, &end(0)).await.unwrap();
    assert_eq!(causes(&desk, &opened.room.id).await, ["normal"]);
    assert!(room(&desk, &opened.room.id).await.is_open(), "somebody has written there meanwhile");
}

#[tokio::test]
async fn those_who_wait_for_their_visitors_hide_nobody_and_end() {
    for desk in Desk::each(&[]).await {
        let script = Script::new(Last::Listen);
        bind(&desk, &script).await;
        let (closed, _) = glance(&desk).await;
        let (left, _) = glance(&desk).await;
        let row = async |id: &Id| store::flow_of_room(&desk.kernel.db, &desk.org, id).await.unwrap().unwrap().1;
        desk.chats.change(&desk.application(), &closed.room.id, &Change::Close, |_| Vec::new()).await.unwrap();
        assert_eq!((row(&closed.room.id).await, row(&left.room.id).await), (store::Stage::Over, store::Stage::Waiting));
        let due = desk.room().await.0;
        let write = store::flow_write(&desk.org, "other", "flow_1", store::Stage::Waiting, 0);
        desk.kernel.db.writer().commit(vec![write]).await.unwrap();
        let begun = store::begun_flows(&desk.kernel.db, "", "").await.unwrap();
        assert_eq!(
            begun.iter().map(|(_, room, _)| room.clone()).collect::<Vec<_>>(),
            std::slice::from_ref(&due.room.id)
        );
        assert_eq!(
            store::waiting_flows(&desk.kernel.db, 1).await.unwrap(),
            std::slice::from_ref(&left.room.id),
            "the newest"
        );
        desk.hand.advance(31 * 86_400_000);
        for sweep in store::concerning::sweeps(&desk.kernel) {
            if sweep.kind() == kernel::retention::OVER {
                sweep.sweep(&desk.org, desk.chats.now_ms()).await.unwrap();
            }
        }
        assert_eq!(row(&left.room.id).await, store::Stage::Over, "its visitor has no token any more");
    }
}
