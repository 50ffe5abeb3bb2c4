//! Who listens to which room on this node, and what they hear.
//!
//! Invariant: news of one room reach each listener in the order in which they were told, and are written out once for
//! all of them; a listener that does not keep up is told so once and hears nothing more. Nothing here is durable: what a
//! listener missed it reads from the store.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::sync::Notify;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::access::{self, Asker};
use super::inbox::AgentNews;
use super::model::{Id, Mark, Message, Note, Room, Side};

/// News that wait for one listener.
pub const MAX_WAITING: usize = 256;
/// Bytes of them, about.
pub const MAX_WAITING_BYTES: usize = 256 * 1024;
/// Places for news that an empty queue keeps.
const KEPT_PLACES: usize = 8;
/// What a piece of news weighs beside its words, bytes.
const OVERHEAD_BYTES: usize = 256;

/// Something that happened in a room.
#[derive(Clone, Debug)]
pub enum What {
    /// A message, after its commit.
    Message(Arc<Message>),
    /// A message says something else now.
    Edited(Arc<Message>),
    /// A message was taken back.
    Deleted(Arc<Message>),
    /// Somebody has come so far.
    Marked {
        /// Who.
        who: Who,
        /// How far.
        mark: Mark,
    },
    /// Somebody types, or stopped.
    Typing {
        /// Who.
        who: Who,
        /// Whether.
        is_typing: bool,
        /// What there is so far, if it is shown: of a visitor to those who answer.
        draft: Option<String>,
    },
    /// Somebody came or went.
    Presence {
        /// Who.
        who: Who,
        /// Whether at least one page is open.
        is_here: bool,
    },
    /// The room itself changed: opened, closed, assigned.
    Room {
        /// As it is now.
        room: Arc<Room>,
        /// Whether a flow answers it.
        is_held: bool,
    },
    /// Those who answer noted something.
    Note(Arc<Note>),
    /// Its place among those that wait, from 1; 0 = it waits no more.
    QueuePosition(u32),
    /// The room has these tags now.
    Tags(Arc<[String]>),
    /// Somebody takes chats from now on, or takes none; in no room.
    Agent(Arc<AgentNews>),
}

/// Somebody in a room, as others are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Who {
    /// Which side.
    pub side: Side,
    /// A person's or an application's id; the visitor's is shown to nobody.
    pub id: Option<Id>,
    /// Name for people.
    pub name: String,
}

/// What happened, and to whom it is told.
#[derive(Debug)]
pub struct News {
    /// The organisation.
    pub org: Id,
    /// The room's application.
    pub app: Id,
    /// The room.
    pub room: Id,
    /// What happened.
    pub what: What,
    /// Only to those who answer.
    pub inside: bool,
    /// Only to the room's visitor.
    pub outside: bool,
    /// Not to this listener: who types need not hear so.
    pub except: Option<u64>,
    text: OnceLock<Utf8Bytes>,
}

impl News {
    /// News of a room, to all in it.
    #[must_use]
    pub fn of(room: &Room, what: What) -> Self {
        Self::at(&room.org, &room.app, &room.id, what)
    }

    /// News of a room of which no more is known than where it is.
    #[must_use]
    pub fn at(org: &Id, app: &Id, room: &Id, what: What) -> Self {
        let (org, app, room) = (org.clone(), app.clone(), room.clone());
        Self { org, app, room, inside: is_inside(&what), outside: false, what, except: None, text: OnceLock::new() }
    }

    /// The same, only for those who answer.
    #[must_use]
    pub fn inside(self) -> Self {
        Self { inside: true, ..self }
    }

    /// The same, only for the room's visitor.
    #[must_use]
    pub fn outside(self) -> Self {
        Self { outside: true, ..self }
    }

    /// The same, but not for this listener.
    #[must_use]
    pub fn except(self, listener: u64) -> Self {
        Self { except: Some(listener), ..self }
    }

    /// The frame, written once for all listeners.
    pub fn text(&self, write: impl FnOnce(&Self) -> String) -> &Utf8Bytes {
        self.text.get_or_init(|| write(self).into())
    }

    /// About how many bytes it takes.
    fn weight(&self) -> usize {
        let words = match &self.what {
            What::Message(message) | What::Edited(message) => {
                message.body.as_ref().map_or(0, |body| body.as_json().len())
            }
            What::Typing { draft, .. } => draft.as_ref().map_or(0, String::len),
            What::Note(note) => note.text.len(),
            _ => 0,
        };
        OVERHEAD_BYTES + words
    }
}

