//! Pairs: two parties who do not learn each other's number, from the first ring to the last word.

use std::sync::{Arc, Mutex};

use kernel::db::Write;
use tokio::sync::mpsc;
use voice::cause::Cause;
use voice::leg::{LegEvent, PlayId, Playable, RecordCommand, Signal};
use voice::ports::{BoxFuture, Ports};
use voice::runner::script::{Asked, ScriptedLeg};
use voice::{CallerId, Target};

use super::stage::*;
use crate::*;

pub(super) const ANN: &str = "+14155550111";
pub(super) const BOB: &str = "+14155550122";
pub(super) const POOL: &str = "+442071838750";

/// A desk that writes down what it hears.
#[derive(Clone, Default)]
pub(super) struct Notes(Arc<Mutex<Vec<PairEvent>>>);

impl PairDesk for Notes {
    fn news<'a>(&'a self, _call: &'a str, event: PairEvent) -> BoxFuture<'a, Vec<Write>> {
        self.0.lock().unwrap().push(event);
        Box::pin(std::future::ready(Vec::new()))
    }
}

impl Notes {
    pub(super) fn heard(&self) -> Vec<PairEvent> {
        self.0.lock().unwrap().clone()
    }

    pub(super) async fn until(&self, event: PairEvent) {
        within(async {
            while !self.heard().contains(&event) {
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            }
        })
        .await;
    }

    async fn ended(&self) {
        within(async {
            while !matches!(self.heard().last(), Some(PairEvent::Ended { .. })) {
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            }
        })
        .await;
    }
}

/// A server with a carrier and a number for meetings, whose words are ready.
pub(super) async fn stage() -> Stage {
    let stage = Stage::new().await;
    stage.trunk("+442071838751").await;
    bind_number(&stage.kernel, &stage.org.id, POOL, &Bound::Meetings).await.unwrap();
    stage
}

pub(super) fn number(number: &str) -> PairParty {
    PairParty {
        address: PairAddress::Number(number.into()),
        caller_id: Some(POOL.into()),
        peer_name: Some("Somebody".into()),
    }
}

pub(super) fn order(stage: &Stage, first: PairParty, second: PairParty) -> PairOrder {
    PairOrder {
        call_id: stage.calls.new_call_id(),
        org: stage.org(),
        first,
        second,
        inbound: None,
        ring_ms: PAIR_RING_MS,
        limit_ms: 600_000,
        warn_ms: 60_000,
        record: false,
        sounds: PairSounds::usual(&stage.calls),
        writes: Vec::new(),
    }
}

pub(super) async fn paired(stage: &Stage, order: PairOrder) -> (PairHandle, Notes) {
    let notes = Notes::default();
    let handle = within(stage.calls.pair(order, Arc::new(notes.clone()))).await.unwrap();
    (handle, notes)
}

/// What a leg is asked to play next that is words, or a beep.
async fn told(far: &mut ScriptedLeg) -> PlayId {
    match asked(far, |asked| matches!(asked, Asked::Play(_, Playable::Sound(_) | Playable::Beep, _))).await {
        Asked::Play(play, ..) => play,
        other => panic!("{other:?}"),
    }
}

/// Ann and Bob, who talk.
async fn talking(stage: &mut Stage, order: PairOrder) -> (PairHandle, Notes, ScriptedLeg, ScriptedLeg) {
    let (handle, notes) = paired(stage, order).await;
    let mut ann = stage.dialled().await.far;
    ann.tell(answered());
    let mut bob = stage.dialled().await.far;
    bob.tell(answered());
    asked(&mut ann, |asked| matches!(asked, Asked::Bridge(leg) if leg == bob.id())).await;
    notes.until(PairEvent::Bridged { at_ms: stage.kernel.clock.now_ms() }).await;
    bob.asked();
    (handle, notes, ann, bob)
}

fn anns_and_bobs(stage: &Stage) -> PairOrder {
    order(stage, number(ANN), number(BOB))
}

