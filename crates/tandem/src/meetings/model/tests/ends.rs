//! "When it ends": each cause, and what puts a meeting back to open instead.

use super::*;

#[test]
fn nobody_tried_is_expired_and_with_auto_start_a_no_show() {
    let mut stage = Stage::open();
    stage.wake();
    assert_eq!((stage.ended(), stage.kinds()), (Some(Cause::Expired), vec!["meeting.ended"]));
    let mut stage = Stage::open_with(Settings { auto_start: true, ..Settings::default() });
    stage.at(START + LENGTH, Input::Due);
    assert_eq!((stage.ended(), stage.kinds()), (Some(Cause::NoShow), vec!["meeting.no_show", "meeting.ended"]));
}

#[test]
fn the_talk_limit_ends_it_at_once() {
    let mut stage = Stage::live();
    stage.now = START + LENGTH;
    stage.unbridged(Parting::Limit);
    assert_eq!((stage.ended(), stage.meeting.talked_ms), (Some(Cause::Completed), LENGTH));
    assert_eq!(stage.event("meeting.ended")["talked_seconds"], LENGTH / 1_000);
    assert_eq!(stage.meeting.next_due_ms(&stage.settings), None);
}

#[test]
fn a_talk_whose_call_does_not_end_it_is_ended_all_the_same() {
    let mut stage = Stage::live();
    assert_eq!(stage.wake(), START + LENGTH + LIMIT_GRACE_MS);
    assert_eq!((stage.ended(), stage.meeting.talked_ms), (Some(Cause::Completed), LENGTH));
    assert!(stage.has(&Effect::HangUp));
}

#[test]
fn a_talk_that_began_late_has_its_whole_length() {
    let mut stage = Stage::open();
    stage.at(START + 8 * MINUTE, Input::Call { by: Role::Caller });
    stage.hear(News::Bridged);
    stage.at(START + LENGTH + MINUTE, Input::Due);
    assert_eq!(stage.meeting.state, State::Live);
    assert_eq!(stage.meeting.talked_until_ms(stage.now), 2 * MINUTE);
}

#[test]
fn an_attempt_at_the_end_may_still_succeed() {
    let mut stage = Stage::open();
    stage.at(START + LENGTH - 1, Input::Call { by: Role::Caller });
    stage.at(START + LENGTH + 1_000, Input::Due);
    assert_eq!(stage.meeting.state, State::Connecting);
    let mut other =
        Stage { meeting: stage.meeting.clone(), settings: Settings::default(), now: stage.now, effects: vec![] };
    stage.hear(News::Bridged);
    assert_eq!(stage.meeting.state, State::Live);
    other.hear(News::NotReached { who: Role::Receiver, miss: Miss::Busy });
    assert_eq!((other.ended(), other.kinds()), (Some(Cause::Busy), vec!["meeting.ended"]));
}

#[test]
fn a_line_that_drops_leaves_it_open_for_a_while() {
    for why in [Parting::HungUp(Role::Caller), Parting::Lost, Parting::Desk] {
        let mut stage = Stage::live();
        stage.now = START + MINUTE;
        stage.unbridged(why);
        assert_eq!((stage.meeting.state, stage.meeting.talked_ms), (State::Open, MINUTE), "{why:?}");
        assert_eq!(stage.wake(), START + MINUTE + 180_000);
        assert_eq!(stage.ended(), Some(Cause::Completed));
    }
}

#[test]
fn either_may_call_again_and_the_talk_is_summed() {
    let mut stage = Stage::live();
    stage.now = START + MINUTE;
    stage.unbridged(Parting::HungUp(Role::Caller));
    stage.at(START + 2 * MINUTE, Input::Call { by: Role::Receiver });
    let left = LENGTH - MINUTE;
    assert!(stage.has(&Effect::Ring { first: Role::Receiver, dialled_in: false, attempt: 2, limit_ms: left }));
    stage.hear(News::Bridged);
    stage.now += 7 * MINUTE;
    stage.unbridged(Parting::Lost);
    assert_eq!((stage.meeting.talked_ms, stage.meeting.talk_left_ms()), (8 * MINUTE, MINUTE));
}

#[test]
fn it_may_be_called_again_until_its_end_at_most() {
    let mut stage = Stage::live();
    stage.now = START + 8 * MINUTE;
    stage.unbridged(Parting::Lost);
    assert_eq!(stage.wake(), START + LENGTH);
    assert_eq!(stage.ended(), Some(Cause::Completed));
}

#[test]
fn a_failed_reconnection_does_not_prolong_it() {
    let mut stage = Stage::live();
    stage.now = START + MINUTE;
    stage.unbridged(Parting::Lost);
    stage.at(START + 2 * MINUTE, Input::Call { by: Role::Caller });
    stage.hear(News::NotReached { who: Role::Receiver, miss: Miss::Busy });
    assert_eq!(stage.wake(), START + 4 * MINUTE);
    assert_eq!(stage.ended(), Some(Cause::Completed), "the two talked");
}

#[test]
fn without_reconnection_a_hang_up_ends_it() {
    let mut stage = Stage::live_with(Settings { reconnect_s: 0, ..Settings::default() });
    stage.now += 1_000;
    stage.unbridged(Parting::HungUp(Role::Receiver));
    assert_eq!(stage.ended(), Some(Cause::Completed));
    assert_eq!(stage.event("meeting.ended")["by"], "receiver");
}

