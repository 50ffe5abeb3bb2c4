//! Whether a call can begin in a room, and its beginning.

use std::sync::Arc;

use calls::pairing::{PairAddress, PairOrder, PairParty, PairSounds};
use calls::{Destination, ResolveError, numbers};
use kernel::{Action, DbError, Role, role};
use voice::cause::Cause;

use super::super::ChatError;
use super::super::access::{Act, Asker};
use super::super::desk::MAX_TRIES;
use super::super::model::{Draft, Kind, Room, Side};
use super::super::settings::ChatSettings;
use super::line::line_of;
use super::model::{By, Mode, Recording, RoomCall, State};
use super::refusal::CallRefused;
use super::watch::OnCall;
use super::{ChatCalls, Place, store};

/// How long each one's phones ring, milliseconds.
const RING_MS: i64 = 30_000;
/// How long the two may talk, and how long before that end they are warned, milliseconds.
const TALK_MS: i64 = 2 * 3_600_000;
const WARN_MS: i64 = 60_000;
/// Why a number is not called.
const NO_NUMBER: &str = "a number with its country code, such as +14155550123";
const NOT_THERE: &str = "this number cannot be called from here";

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Wish {
    /// By which way the visitor talks.
    pub mode: Mode,
    /// The visitor's number, to be called by phone.
    pub phone: Option<String>,
}

/// A call that was asked for.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The call.
    pub call: RoomCall,
    /// Whether it began with this request; else it was on already.
    pub is_new: bool,
}

/// What can be begun in a room.
#[derive(Clone, Debug)]
pub struct Options {
    /// By these ways a call could begin at this moment.
    pub modes: Vec<Mode>,
    /// The call that goes on, else the last one.
    pub call: Option<RoomCall>,
    /// Whether the asker may hear recordings of calls.
    pub hears_recordings: bool,
}

/// Whoever has a room, as its phones are reached.
struct Agent {
    extension: String,
}

impl ChatCalls {
    /// What can be begun in a room.
    ///
    /// # Errors
    /// [`CallRefused`].
    pub async fn options(&self, asker: &Asker, room: &str) -> Result<Options, CallRefused> {
        let (room, settings) = self.chats().reach(asker, room, Act::See).await?;
        let call = store::last_of_room(&self.kernel().db, &room.org, &room.id).await?;
        let is_possible = room.is_open() && self.agent(&room).await.is_ok();
        let modes = Mode::ALL.into_iter().filter(|mode| is_possible && settings.calls.allow(*mode)).collect();
        Ok(Options { modes, call, hears_recordings: hears(asker, &settings) })
    }

    /// Begins a call; of a room that has one going on it gives that.
    ///
    /// # Errors
    /// [`CallRefused`]; nothing has begun then.
    pub async fn ask(&self, asker: &Asker, room: &str, wish: Wish) -> Result<Asked, CallRefused> {
        // On a task of its own: who asks may give up waiting, the call is settled all the same.
        let (calls, asker, room) = (self.clone(), asker.clone(), room.to_owned());
        let asked = self.kernel().tasks.spawn(async move { calls.ask_now(&asker, &room, &wish).await });
        asked.await.map_err(calls::CallError::from)?
    }

    async fn ask_now(&self, asker: &Asker, id: &str, wish: &Wish) -> Result<Asked, CallRefused> {
        let mut is_counted = false;
        for _ in 0..MAX_TRIES {
            let (room, settings) = self.chats().reach(asker, id, Act::Call).await?;
            if let Some(call) = store::live_of_room(&self.kernel().db, &room.org, &room.id).await? {
                return Ok(Asked { call, is_new: false });
            }
            room.takes_messages().map_err(ChatError::from)?;
            if !settings.calls.allow(wish.mode) {
                return Err(CallRefused::Off);
            }
            let agent = self.agent(&room).await?;
            let visitor = self.visitors_address(&room, wish).await?;
            if !std::mem::replace(&mut is_counted, true) {
                self.count(asker, &room, &settings, &visitor)?;
            }
            if let Some(call) = self.begin(asker, &room, &settings, wish.mode).await? {
                return self.ring(&room, call, agent, visitor, &settings).await;
            }
        }
        Err(ChatError::Busy.into())
    }

    /// Whoever has the room, if a phone of it can ring.
    async fn agent(&self, room: &Room) -> Result<Agent, CallRefused> {
        let person = room.assignee.as_deref().ok_or(CallRefused::NoAgent)?;
        let own = calls::extensions_of(self.kernel(), &room.org, person).await?;
        let found = own.into_iter().find(|entry| self.calls().directory().has_phone(&room.org, &entry.number));
        found.map(|entry| Agent { extension: entry.number }).ok_or(CallRefused::Away)
    }