#[tokio::test]
async fn the_first_is_rung_and_then_the_second_while_the_first_hears_why_it_waits() {
    let mut stage = stage().await;
    let (handle, notes) = paired(&stage, anns_and_bobs(&stage)).await;
    let first = stage.dialled().await;
    let pool = CallerId { number: POOL.into(), display: None, anonymous: false };
    assert!(matches!(&first.order.target, Target::Trunk { number, .. } if number == ANN));
    assert_eq!(first.order.from, pool);
    let mut ann = first.far;
    ann.tell(LegEvent::Ringing);
    assert!(stage.nobody_dialled(), "one after the other");
    ann.tell(answered());
    let second = stage.dialled().await;
    assert!(matches!(&second.order.target, Target::Trunk { number, .. } if number == BOB));
    assert_eq!(second.order.from, pool);
    let play = told(&mut ann).await;
    ann.tell(LegEvent::PlayEnded { play });
    asked(&mut ann, |asked| matches!(asked, Asked::Play(_, Playable::Ringback, mode) if mode.loops == 0)).await;
    let mut bob = second.far;
    bob.tell(LegEvent::Ringing);
    bob.tell(answered());
    asked(&mut ann, |asked| matches!(asked, Asked::Bridge(leg) if leg == bob.id())).await;
    stage.hand.advance(5_000);
    bob.tell(remote_end(Cause::Normal, None));
    asked_signal(&mut ann, Signal::Hangup(Cause::Normal)).await;
    ann.tell(local_end(Cause::Normal));
    notes.ended().await;
    assert_eq!(
        notes.heard(),
        [
            PairEvent::FirstAnswered,
            PairEvent::SecondRinging,
            PairEvent::Bridged { at_ms: NOON },
            PairEvent::Unbridged { by: PartedBy::Second, talked_ms: 5_000 },
            PairEvent::Ended { cause: Cause::Normal },
        ]
    );
    stage.quiet().await;
    assert!(stage.calls.pair_handle(&stage.org.id, handle.call_id()).is_none(), "nothing is left of it");
    assert!(bob.asked().iter().all(|asked| !matches!(asked, Asked::Play(..))), "nothing else is said to the two");
}

#[tokio::test]
async fn a_call_can_be_reached_as_soon_as_its_rows_are_there() {
    let mut stage = stage().await;
    let order = anns_and_bobs(&stage);
    let (id, org) = (order.call_id.clone(), order.org.clone());
    let pairing = stage.calls.pair(order, Arc::new(Notes::default()));
    let reading = async {
        let row = || stage.kernel.db.one("select id from call where id = $1", kernel::args![&id]);
        while row().await.unwrap().is_none() {
            tokio::task::yield_now().await;
        }
        stage.calls.pair_handle(&org, &id).expect("whoever knows of the call may end it").hang_up(Cause::Normal);
    };
    let (paired, ()) = within(async { tokio::join!(pairing, reading) }).await;
    paired.unwrap();
    let mut ann = stage.dialled().await.far;
    asked_signal(&mut ann, Signal::Hangup(Cause::Normal)).await;
    ann.tell(local_end(Cause::Normal));
    stage.quiet().await;
}

#[tokio::test]
async fn a_first_party_that_does_not_answer_ends_it() {
    let mut stage = stage().await;
    let (_handle, notes) = paired(&stage, anns_and_bobs(&stage)).await;
    let mut ann = stage.dialled().await.far;
    stage.hand.advance(PAIR_RING_MS);
    asked_signal(&mut ann, Signal::Hangup(Cause::NoAnswer)).await;
    ann.tell(local_end(Cause::NoAnswer));
    notes.ended().await;
    let missed = PairEvent::NotReached { who: PairSide::First, cause: Cause::NoAnswer };
    assert_eq!(notes.heard(), [missed, PairEvent::Ended { cause: Cause::NoAnswer }]);
    assert!(stage.nobody_dialled());
}