/// What visitors do not hear.
fn is_inside(what: &What) -> bool {
    matches!(what, What::Note(_) | What::Tags(_) | What::Agent(_))
}

/// The listeners of this node. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Hub(Arc<Mutex<Listeners>>);

#[derive(Debug, Default)]
struct Listeners {
    last_id: u64,
    orgs: HashMap<Id, OrgListeners>,
}

/// The listeners of one organisation.
#[derive(Debug, Default)]
struct OrgListeners {
    /// Those that hear every room, of one application or of all.
    wide: Vec<(Option<Id>, Arc<Ear>)>,
    /// Those that hear some rooms.
    rooms: HashMap<Id, Vec<Arc<Ear>>>,
}

impl OrgListeners {
    fn is_empty(&self) -> bool {
        self.wide.is_empty() && self.rooms.is_empty()
    }
}

/// Where news wait for one listener.
#[derive(Debug)]
struct Ear {
    id: u64,
    side: Side,
    person: Option<Id>,
    /// Whether this is somebody who answers visitors; who only reads is no support that is there.
    answers: bool,
    /// Whether somebody is there who reads at once.
    is_present: bool,
    waiting: Mutex<Waiting>,
    news: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    news: VecDeque<Arc<News>>,
    bytes: usize,
    is_lagging: bool,
}

impl Ear {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_visitor_there(&self) -> bool {
        self.is_present && self.side == Side::Visitor
    }

    fn tell(&self, news: &Arc<News>) {
        let other_side = match self.side {
            Side::Visitor => news.inside,
            Side::Support => news.outside,
        };
        if news.except == Some(self.id) || other_side {
            return;
        }
        let mut waiting = self.waiting();
        if waiting.is_lagging {
            return;
        }
        waiting.bytes += news.weight();
        waiting.news.push_back(Arc::clone(news));
        if waiting.news.len() > MAX_WAITING || waiting.bytes > MAX_WAITING_BYTES {
            // What was queued is read from the store on resume; here it would only take memory.
            *waiting = Waiting { is_lagging: true, ..Waiting::default() };
        }
        // Whoever was woken for one takes them all.
        let must_wake = waiting.is_lagging || waiting.news.len() == 1;
        drop(waiting);
        if must_wake {
            self.news.notify_one();
        }
    }
}

impl Hub {
    fn listeners(&self) -> MutexGuard<'_, Listeners> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A listener: those who answer hear every room that they may see, others only what they join.
    #[must_use]
    pub fn subscribe(&self, asker: &Asker) -> Subscription {
        let (person, answers) = match asker {
            Asker::Person { id, role, .. } => (Some(id.clone()), access::answers(*role)),
            _ => (None, false),
        };
        let mut listeners = self.listeners();
        listeners.last_id += 1;
        let ear = Arc::new(Ear {
            id: listeners.last_id,
            side: asker.side(),
            person,
            answers,
            is_present: true,
            waiting: Mutex::default(),
            news: Notify::new(),
        });
        let org = asker.org().clone();
        let is_wide = asker.side() == Side::Support;
        let mut is_first = false;
        if is_wide {
            let wide = &mut listeners.orgs.entry(org.clone()).or_default().wide;
            is_first = answers && !wide.iter().any(|(_, ear)| ear.answers);
            wide.push((asker.app().cloned(), Arc::clone(&ear)));
        }
        drop(listeners);
        Subscription { hub: self.clone(), org, ear, is_wide, is_first, rooms: Vec::new() }
    }

    /// A listener to one room, whoever asks; it is nobody's presence. Ask [`super::access::may`] first.
    #[must_use]
    pub fn listen_to(&self, asker: &Asker, room: &Id) -> Subscription {
        self.listen_as(asker.side(), asker.org(), room)
    }

    /// The same for whoever answers there by itself.
    #[must_use]
    pub fn attend(&self, org: &Id, room: &Id) -> Subscription {
        self.listen_as(Side::Support, org, room)
    }

