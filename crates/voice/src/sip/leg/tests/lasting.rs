//! What keeps a call alive and true: refreshes that are refused, repetitions, long holds.

use super::*;

fn refresh(bench: &mut Bench, at: i64) {
    bench.now = at;
    bench.step(SipLeg::due);
}

#[test]
fn a_refresh_that_is_refused_is_tried_again_in_time() {
    let mut bench = talking("Allow: UPDATE\r\nSession-Expires: 90;refresher=uac\r\n");
    refresh(&mut bench, 45_000);
    let update = bench.sent(Method::Update).unwrap();
    bench.respond(&update, 503, "", "");
    refresh(&mut bench, 49_999);
    assert!(bench.sent(Method::Update).is_none());
    refresh(&mut bench, 50_000);
    let update = bench.sent(Method::Update).unwrap();
    bench.respond(&update, 500, "Retry-After: 10\r\n", "");
    assert_eq!(bench.leg.next(), 60_000);
    // A peer that only said it knew UPDATE is asked by INVITE, at once.
    refresh(&mut bench, 60_000);
    let update = bench.sent(Method::Update).unwrap();
    bench.respond(&update, 501, "", "");
    refresh(&mut bench, 60_000);
    let invite = bench.sent(Method::Invite).unwrap();
    bench.respond(&invite, 200, "Session-Expires: 90;refresher=uac\r\n", SDP);
    assert_eq!((bench.leg.next(), bench.ends.len()), (105_000, 0));
    refresh(&mut bench, 105_000);
    assert!(bench.sent(Method::Invite).is_some());
}

#[test]
fn a_late_repetition_of_an_answer_is_acknowledged_and_nothing_more() {
    let mut bench = talking("");
    bench.signal(Signal::Hold(true));
    let hold = bench.sent(Method::Invite).unwrap();
    bench.respond(&hold, 200, "", &format!("{SDP}a=recvonly\r\n"));
    bench.signal(Signal::Hold(false));
    let resume = bench.sent(Method::Invite).unwrap();
    bench.respond(&resume, 200, "", SDP);
    bench.ask(Method::Update, 5, "", &SDP.replace("4000", "4444"));
    assert_eq!(bench.answered().unwrap().code(), 200);
    for old in [&hold, &resume] {
        bench.respond(old, 200, "", &SDP.replace("4000", "4010"));
        assert_eq!((bench.acks(), bench.out.len()), (1, 1), "the address of the UPDATE stays");
    }
    // And one that comes while ours is under way does not end it.
    bench.signal(Signal::Hold(true));
    assert!(bench.sent(Method::Invite).is_some());
    bench.respond(&resume, 200, "", SDP);
    bench.ask(Method::Invite, 6, "", SDP);
    assert_eq!(bench.answered().unwrap().code(), 491);
}

#[test]
fn a_phone_on_hold_is_asked_whether_it_is_there() {
    let mut bench = talking("");
    assert_eq!(bench.leg.next().min(100_000), bench.leg.next().min(32_000), "only late answers are waited for");
    bench.ask(Method::Update, 5, "", &format!("{SDP}a=sendonly\r\n"));
    assert!(matches!(bench.events()[..], [LegEvent::Held]));
    refresh(&mut bench, 299_999);
    assert!(bench.sent(Method::Invite).is_none());
    refresh(&mut bench, 300_000);
    let look = bench.sent(Method::Invite).unwrap();
    bench.respond(&look, 200, "", &format!("{SDP}a=sendonly\r\n"));
    assert!(bench.ends.is_empty());
    refresh(&mut bench, 600_000);
    let look = bench.sent(Method::Invite).unwrap();
    bench.step(|leg, cx| leg.unanswered(look.2, &look.1, cx));
    assert_eq!((bench.ends[0].cause, bench.leg.is_over()), (Cause::Unreachable, true));

    // Who talks shows it by media, and who has a timer by that.
    let mut resumed = talking("");
    resumed.ask(Method::Update, 5, "", &format!("{SDP}a=sendonly\r\n"));
    resumed.ask(Method::Update, 6, "", SDP);
    refresh(&mut resumed, 40_000);
    assert_eq!(resumed.leg.next(), NEVER);
    let mut timed = talking("Session-Expires: 1800;refresher=uas\r\n");
    timed.ask(Method::Update, 5, "", &format!("{SDP}a=sendonly\r\n"));
    refresh(&mut timed, 300_000);
    assert!(timed.out.is_empty());
}