#[tokio::test]
async fn a_second_party_that_does_not_answer_is_regretted_to_the_first() {
    let mut stage = stage().await;
    for by_itself in [false, true] {
        let (_handle, notes) = paired(&stage, anns_and_bobs(&stage)).await;
        let mut ann = stage.dialled().await.far;
        ann.tell(answered());
        let mut bob = stage.dialled().await.far;
        let waits = told(&mut ann).await;
        let cause = if by_itself { Cause::Busy } else { Cause::NoAnswer };
        if by_itself {
            bob.tell(remote_end(cause, Some(486)));
        } else {
            stage.hand.advance(PAIR_RING_MS);
            asked_signal(&mut bob, Signal::Hangup(cause)).await;
        }
        let regret = told(&mut ann).await;
        assert_ne!(regret, waits);
        assert!(!ann.asked().iter().any(|asked| matches!(asked, Asked::Signal(_))), "it hears that to the end");
        ann.tell(LegEvent::PlayEnded { play: regret });
        asked_signal(&mut ann, Signal::Hangup(cause)).await;
        ann.tell(local_end(cause));
        notes.ended().await;
        let missed = PairEvent::NotReached { who: PairSide::Second, cause };
        assert_eq!(notes.heard(), [PairEvent::FirstAnswered, missed, PairEvent::Ended { cause }]);
    }
}

#[tokio::test]
async fn both_are_warned_before_the_limit_ends_it_and_another_limit_moves_both() {
    let mut stage = stage().await;
    let order = anns_and_bobs(&stage);
    let (handle, notes, mut ann, mut bob) = talking(&mut stage, order).await;
    stage.hand.advance(540_000);
    told(&mut ann).await;
    told(&mut bob).await;
    handle.set_limit(1_200_000);
    stage.hand.advance(60_000);
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    assert!(!ann.asked().iter().any(|asked| matches!(asked, Asked::Signal(_))), "the end has moved");
    stage.hand.advance(540_000);
    told(&mut ann).await;
    told(&mut bob).await;
    stage.hand.advance(60_000);
    asked_signal(&mut ann, Signal::Hangup(Cause::TimeLimit)).await;
    asked(&mut bob, |asked| matches!(asked, Asked::Signal(Signal::Hangup(_)))).await;
    ann.tell(local_end(Cause::TimeLimit));
    bob.tell(local_end(Cause::TimeLimit));
    notes.ended().await;
    assert_eq!(
        notes.heard()[2..],
        [
            PairEvent::Unbridged { by: PartedBy::Limit, talked_ms: 1_200_000 },
            PairEvent::Ended { cause: Cause::TimeLimit },
        ]
    );
}

#[tokio::test]
async fn who_parted_them_is_told() {
    let mut stage = stage().await;
    for (end, by) in
        [(remote_end(Cause::Normal, None), PartedBy::First), (local_end(Cause::MediaTimeout), PartedBy::Lost)]
    {
        let order = anns_and_bobs(&stage);
        let (_handle, notes, ann, mut bob) = talking(&mut stage, order).await;
        stage.hand.advance(2_000);
        ann.tell(end);
        asked(&mut bob, |asked| matches!(asked, Asked::Signal(Signal::Hangup(_)))).await;
        notes.ended().await;
        assert!(notes.heard().contains(&PairEvent::Unbridged { by, talked_ms: 2_000 }), "{:?}", notes.heard());
    }
    let order = anns_and_bobs(&stage);
    let (handle, notes, mut ann, bob) = talking(&mut stage, order).await;
    handle.hang_up(Cause::Normal);
    asked_signal(&mut ann, Signal::Hangup(Cause::Normal)).await;
    ann.tell(local_end(Cause::Normal));
    bob.tell(local_end(Cause::Normal));
    notes.ended().await;
    assert!(notes.heard().contains(&PairEvent::Unbridged { by: PartedBy::Desk, talked_ms: 0 }));
}