    /// Where the visitor is reached: in its page, or at a number of outside that the organisation may call.
    async fn visitors_address(&self, room: &Room, wish: &Wish) -> Result<PairAddress, CallRefused> {
        if wish.mode == Mode::Browser {
            return Ok(PairAddress::Browser(line_of(&room.id)));
        }
        let written = wish.phone.as_deref().unwrap_or_default().trim();
        let number = numbers::public(written).filter(|_| written.starts_with(['+', '0']));
        let number = number.ok_or(CallRefused::Number(NO_NUMBER))?;
        match self.calls().directory().resolve(&room.org, &number).await {
            // Nobody of the organisation is rung by a stranger's word.
            Ok(Destination::Outside(number)) => {
                let org = self.kernel().org_by_id(&room.org).await?;
                let is_unwanted = |listed: &String| numbers::e164(listed).as_ref() == Some(&number);
                if org.is_some_and(|org| org.settings.do_not_call.iter().any(is_unwanted)) {
                    return Err(CallRefused::Number(NOT_THERE));
                }
                Ok(PairAddress::Number(number))
            }
            Ok(_) | Err(ResolveError::Number(_)) => Err(CallRefused::Number(NOT_THERE)),
            Err(ResolveError::Db(error)) => Err(error.into()),
            Err(ResolveError::Org(error)) => Err(error.into()),
        }
    }

    /// Visitors have a limit of their own; a number has one whichever visitor or program asks. Whoever answers knows
    /// whom it calls.
    fn count(
        &self,
        asker: &Asker,
        room: &Room,
        settings: &ChatSettings,
        visitor: &PairAddress,
    ) -> Result<(), CallRefused> {
        if matches!(asker, Asker::Person { .. }) {
            return Ok(());
        }
        let now_ms = self.now_ms();
        if asker.side() == Side::Visitor {
            self.chats().meter().call(&room.visitor, &settings.limits, now_ms).map_err(ChatError::from)?;
        }
        if let PairAddress::Number(number) = visitor {
            let key = (room.org.clone(), number.clone());
            self.0.to_number.take(key, now_ms).map_err(ChatError::from)?;
        }
        Ok(())
    }

    /// Writes the call and its message, in one commit. None = somebody else was faster: look again.
    async fn begin(
        &self,
        asker: &Asker,
        room: &Room,
        settings: &ChatSettings,
        mode: Mode,
    ) -> Result<Option<RoomCall>, CallRefused> {
        let mut call = RoomCall {
            id: self.calls().new_call_id().into(),
            org: room.org.clone(),
            room: room.id.clone(),
            app: room.app.clone(),
            seq: 0,
            mode,
            by: By::from(asker),
            state: State::Ringing,
            is_unwanted: false,
            asked_ms: self.now_ms(),
            started_ms: None,
            ended_ms: None,
            talked_ms: None,
            recording: if settings.records_calls { Recording::Awaited } else { Recording::None },
            revision: 0,
        };
        let draft = Draft {
            cid: Some(call.id.clone()),
            kind: Kind::Call,
            body: call.body(),
            side: None,
            author: String::new(),
        };
        let node = &*self.kernel().node;
        let with = |seq| vec![store::insert_write(&RoomCall { seq, ..call.clone() }, node)];
        let ack = self.chats().announce_once(&room.org, &room.id, &draft, with).await?;
        Ok(ack.map(|ack| {
            call.seq = ack.seq;
            call
        }))
    }

    /// Rings whoever has the room.
    async fn ring(
        &self,
        room: &Room,
        call: RoomCall,
        agent: Agent,
        visitor: PairAddress,
        settings: &ChatSettings,
    ) -> Result<Asked, CallRefused> {
        let name = self.chats().visitor(&room.org, &room.visitor).await.map(|visitor| visitor.name).ok();
        let order = PairOrder {
            call_id: call.id.to_string(),
            org: room.org.clone(),
            first: PairParty {
                address: PairAddress::Number(agent.extension),
                caller_id: None,
                peer_name: name.filter(|name| !name.is_empty()),
            },
            second: PairParty { address: visitor, caller_id: None, peer_name: None },
            inbound: None,
            ring_ms: RING_MS,
            limit_ms: TALK_MS,
            warn_ms: WARN_MS,
            record: settings.records_calls,
            sounds: PairSounds::usual(self.calls()),
            writes: Vec::new(),
        };
        let place = Place { org: call.org.clone(), room: call.room.clone() };
        let former: Vec<_> = {
            let mut here = self.here();
            let former = here.iter().filter(|(_, other)| other.room == place.room).map(|(id, _)| id.clone()).collect();
            here.insert(call.id.clone(), place);
            former
        };
        // Whoever still hears that the last one was in vain is rung anew.
        let handles = former.iter().filter_map(|id| self.calls().pair_handle(&call.org, id));
        handles.for_each(|handle| handle.hang_up(Cause::Normal));
        let desk = OnCall::new(self.clone(), &call);
        if let Err(error) = self.calls().pair(order, Arc::new(desk)).await {
            self.line_failed(&call).await;
            return Err(error.into());
        }
        Ok(Asked { call, is_new: true })
    }

