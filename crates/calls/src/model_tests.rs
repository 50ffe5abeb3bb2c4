//! The model's rules: completed is final, the answer counts once, legs stay few.

use proptest::prelude::{Just, Strategy, prop, prop_assert, prop_assert_eq, prop_oneof, proptest};

use super::*;

fn call() -> CallModel {
    CallModel {
        id: "call_1".into(),
        org: "org_1".into(),
        node: "n".into(),
        direction: Direction::Outbound,
        from: "+442071838750".into(),
        to: "+14155550123".into(),
        run: None,
        masked: false,
        state: CallState::Initiated,
        legs: Vec::new(),
        end: None,
        started_at_ms: 1_000,
        ringing_at_ms: None,
        answered_at_ms: None,
        ended_at_ms: None,
    }
}

fn leg(id: &str) -> LegRecord {
    LegRecord {
        id: id.into(),
        role: LegRole::Customer,
        to: "1001".into(),
        state: LegState::Initiated,
        codec: None,
        node: "n".into(),
    }
}

fn end() -> Change {
    Change::Completed(CallEnd::local(Cause::Normal, EndedBy::Customer))
}

#[test]
fn times_are_counted_from_ring_to_answer_to_end() {
    let mut call = call();
    assert!(call.apply(Change::LegAdded(leg("a")), 1_000));
    assert!(call.apply(Change::Ringing, 2_000));
    assert!(!call.apply(Change::Ringing, 2_500));
    assert!(call.apply(Change::Answered, 5_000));
    assert!(!call.apply(Change::Answered, 6_000));
    assert!(call.apply(end(), 9_500));
    assert_eq!((call.ring_s(), call.talk_s(), call.total_s()), (3.0, 4.5, 8.5));
    assert_eq!(call.legs[0].state, LegState::Ended);
}

#[test]
fn a_call_that_was_never_answered_rang_until_its_end() {
    let mut call = call();
    call.apply(Change::Ringing, 2_000);
    call.apply(end(), 5_000);
    assert_eq!((call.ring_s(), call.talk_s()), (3.0, 0.0));
}

#[test]
fn ended_legs_make_room_for_new_ones() {
    let mut call = call();
    for nth in 0..MAX_LEGS {
        assert!(call.apply(Change::LegAdded(leg(&format!("leg{nth}"))), 0));
    }
    assert!(!call.apply(Change::LegAdded(leg("one more")), 0), "all are alive");
    call.apply(Change::LegEnded("leg3".into()), 0);
    assert!(call.apply(Change::LegAdded(leg("one more")), 0));
    assert_eq!(call.legs.len(), MAX_LEGS);
}

#[test]
fn a_masked_call_shows_two_digits() {
    let masked = CallModel { masked: true, ..call() };
    assert_eq!(masked.shown(&masked.to), "**23");
    assert_eq!(call().shown("+14155550123"), "+14155550123");
}

fn change() -> impl Strategy<Value = Change> {
    let ids = || prop::sample::select(vec!["a", "b", "c"]).prop_map(LegId::from);
    prop_oneof![
        ids().prop_map(|id| Change::LegAdded(leg(&id))),
        ids().prop_map(Change::LegRinging),
        ids().prop_map(|id| Change::LegAnswered(id, "PCMA".into())),
        ids().prop_map(|id| Change::LegHeld(id, true)),
        ids().prop_map(Change::LegEnded),
        Just(Change::Ringing),
        Just(Change::Answered),
        Just(end()),
    ]
}

proptest! {
    #[test]
    fn completed_is_final_and_states_only_go_forward(changes in prop::collection::vec(change(), 0..30)) {
        let mut call = call();
        let rank = |state: CallState| match state {
            CallState::Initiated => 0,
            CallState::Ringing => 1,
            CallState::Answered => 2,
            CallState::Completed => 3,
        };
        for (now_ms, change) in (2_000i64..).zip(changes) {
            let before = call.clone();
            let changed = call.apply(change, now_ms);
            prop_assert!(rank(call.state) >= rank(before.state));
            prop_assert_eq!(changed, call != before, "the answer says whether anything changed");
            if before.state == CallState::Completed {
                prop_assert_eq!(&call, &before);
            }
        }
        prop_assert_eq!(call.end.is_some(), call.state == CallState::Completed);
    }
}