#[tokio::test]
async fn it_is_recorded_once_both_have_heard_so() {
    let mut stage = stage().await;
    let order = PairOrder { record: true, ..anns_and_bobs(&stage) };
    let (_handle, _notes, mut ann, mut bob) = talking(&mut stage, order).await;
    let play = told(&mut ann).await;
    told(&mut bob).await;
    let is_record = |asked: &Asked| matches!(asked, Asked::Record(RecordCommand::Start { .. }));
    assert!(!ann.asked().iter().any(is_record));
    ann.tell(LegEvent::PlayEnded { play });
    asked(&mut ann, is_record).await;
}

#[tokio::test]
async fn who_dials_in_is_the_first_party_and_the_other_is_rung() {
    let mut stage = stage().await;
    let (sender, mut desk) = mpsc::channel(1);
    stage.calls.on_inbound(InboundKind::Meetings, Arc::new(Desk(sender)));
    let mut ann = stage.trunk_calls(ANN, POOL).await;
    let (call, _) = within(desk.recv()).await.unwrap();
    let id = call.id.clone();
    let order = PairOrder { inbound: Some(call), ..anns_and_bobs(&stage) };
    let (handle, notes) = paired(&stage, order).await;
    assert_eq!(handle.call_id(), &id);
    asked_signal(&mut ann, Signal::Answer).await;
    ann.tell(answered());
    let second = stage.dialled().await;
    assert!(matches!(&second.order.target, Target::Trunk { number, .. } if number == BOB));
    assert_eq!((second.order.from.number.as_str(), &second.order.from.display), (POOL, &None));
    second.far.tell(answered());
    asked(&mut ann, |asked| matches!(asked, Asked::Bridge(_))).await;
    ann.tell(remote_end(Cause::Normal, None));
    notes.ended().await;
    let events = serde_json::to_string(&stage.events(&id).await).unwrap();
    let row = serde_json::to_string(&stage.view(&id).await).unwrap();
    for kept in [&events, &row] {
        assert!(!kept.contains(&ANN[1..]) && !kept.contains(&BOB[1..]), "{kept}");
        assert!(kept.contains("**11") && kept.contains("**22"), "{kept}");
    }
}

#[tokio::test]
async fn an_own_number_rings_the_persons_phones_and_no_phone_of_a_pair_brings_in_others() {
    let mut stage = stage().await;
    stage.person("1001", 1).await;
    stage.person("1002", 1).await;
    let to = Bound::Person("1001".into());
    bind_number(&stage.kernel, &stage.org.id, "+442071838752", &to).await.unwrap();
    let order = order(&stage, number("+442071838752"), number(BOB));
    let (_handle, _notes) = paired(&stage, order).await;
    let first = stage.dialled().await;
    assert!(matches!(&first.order.target, Target::Binding(binding) if &*binding.extension == "1001"));
    assert_eq!(first.order.from.number, POOL);
    let mut agent = first.far;
    agent.tell(answered());
    let bob = stage.dialled().await.far;
    bob.tell(answered());
    asked(&mut agent, |asked| matches!(asked, Asked::Bridge(_))).await;
    agent.tell(LegEvent::TransferRequested { to: "sip:1002@127.0.0.1".into(), replaces: None });
    asked_signal(&mut agent, Signal::AcceptTransfer(false)).await;
    assert!(stage.nobody_dialled());
}

#[tokio::test]
async fn a_number_that_answers_by_itself_is_no_party() {
    let mut stage = stage().await;
    let (_handle, notes) = paired(&stage, order(&stage, number(POOL), number(BOB))).await;
    notes.ended().await;
    let missed = PairEvent::NotReached { who: PairSide::First, cause: Cause::NoRoute };
    assert_eq!(notes.heard(), [missed, PairEvent::Ended { cause: Cause::NoRoute }]);
    assert!(stage.nobody_dialled());
}