#[test]
fn a_restart_of_the_server_puts_it_back_to_open() {
    let mut stage = Stage::live();
    stage.at(START + 3 * MINUTE, Input::Restarted { died_ms: START + 2 * MINUTE });
    assert_eq!((stage.meeting.state, stage.meeting.talked_ms), (State::Open, 2 * MINUTE));
    assert_eq!(stage.event("meeting.opened")["reason"], "server_restart");
    assert_eq!(stage.meeting.next_due_ms(&stage.settings), Some(START + 6 * MINUTE));

    let mut stage = Stage::open();
    stage.say(Input::Call { by: Role::Caller });
    stage.at(START + MINUTE, Input::Restarted { died_ms: START });
    assert_eq!((stage.meeting.state, stage.meeting.last_attempt), (State::Open, Some(Cause::Failed)));
}

#[test]
fn a_restart_after_its_end_completes_it() {
    let mut stage = Stage::live();
    stage.at(START + 2 * LENGTH, Input::Restarted { died_ms: START + MINUTE });
    assert_eq!((stage.ended(), stage.meeting.talked_ms), (Some(Cause::Completed), MINUTE));
    let mut stage = Stage::open();
    stage.say(Input::Call { by: Role::Caller });
    stage.at(START + 2 * LENGTH, Input::Restarted { died_ms: START });
    assert_eq!(stage.ended(), Some(Cause::Failed));
    let mut stage = Stage::scheduled(Settings::default());
    stage.at(START + 2 * LENGTH, Input::Restarted { died_ms: START });
    assert_eq!(stage.ended(), Some(Cause::Expired));
}

#[test]
fn a_call_that_says_nothing_more_is_given_up() {
    let mut stage = Stage::open();
    stage.say(Input::Call { by: Role::Caller });
    assert_eq!(stage.wake(), START + CONNECT_MAX_MS);
    assert_eq!((stage.meeting.state, stage.meeting.last_attempt), (State::Open, Some(Cause::Failed)));
    assert!(stage.has(&Effect::HangUp));
    // What it tells later is passed over.
    stage.hear(News::Bridged);
    assert_eq!((stage.meeting.state, stage.effects.len()), (State::Open, 0));
}

#[test]
fn news_of_an_older_attempt_is_passed_over() {
    let mut stage = Stage::open();
    stage.say(Input::Call { by: Role::Caller });
    stage.hear(News::NotReached { who: Role::Caller, miss: Miss::NoAnswer });
    stage.say(Input::Call { by: Role::Caller });
    stage.say(Input::Heard { attempt: 1, news: News::Bridged });
    assert_eq!((stage.meeting.state, stage.effects.len()), (State::Connecting, 0));
}

#[test]
fn finish_ends_it_completed() {
    for by in [Actor::Application, Actor::Party(Role::Receiver)] {
        let mut stage = Stage::live();
        stage.at(START + MINUTE, Input::Finish { by });
        assert_eq!((stage.ended(), stage.meeting.talked_ms), (Some(Cause::Completed), MINUTE));
        assert!(stage.has(&Effect::HangUp));
        stage.hear(News::Unbridged { why: Parting::Desk, talked_ms: MINUTE });
        assert_eq!(stage.effects.len(), 0, "it has ended once");
        assert_eq!(stage.refused(Input::Finish { by }), Refused::Ended);
    }
    assert_eq!(
        Stage::scheduled(Settings::default()).refused(Input::Finish { by: Actor::Application }),
        Refused::NotBegun
    );
    let mut stage = Stage::open();
    stage.say(Input::Finish { by: Actor::Party(Role::Caller) });
    assert!(stage.has(&Effect::HangUp), "who still hears why there was no call need not any more");
}

#[test]
fn a_limit_that_was_moved_as_the_call_reached_it_ends_nothing() {
    let mut stage = Stage::live();
    stage.now = START + LENGTH;
    let talked_ms = LENGTH;
    stage.at(START + LENGTH, Input::Extend { by: Actor::Application, ms: 5 * MINUTE });
    stage.hear(News::Unbridged { why: Parting::Limit, talked_ms });
    assert_eq!((stage.meeting.state, stage.meeting.talk_left_ms()), (State::Open, 5 * MINUTE));
    assert_eq!(stage.event("meeting.opened")["reason"], "server");
}

#[test]
fn a_meeting_whose_length_was_cut_below_its_talk_is_over() {
    let mut stage = Stage::live();
    stage.now = START + 5 * MINUTE;
    stage.unbridged(Parting::Lost);
    assert_eq!(stage.meeting.state, State::Open);
    let shorter = Change { duration_ms: Some(4 * MINUTE), ..Change::default() };
    stage.say(Input::Change(Box::new(shorter)));
    assert_eq!(stage.ended(), Some(Cause::Completed));
}

#[test]
fn cancel_ends_it_and_voids_the_tokens_of_both() {
    let mut stage = Stage::scheduled(Settings::default());
    stage.say(Input::Cancel { by: Actor::Party(Role::Caller) });
    assert_eq!((stage.ended(), stage.kinds()), (Some(Cause::Cancelled), vec!["meeting.cancelled", "meeting.ended"]));
    assert!(stage.has(&Effect::Revoke { uid: "1222".into() }) && stage.has(&Effect::Revoke { uid: "56712".into() }));
    assert_eq!(stage.refused(Input::Cancel { by: Actor::Application }), Refused::Ended);
    let mut stage = Stage::live();
    stage.say(Input::Cancel { by: Actor::Application });
    assert!(stage.has(&Effect::HangUp));
}

#[test]
fn a_meeting_is_not_called_without_end() {
    let mut stage = Stage::open();
    for _ in 0..MAX_ATTEMPTS {
        stage.say(Input::Call { by: Role::Caller });
        stage.hear(News::NotReached { who: Role::Receiver, miss: Miss::Busy });
    }
    assert!(!stage.meeting.can_be_called(stage.now));
    assert_eq!(stage.refused(Input::Call { by: Role::Caller }), Refused::TooManyAttempts);
}