    fn listen_as(&self, side: Side, org: &Id, room: &Id) -> Subscription {
        let mut listeners = self.listeners();
        listeners.last_id += 1;
        let ear = Arc::new(Ear {
            id: listeners.last_id,
            side,
            person: None,
            answers: false,
            is_present: false,
            waiting: Mutex::default(),
            news: Notify::new(),
        });
        let of_org = listeners.orgs.entry(org.clone()).or_default();
        of_org.rooms.entry(room.clone()).or_default().push(Arc::clone(&ear));
        drop(listeners);
        Subscription {
            hub: self.clone(),
            org: org.clone(),
            ear,
            is_wide: false,
            is_first: false,
            rooms: vec![room.clone()],
        }
    }

    /// Tells all who listen to the room.
    pub fn tell(&self, news: News) {
        let listeners = self.listeners();
        let Some(org) = listeners.orgs.get(&news.org) else { return };
        let news = Arc::new(news);
        for (app, ear) in &org.wide {
            if app.as_ref().is_none_or(|app| *app == news.app) {
                ear.tell(&news);
            }
        }
        for ear in org.rooms.get(&news.room).into_iter().flatten() {
            ear.tell(&news);
        }
    }

    /// Tells something in every room that a visitor of the organisation hears, to the visitors alone.
    pub fn tell_visitors(&self, org: &Id, what: impl Fn() -> What) {
        let listeners = self.listeners();
        for (room, ears) in listeners.orgs.get(org).into_iter().flat_map(|org| &org.rooms) {
            let news = Arc::new(News::at(org, org, room, what()));
            ears.iter().filter(|ear| ear.side == Side::Visitor).for_each(|ear| ear.tell(&news));
        }
    }

    /// How many listen as the visitor of a room.
    #[must_use]
    pub fn visitors(&self, org: &str, room: &str) -> usize {
        let listeners = self.listeners();
        let ears = listeners.orgs.get(org).and_then(|org| org.rooms.get(room));
        ears.map_or(0, |ears| ears.iter().filter(|ear| ear.is_visitor_there()).count())
    }

    /// The people of an organisation who listen.
    #[must_use]
    pub fn people_here(&self, org: &str) -> Vec<Id> {
        let listeners = self.listeners();
        let wide = listeners.orgs.get(org).into_iter().flat_map(|org| &org.wide);
        wide.filter_map(|(_, ear)| ear.person.clone()).collect()
    }

    /// Whether a person of an organisation listens here.
    #[must_use]
    pub fn has_person(&self, org: &str, person: &str) -> bool {
        let listeners = self.listeners();
        let wide = listeners.orgs.get(org).map(|org| &org.wide);
        wide.is_some_and(|wide| wide.iter().any(|(_, ear)| ear.person.as_deref() == Some(person)))
    }

    /// Whether the visitor of a room listens to it here.
    #[must_use]
    pub fn has_visitor(&self, org: &str, room: &str) -> bool {
        self.visitors(org, room) > 0
    }

    /// How many listen, of all organisations.
    #[must_use]
    pub fn count(&self) -> usize {
        let listeners = self.listeners();
        let mut ids: Vec<u64> = listeners
            .orgs
            .values()
            .flat_map(|org| {
                org.wide.iter().map(|(_, ear)| ear.id).chain(org.rooms.values().flatten().map(|ear| ear.id))
            })
            .collect();
        ids.sort_unstable();
        ids.dedup();
        ids.len()
    }
}

/// What a listener hears next.
#[derive(Clone, Debug)]
pub enum Heard {
    /// Something happened.
    News(Arc<News>),
    /// It did not keep up and hears nothing more: close, and let it resume.
    Lagging,
}

/// One listener. Dropped, it hears nothing more.
#[derive(Debug)]
pub struct Subscription {
    hub: Hub,
    org: Id,
    ear: Arc<Ear>,
    is_wide: bool,
    is_first: bool,
    rooms: Vec<Id>,
}

/// What changed for others when a listener went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Left {
    /// Rooms whose visitor is not there any more.
    pub rooms: Vec<Id>,
    /// Nobody who answers is there any more.
    pub is_last: bool,
}

