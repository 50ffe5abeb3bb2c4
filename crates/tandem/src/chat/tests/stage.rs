//! A desk on a fresh store, with one organisation and one application.

use std::collections::BTreeMap;

use kernel::app::NewApp;
use kernel::db::testing::TestDb;
use kernel::org::NewOrg;
use kernel::{Clock, ClockHand, Config, Ids, Kernel, Role};

use crate::chat::model::{Draft, Id, Message, Visitor};
use crate::chat::{Asker, Chats, FlowBegins, How, OpenRoom, Opened, Opener};

/// Where the fake clock stands at first: 2026-11-21T12:00:00Z.
pub(in crate::chat) const NOON: i64 = 1_795_262_400_000;

pub(in crate::chat) struct Stage {
    pub(in crate::chat) chats: Chats,
    pub(in crate::chat) kernel: Kernel,
    pub(in crate::chat) hand: ClockHand,
    pub(in crate::chat) org: Id,
    pub(in crate::chat) app: Id,
    clock: Clock,
    db: TestDb,
    _data: tempfile::TempDir,
}

impl Stage {
    /// A stage on each engine at hand. No limit is in the way unless settings name one.
    pub(in crate::chat) async fn each(settings: &[(&str, &str)]) -> Vec<Self> {
        let mut stages = Vec::new();
        for db in TestDb::each().await {
            stages.push(Self::on(db, settings).await);
        }
        stages
    }

    pub(in crate::chat) async fn sqlite(settings: &[(&str, &str)]) -> Self {
        Self::on(TestDb::sqlite().await, settings).await
    }

    async fn on(db: TestDb, settings: &[(&str, &str)]) -> Self {
        let data = tempfile::tempdir().unwrap();
        let (clock, hand) = Clock::fake(NOON);
        let kernel = node(&db, &clock, data.path(), Ids::os());
        let org = kernel.create_org(NewOrg { name: "Dev".into(), ..NewOrg::default() }).await.unwrap();
        let unlimited = ["limit_sessions_per_minute", "limit_conversations_per_hour", "limit_messages_per_minute"]
            .map(|n| (n, "0"));
        let settings: BTreeMap<_, _> = unlimited.iter().chain(settings).copied().collect();
        let settings = settings.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let new = NewApp { name: "Shop".into(), settings, ..NewApp::default() };
        let (app, _) = kernel.create_app(&org.id, new).await.unwrap();
        let chats = Chats::start(&kernel);
        Self { chats, kernel, hand, org: org.id.into(), app: app.id.into(), clock, db, _data: data }
    }

    /// Another node on the same store, with a desk of its own.
    pub(in crate::chat) fn second_node(&self) -> Chats {
        Chats::start(&node(&self.db, &self.clock, self._data.path(), Ids::os()))
    }

    /// Two nodes on the same store that make the same ids, as one node does that tries a commit again.
    pub(in crate::chat) fn twins(&self) -> [Chats; 2] {
        [(); 2].map(|()| Chats::start(&node(&self.db, &self.clock, self._data.path(), Ids::seeded(1))))
    }

    /// A room by these keys.
    pub(in crate::chat) fn wish(&self, opener: Opener, how: How) -> OpenRoom {
        OpenRoom {
            org: self.org.clone(),
            app: self.app.clone(),
            opener,
            how,
            user_id: "ABCD12345".into(),
            label: "DOWELL12345".into(),
            portfolio: "umair".into(),
            product: "WIFIQRCODE".into(),
            is_login: true,
            flow: FlowBegins::AtOnce,
            once: None,
            address: None,
        }
    }

    /// A new room of a new visitor, who asks.
    pub(in crate::chat) async fn room(&self) -> (Opened, Asker) {
        let opened = self.chats.open_room(self.wish(Opener::Stranger, How::New)).await.unwrap();
        let token = opened.token.clone().unwrap();
        let visitor: Visitor = self.chats.authenticate_visitor(token.expose()).await.unwrap().unwrap();
        (opened, Asker::from(&visitor))
    }

    /// How many attachments lie on the disk.
    pub(in crate::chat) fn files_kept(&self) -> usize {
        let folder = self._data.path().join("files/chat").join(&*self.org);
        std::fs::read_dir(folder).map_or(0, Iterator::count)
    }

    pub(in crate::chat) fn person(&self, id: &str, role: Role) -> Asker {
        Asker::Person { org: self.org.clone(), id: id.into(), role }
    }

    pub(in crate::chat) fn application(&self) -> Asker {
        Asker::App { org: self.org.clone(), app: self.app.clone() }
    }

    /// All messages of a room as the store has them.
    pub(in crate::chat) async fn stored(&self, room: &str) -> Vec<Message> {
        let room = self.chats.room(&self.application(), room).await.unwrap();
        let mut all: Vec<Message> = Vec::new();
        loop {
            let after = all.last().map_or(0, |message| message.seq);
            let page = self.chats.messages_of(&room, after, 500).await.unwrap();
            if page.is_empty() {
                return all;
            }
            all.extend(page);
        }
    }
}

fn node(db: &TestDb, clock: &Clock, data: &std::path::Path, ids: Ids) -> Kernel {
    let config = Config { data: data.to_owned(), ..Config::default() };
    Kernel::assemble(config, db.db.clone(), db.bus.clone(), clock.clone(), ids).unwrap()
}

/// Words, with the sender's own name for them.
pub(in crate::chat) fn draft(words: &str, cid: &str) -> Draft {
    Draft { cid: Some(cid.into()), ..Draft::text(words) }
}