    /// Ends the call of a room, if one goes on; gives the last one.
    ///
    /// # Errors
    /// [`CallRefused`].
    pub async fn end(&self, asker: &Asker, room: &str) -> Result<Option<RoomCall>, CallRefused> {
        let (room, _) = self.chats().reach(asker, room, Act::Call).await?;
        if let Some(call) = store::live_of_room(&self.kernel().db, &room.org, &room.id).await? {
            self.unwanted(&call).await?;
        }
        Ok(store::last_of_room(&self.kernel().db, &room.org, &room.id).await?)
    }

    /// Whether a person hears the recording of a call: of any, or of one that it was on.
    async fn was_on(&self, org: &str, person: &str, role: Role, call: &str) -> Result<bool, DbError> {
        if role::allowed(role, Action::ReadRecordings) {
            return Ok(true);
        }
        for extension in calls::extensions_of(self.kernel(), org, person).await? {
            if self.calls().took_part(org, &extension.number, call).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// A recording of a room's call: its address for the next minutes, and its length in seconds. A visitor gets it only
    /// where the application shares it, an agent that of a call it was on.
    ///
    /// # Errors
    /// [`ChatError::NotFound`], or what the store says.
    pub async fn recording(&self, asker: &Asker, room: &str, call: &str) -> Result<(String, f64), CallRefused> {
        let (room, settings) = self.chats().reach(asker, room, Act::See).await?;
        if !hears(asker, &settings) {
            return Err(ChatError::Forbidden.into());
        }
        let found = store::call(&self.kernel().db, &room.org, &room.id, call).await?;
        let Some(Recording::Landed { id, seconds }) = found.map(|call| call.recording) else {
            return Err(ChatError::NotFound.into());
        };
        if let Asker::Person { org, id: person, role } = asker {
            if !self.was_on(org, person, *role, call).await? {
                return Err(ChatError::NotFound.into());
            }
            // The address shows nobody who opens it: whoever had it made is noted here.
            let noted = self.kernel().audit_write(org, person, "recording.read", &id);
            self.kernel().db.writer().commit(vec![noted]).await?;
        }
        let path = calls::records::recording_path(&id);
        Ok((self.kernel().secrets.sign_path(&path, self.now_ms() + RECORDING_URL_MS), seconds))
    }
}

/// A visitor hears recordings where the application shares them, and shows its own token for it; a person at least those
/// of own calls.
fn hears(asker: &Asker, settings: &ChatSettings) -> bool {
    match asker {
        Asker::Visitor { .. } => settings.shares_recordings,
        Asker::Person { role, .. } => {
            [Action::ReadRecordings, Action::ReadOwnRecordings].into_iter().any(|action| role::allowed(*role, action))
        }
        Asker::App { .. } => true,
        Asker::Open { .. } | Asker::Room { .. } => false,
    }
}

/// How long an address of a recording opens it, milliseconds.
const RECORDING_URL_MS: i64 = 10 * 60_000;

/// Which calls an application takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowed {
    /// In the page.
    pub browser: bool,
    /// By phone, which costs the organisation money.
    pub phone: bool,
}

impl Default for Allowed {
    fn default() -> Self {
        Self { browser: true, phone: false }
    }
}

impl Allowed {
    /// The words of the setting.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "off" => Self { browser: false, phone: false },
            "browser" => Self { browser: true, phone: false },
            "phone" => Self { browser: false, phone: true },
            "both" => Self { browser: true, phone: true },
            _ => return None,
        })
    }

    /// The word of the setting.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match (self.browser, self.phone) {
            (false, false) => "off",
            (true, false) => "browser",
            (false, true) => "phone",
            (true, true) => "both",
        }
    }

    /// Whether calls of this kind are taken.
    #[must_use]
    pub fn allow(self, mode: Mode) -> bool {
        match mode {
            Mode::Browser => self.browser,
            Mode::Phone => self.phone,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_setting_says_which_calls_are_taken_and_none_that_cost_money_by_default() {
        let allowed = |word: &str| Mode::ALL.map(|mode| Allowed::parse(word).unwrap().allow(mode));
        assert_eq!(allowed("off"), [false, false]);
        assert_eq!(allowed("browser"), [true, false]);
        assert_eq!(allowed("phone"), [false, true]);
        assert_eq!(allowed("both"), [true, true]);
        assert_eq!((Allowed::parse("on"), Allowed::parse("")), (None, None));
        assert_eq!(Allowed::default(), Allowed::parse("browser").unwrap());
        assert!(["off", "browser", "phone", "both"].iter().all(|word| Allowed::parse(word).unwrap().as_str() == *word));
    }
}
