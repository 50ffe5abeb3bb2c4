//! Session timers (RFC 4028): who refreshes a session, when, and when it is dead.
//!
//! Pure arithmetic. Both sides agree on an interval; one of them refreshes at half of it; if no
//! refresh comes, the other ends the session a little before the interval is over.

use super::message::{Message, Name};
use super::transaction::NEVER;
use super::uri;

/// The interval that we ask for, seconds.
pub(crate) const INTERVAL_S: u32 = 1_800;
/// The shortest interval that we agree to, seconds (RFC 4028 §5).
pub(crate) const MIN_INTERVAL_S: u32 = 90;

/// A refresh that was refused is tried again after this part of the interval, but not sooner than this, ms.
const RETRY_PART: i64 = 20;
const MIN_RETRY_MS: i64 = 5_000;

/// Who refreshes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refresher {
    /// We do.
    Local,
    /// The peer does.
    Remote,
}

/// The timer of one dialog; without an interval it never fires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SessionTimer {
    interval_s: u32,
    refresher: Refresher,
    /// The last refresh, ms.
    since: i64,
    /// When we refresh next, if it is ours to do, ms.
    next: i64,
    active: bool,
}

/// A Session-Expires value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Wish {
    interval_s: u32,
    refresher: Option<Role>,
}

/// The `refresher` parameter: roles in the transaction that carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Uac,
    Uas,
}

fn wish(message: &Message) -> Option<Wish> {
    let value = message.field(Name::SessionExpires)?;
    let (number, params) = value.split_once(';').unwrap_or((value, ""));
    let refresher = match uri::param(params, "refresher") {
        Some(role) if role.eq_ignore_ascii_case("uac") => Some(Role::Uac),
        Some(role) if role.eq_ignore_ascii_case("uas") => Some(Role::Uas),
        _ => None,
    };
    Some(Wish { interval_s: number.trim().parse().ok()?, refresher })
}

impl SessionTimer {
    /// No timer yet.
    pub(crate) fn off() -> Self {
        Self { interval_s: INTERVAL_S, refresher: Refresher::Local, since: 0, next: NEVER, active: false }
    }

    /// Whether a request asks for less than we allow: answer 422 with Min-SE.
    pub(crate) fn is_too_small(request: &Message) -> bool {
        request.lists(Name::Supported, "timer") && wish(request).is_some_and(|wish| wish.interval_s < MIN_INTERVAL_S)
    }

    /// The peer's INVITE or UPDATE is being accepted: what the 2xx says, as (Session-Expires,
    /// whether it must say `Require: timer`), and the timer starts over.
    pub(crate) fn accept(&mut self, request: &Message, now_ms: i64) -> Option<(String, bool)> {
        let supported = request.lists(Name::Supported, "timer");
        let wish = wish(request);
        if !supported && wish.is_none() {
            // A peer without timers: whoever refreshed before goes on, only we can begin.
            self.restart(now_ms);
            return None;
        }
        let floor = request.number(Name::MinSe).unwrap_or(0).max(MIN_INTERVAL_S);
        let interval_s = wish.map_or(INTERVAL_S, |wish| wish.interval_s).max(floor);
        // A peer that does not know timers cannot refresh (§9, table 2).
        let role = match wish.and_then(|wish| wish.refresher) {
            _ if !supported => Role::Uas,
            Some(role) => role,
            None => Role::Uas,
        };
        let refresher = if role == Role::Uas { Refresher::Local } else { Refresher::Remote };
        *self = Self { interval_s, refresher, active: true, ..*self };
        self.restart(now_ms);
        let name = if role == Role::Uas { "uas" } else { "uac" };
        Some((format!("{interval_s};refresher={name}"), role == Role::Uac))
    }

    /// The Session-Expires value of our INVITE or UPDATE.
    pub(crate) fn ask(&self) -> String {
        match (self.active, self.refresher) {
            (false, _) => self.interval_s.to_string(),
            (true, Refresher::Local) => format!("{};refresher=uac", self.interval_s),
            (true, Refresher::Remote) => format!("{};refresher=uas", self.interval_s),
        }
    }

    /// The peer's 2xx to our INVITE or UPDATE.
    pub(crate) fn accepted(&mut self, response: &Message, now_ms: i64) {
        match wish(response) {
            Some(wish) => {
                let refresher = if wish.refresher == Some(Role::Uas) { Refresher::Remote } else { Refresher::Local };
                *self = Self { interval_s: wish.interval_s.max(MIN_INTERVAL_S), refresher, active: true, ..*self };
                self.restart(now_ms);
            }
            // No timer there: none here either, the media time-out watches (§7.2 lets us choose).
            None => self.active = false,
        }
    }

    /// The peer's 422: ask for at least this much.
    pub(crate) fn refused(&mut self, response: &Message) {
        let min = response.number(Name::MinSe).unwrap_or(MIN_INTERVAL_S);
        self.interval_s = self.interval_s.max(min);
    }

    /// When we have to refresh, ms.
    pub(crate) fn refresh_at(&self) -> i64 {
        if self.active && self.refresher == Refresher::Local { self.next } else { NEVER }
    }