impl Subscription {
    /// What [`News::except`] names.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.ear.id
    }

    /// Whether this was the first of those who answer, when it came.
    #[must_use]
    pub fn is_first(&self) -> bool {
        self.is_first
    }

    /// Hears a room from now on; whoever hears every room hears this one already. Ask [`super::access::may`] first. True
    /// when the room's visitor was not there before.
    pub fn join(&mut self, room: &Id) -> bool {
        if self.is_wide || self.rooms.contains(room) {
            return false;
        }
        self.rooms.push(room.clone());
        let mut listeners = self.hub.listeners();
        let org = listeners.orgs.entry(self.org.clone()).or_default();
        let ears = org.rooms.entry(room.clone()).or_default();
        let is_first = self.ear.is_visitor_there() && !ears.iter().any(|ear| ear.is_visitor_there());
        ears.push(Arc::clone(&self.ear));
        is_first
    }

    /// Hears nothing more. Of several that go in one moment the last one learns that it is.
    pub fn leave(&mut self) -> Left {
        let id = self.ear.id;
        let mut left = Left::default();
        let mut listeners = self.hub.listeners();
        let Some(org) = listeners.orgs.get_mut(&self.org) else { return left };
        if std::mem::take(&mut self.is_wide) {
            org.wide.retain(|(_, ear)| ear.id != id);
            left.is_last = self.ear.answers && !org.wide.iter().any(|(_, ear)| ear.answers);
        }
        for room in std::mem::take(&mut self.rooms) {
            let Some(ears) = org.rooms.get_mut(&room) else { continue };
            ears.retain(|ear| ear.id != id);
            let is_visitor_there = ears.iter().any(|ear| ear.is_visitor_there());
            if ears.is_empty() {
                org.rooms.remove(&room);
            }
            if self.ear.is_visitor_there() && !is_visitor_there {
                left.rooms.push(room);
            }
        }
        if org.is_empty() {
            listeners.orgs.remove(&self.org);
        }
        left
    }

    /// The next news; waits for them. Nothing is lost when the wait is given up.
    pub async fn next(&mut self) -> Heard {
        loop {
            if let Some(heard) = self.try_next() {
                return heard;
            }
            self.ear.news.notified().await;
        }
    }

    /// News that are there already.
    pub fn try_next(&mut self) -> Option<Heard> {
        let mut waiting = self.ear.waiting();
        if waiting.is_lagging {
            return Some(Heard::Lagging);
        }
        let news = waiting.news.pop_front()?;
        waiting.bytes = waiting.bytes.saturating_sub(news.weight());
        if waiting.news.is_empty() && waiting.news.capacity() > KEPT_PLACES {
            // Thousands listen and wait: what a rush took is given back.
            waiting.news = VecDeque::new();
        }
        Some(Heard::News(news))
    }

    /// Waits until it did not keep up: for a listener that is busy writing.
    pub async fn lagging(&self) {
        while !self.ear.waiting().is_lagging {
            self.ear.news.notified().await;
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let _nobody_to_tell = self.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::model::{Body, Kind, Sender};

    fn visitor(id: &str) -> Asker {
        Asker::Visitor { org: "org".into(), app: "app".into(), id: id.into() }
    }

    fn application(app: &str) -> Asker {
        Asker::App { org: "org".into(), app: app.into() }
    }

    fn message(room: &str, app: &str, seq: i64, words: &str) -> News {
        let message = Message {
            room: room.into(),
            seq,
            id: "id".into(),
            cid: None,
            sender: Sender::System,
            kind: Kind::Text,
            body: Some(Body::text(words)),
            side: Body::from(true),
            author: String::new(),
            created_ms: 0,
            edited_ms: None,
            deleted_ms: None,
        };
        News {
            org: "org".into(),
            app: app.into(),
            room: room.into(),
            what: What::Message(message.into()),
            inside: false,
            outside: false,
            except: None,
            text: OnceLock::new(),
        }
    }

    fn seqs(subscription: &mut Subscription) -> Vec<i64> {
        let mut seqs = Vec::new();
        while let Some(heard) = subscription.try_next() {
            match heard {
                Heard::News(news) => match &news.what {
                    What::Message(message) => seqs.push(message.seq),
                    other => panic!("{other:?}"),
                },
                Heard::Lagging => return vec![-1],
            }
        }
        seqs
    }

    #[test]
    fn each_hears_its_own_in_order() {
        let hub = Hub::default();
        let (mut one, mut two) = (hub.subscribe(&visitor("1")), hub.subscribe(&visitor("2")));
        let (mut all, mut other_app) = (hub.subscribe(&application("app")), hub.subscribe(&application("other")));
        one.join(&"a".into());
        one.join(&"a".into());
        two.join(&"b".into());
        all.join(&"a".into());
        for (room, seq) in [("a", 1), ("b", 2), ("a", 3), ("c", 4)] {
            hub.tell(message(room, "app", seq, "x"));
        }
        hub.tell(message("d", "other", 5, "x"));
        hub.tell(News { org: "org_other".into(), ..message("a", "app", 6, "x") });
        assert_eq!(seqs(&mut one), [1, 3]);
        assert_eq!(seqs(&mut two), [2]);
        assert_eq!(seqs(&mut all), [1, 2, 3, 4], "each once, joined or not");
        assert_eq!(seqs(&mut other_app), [5]);
        assert!(hub.has_visitor("org", "a") && !hub.has_visitor("org", "c"));
        assert_eq!(hub.count(), 4);
        drop((one, all, other_app));
        assert!(!hub.has_visitor("org", "a"));
        assert_eq!((hub.count(), hub.listeners().orgs["org"].rooms.len()), (1, 1));
        drop(two);
        assert!(hub.listeners().orgs.is_empty(), "nothing is kept of who has gone");
    }

    #[test]
    fn of_those_who_come_and_go_together_the_first_and_the_last_know_it() {
        let hub = Hub::default();
        let room: Id = "a".into();
        let (mut one, mut two) = (hub.subscribe(&visitor("1")), hub.subscribe(&visitor("1")));
        assert_eq!((one.join(&room), two.join(&room), one.join(&room)), (true, false, false));
        let bystander = hub.listen_to(&visitor("1"), &room);
        assert_eq!((one.leave().rooms, two.leave().rooms), (vec![], vec![room.clone()]));
        assert_eq!(two.leave(), Left::default(), "it went once");
        drop((one, two, bystander));
        let person = |role| Asker::Person { org: "org".into(), id: "per".into(), role };
        let mut auditor = hub.subscribe(&person(kernel::Role::Auditor));
        let (mut first, mut second) =
            (hub.subscribe(&person(kernel::Role::Agent)), hub.subscribe(&person(kernel::Role::Owner)));
        assert_eq!((auditor.is_first(), first.is_first(), second.is_first()), (false, true, false));
        assert_eq!((first.leave().is_last, auditor.leave().is_last, second.leave().is_last), (false, false, true));
        assert!(hub.listeners().orgs.is_empty());
    }

    #[test]
    fn what_is_inside_stays_inside_and_nobody_hears_oneself_type() {
        let hub = Hub::default();
        let (mut theirs, mut ours) = (hub.subscribe(&visitor("1")), hub.subscribe(&application("app")));
        theirs.join(&"a".into());
        hub.tell(message("a", "app", 1, "x").inside());
        hub.tell(message("a", "app", 2, "x").except(ours.id()));
        assert_eq!((seqs(&mut theirs), seqs(&mut ours)), (vec![2], vec![1]));
    }

    #[test]
    fn who_does_not_keep_up_is_told_so_by_count_or_by_bytes() {
        let hub = Hub::default();
        let mut slow = hub.subscribe(&application("app"));
        for seq in 0..i64::try_from(MAX_WAITING).unwrap() {
            hub.tell(message("a", "app", seq, "x"));
        }
        assert_eq!(seqs(&mut slow).len(), MAX_WAITING, "as many as there may be");
        for seq in 0..=i64::try_from(MAX_WAITING).unwrap() {
            hub.tell(message("a", "app", seq, "x"));
        }
        assert_eq!((seqs(&mut slow), seqs(&mut slow)), (vec![-1], vec![-1]), "and it stays so");
        assert_eq!(slow.ear.waiting().news.len(), 0, "what it missed takes no memory");

        let mut slow = hub.subscribe(&application("app"));
        for seq in 0..6 {
            hub.tell(message("a", "app", seq, &"x".repeat(MAX_WAITING_BYTES / 5)));
        }
        assert_eq!(seqs(&mut slow), [-1]);
    }

    #[tokio::test]
    async fn a_wait_that_is_given_up_loses_nothing_and_the_text_is_written_once() {
        let hub = Hub::default();
        let mut ears: Vec<_> = (0..3).map(|_| hub.subscribe(&application("app"))).collect();
        for ear in &mut ears {
            let waited = tokio::time::timeout(std::time::Duration::from_millis(1), ear.next()).await;
            assert!(waited.is_err());
        }
        hub.tell(message("a", "app", 1, "x"));
        let mut written = 0;
        for ear in &mut ears {
            let Heard::News(news) = ear.next().await else { panic!("lagging") };
            let text = news.text(|_| {
                written += 1;
                "frame".into()
            });
            assert_eq!(text.as_str(), "frame");
        }
        assert_eq!(written, 1);
    }
}