#[tokio::test]
async fn a_partys_page_rings_by_its_own_line_which_nobody_can_dial() {
    let mut stage = stage().await;
    let line = PartyLine::new("app_1", "1001");
    let identity = line.identity(&stage.org());
    let address = PairAddress::Browser(line.clone());
    let page = PairParty { address, caller_id: Some(POOL.into()), peer_name: Some("Ann".into()) };
    assert!(!stage.directory.is_party_online(&stage.org.id, &line));
    Ports::browser_phone(&*stage.directory, &identity, &"phone_1".into(), true);
    assert!(stage.directory.is_party_online(&stage.org.id, &line));
    assert!(!stage.directory.is_party_online("org_other", &line));
    assert!(!stage.directory.is_party_online(&stage.org.id, &PartyLine::new("app_2", "1001")), "another application's");
    for dialled in [&*identity.extension, "1001", "app_1/1001"] {
        assert!(stage.directory.resolve(&stage.org.id, dialled).await.is_err(), "{dialled}");
    }
    let (_handle, _notes) = paired(&stage, order(&stage, number(ANN), page)).await;
    let mut ann = stage.dialled().await.far;
    ann.tell(answered());
    let second = stage.dialled().await;
    assert!(matches!(&second.order.target, Target::Browser { phone } if &**phone == "phone_1"));
    let shown = CallerId { number: POOL.into(), display: Some("Ann".into()), anonymous: false };
    assert_eq!(second.order.from, shown, "a page is told the name, a phone is not");
    let mut page = second.far;
    page.tell(answered());
    asked(&mut ann, |asked| matches!(asked, Asked::Bridge(_))).await;
    page.tell(LegEvent::TransferRequested { to: "1001".into(), replaces: None });
    asked_signal(&mut page, Signal::AcceptTransfer(false)).await;
    let id = stage.only_call().await;
    let kept = serde_json::to_string(&(stage.events(&id).await, stage.view(&id).await)).unwrap();
    assert!(kept.contains("\"browser\"") && !kept.contains("app_1/1001") && !kept.contains(&ANN[1..]), "{kept}");
}

#[tokio::test]
async fn a_page_that_is_not_open_is_not_reached() {
    let mut stage = stage().await;
    let address = PairAddress::Browser(PartyLine::new("app_1", "7"));
    let page = PairParty { address, caller_id: None, peer_name: None };
    let (_handle, notes) = paired(&stage, order(&stage, number(ANN), page)).await;
    let mut ann = stage.dialled().await.far;
    ann.tell(answered());
    notes.until(PairEvent::NotReached { who: PairSide::Second, cause: Cause::Unreachable }).await;
    told(&mut ann).await;
}

#[tokio::test]
async fn the_organisations_usual_number_is_not_shown_where_it_is_the_others() {
    let mut stage = stage().await;
    release_number(&stage.kernel, &stage.org.id, POOL).await.unwrap();
    stage.person("1001", 1).await;
    let to = Bound::Person("1001".into());
    bind_number(&stage.kernel, &stage.org.id, "+442071838752", &to).await.unwrap();
    let nothing = |address: &str| PairParty { caller_id: None, ..number(address) };
    for agent in ["+442071838752", "1001"] {
        let (handle, notes) = paired(&stage, order(&stage, nothing(agent), nothing(BOB))).await;
        let first = stage.dialled().await;
        assert_eq!(first.order.from.number, "+442071838752", "its own, which it knows");
        let mut phone = first.far;
        phone.tell(answered());
        let second = stage.dialled().await;
        let withheld = CallerId { number: String::new(), display: None, anonymous: true };
        assert_eq!(second.order.from, withheld, "{agent}");
        handle.hang_up(Cause::Normal);
        asked_signal(&mut phone, Signal::Hangup(Cause::Normal)).await;
        phone.tell(local_end(Cause::Normal));
        second.far.tell(local_end(Cause::Canceled));
        notes.ended().await;
    }
}