    /// Whether a dead session would be found by the timer.
    pub(crate) fn is_active(&self) -> bool {
        self.active
    }

    /// When the peer has failed to refresh, ms: a third of the interval early, at most 32 s (§10).
    pub(crate) fn dead_at(&self) -> i64 {
        if self.active && self.refresher == Refresher::Remote {
            let early_s = (self.interval_s / 3).min(32);
            self.since + i64::from(self.interval_s - early_s) * 1_000
        } else {
            NEVER
        }
    }

    /// The session was refreshed.
    fn restart(&mut self, now_ms: i64) {
        self.since = now_ms;
        self.next = now_ms + self.half_ms();
    }

    fn half_ms(&self) -> i64 {
        i64::from(self.interval_s) * 500
    }

    /// A refresh is under way: the next one is due half an interval later, unless an answer moves it.
    pub(crate) fn refreshing(&mut self, now_ms: i64) {
        self.next = now_ms + self.half_ms();
    }

    /// A refresh, or another change of ours, was refused. The peer counts from the last good one: what is due is tried again before it
    /// gives the session up, after `retry_after_s` seconds when it says so.
    pub(crate) fn failed(&mut self, now_ms: i64, retry_after_s: Option<u32>) {
        let (due, lost) = (self.since + self.half_ms(), self.since + self.half_ms() * 2);
        let pause =
            (self.half_ms() * 2 / RETRY_PART).max(MIN_RETRY_MS).max(i64::from(retry_after_s.unwrap_or(0)) * 1_000);
        let retry = (now_ms + pause).max(due);
        // Past the end a peer that is still there does not mean it: the pace of good days is enough.
        self.next = if retry < lost { retry } else { now_ms + self.half_ms() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(fields: &str) -> Message {
        Message::parse(format!("UPDATE sip:x@h SIP/2.0\r\nCall-ID: c\r\n{fields}\r\n").as_bytes()).unwrap()
    }

    #[test]
    fn the_peer_refreshes_when_it_says_so() {
        let mut timer = SessionTimer::off();
        assert_eq!((timer.refresh_at(), timer.dead_at()), (NEVER, NEVER));
        let invite = message("Supported: timer\r\nSession-Expires: 90;refresher=uac\r\n");
        assert_eq!(timer.accept(&invite, 1_000), Some(("90;refresher=uac".to_owned(), true)));
        assert_eq!((timer.refresh_at(), timer.dead_at()), (NEVER, 1_000 + 60_000));
        assert_eq!(timer.ask(), "90;refresher=uas");
    }

    #[test]
    fn we_refresh_when_the_peer_leaves_it_open_or_cannot() {
        let mut timer = SessionTimer::off();
        let invite = message("Supported: timer\r\nx: 1800\r\n");
        assert_eq!(timer.accept(&invite, 0), Some(("1800;refresher=uas".to_owned(), false)));
        assert_eq!((timer.refresh_at(), timer.dead_at()), (900_000, NEVER));
        timer.refreshing(900_000);
        assert_eq!(timer.refresh_at(), 1_800_000);
        timer.failed(900_010, None);
        assert_eq!(timer.refresh_at(), 990_010, "long before the peer gives up");
        timer.failed(990_020, Some(300));
        assert_eq!(timer.refresh_at(), 1_290_020, "when the peer likes");
        timer.failed(1_290_030, Some(3_000));
        assert_eq!(timer.refresh_at(), 1_290_030 + 900_000);
        // A change that was refused before a refresh was due calls for none.
        assert_eq!(timer.accept(&invite, 2_000_000), Some(("1800;refresher=uas".to_owned(), false)));
        timer.failed(2_000_500, None);
        assert_eq!(timer.refresh_at(), 2_900_000);

        let proxy = message("Session-Expires: 50\r\nMin-SE: 120\r\n");
        assert_eq!(timer.accept(&proxy, 0), Some(("120;refresher=uas".to_owned(), false)));
        assert_eq!(SessionTimer::off().accept(&message(""), 0), None);
    }

    #[test]
    fn our_own_invite_takes_what_the_answer_says() {
        let mut timer = SessionTimer::off();
        assert_eq!(timer.ask(), "1800");
        timer.refused(&message("Min-SE: 3600\r\n"));
        assert_eq!(timer.ask(), "3600");
        timer.accepted(&message("Session-Expires: 3600;refresher=uas\r\n"), 0);
        assert_eq!(timer.dead_at(), 3_568_000);
        timer.accepted(&message("Session-Expires: 100;refresher=uac\r\n"), 0);
        assert_eq!(timer.refresh_at(), 50_000);
        timer.accepted(&message(""), 0);
        assert_eq!((timer.refresh_at(), timer.dead_at()), (NEVER, NEVER));
    }

    #[test]
    fn too_small_is_said_only_to_those_who_understand() {
        assert!(SessionTimer::is_too_small(&message("Supported: timer\r\nSession-Expires: 89\r\n")));
        assert!(!SessionTimer::is_too_small(&message("Session-Expires: 89\r\n")));
        assert!(!SessionTimer::is_too_small(&message("Supported: timer\r\nSession-Expires: 90\r\n")));
    }
}
