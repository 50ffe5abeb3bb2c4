//! Notices: mail and SMS to people, as rows. With a provider (`[mail]`, `[sms]`) a courier sends them; without one they
//! are kept, and the console's outbox page shows them.
//!
//! Invariant: a notice is written in the commit of what it tells about, so that neither exists without the other. It
//! is sent at least once: what was sent and not yet marked when the server died is sent again, with the same id. A
//! link in it lies sealed, and goes as soon as it was sent or is not good any more.

mod courier;
mod mail;
mod sms;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::args;
use crate::config::Config;
use crate::db::{DbError, Row, Wake, Write};
use crate::kernel::Kernel;
use crate::record::RecordError;
use crate::secret::{Secret, Secrets};

use courier::Courier;
pub use mail::is_mail_address;
pub(crate) use mail::{Server as MailServer, read_sender};
pub(crate) use sms::check_template;

/// Longest text of a notice, in bytes.
const MAX_BODY: usize = 64 * 1024;
/// Longest subject, in bytes.
const MAX_SUBJECT: usize = 500;
/// Longest recipient, in bytes; a longer one is no address, and is refused when it is sent.
const MAX_RECIPIENT: usize = 320;
/// A notice that says nothing else is worth sending for a day.
const LIFE_MS: i64 = 24 * 3_600_000;
/// Stands in a stored text where its link comes; no text from outside holds it.
const LINK_PLACE: char = '\u{1a}';
/// What links are sealed for.
const LINK_PURPOSE: &str = "notice.link";

crate::statements! {
    INSERT = "insert into notice (id, org, channel, recipient, subject, body, link, state, created_at, due_at, \
        expires_at, about) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9, $10, $11)";
    WITHDRAW = "update notice set state = 'failed', error = $3, link = null \
        where org = $1 and about = $2 and state = 'pending'";
    TO = "select id, channel, recipient, subject, body, link, state, error, attempts, created_at, due_at, sent_at, \
        expires_at from notice where org = $1 and recipient = $2 order by id limit 1000";
    ERASE_TO = "delete from notice where org = $1 and recipient = $2";
    ABOUT = "select id, channel, recipient, subject, body, link, state, error, attempts, created_at, due_at, sent_at, \
        expires_at from notice where org = $1 and about = $2 and about is not null order by id limit 1000";
    ERASE_ABOUT = "delete from notice where org = $1 and about = $2 and about is not null";
    LIST = "select id, channel, recipient, subject, body, link, state, error, attempts, created_at, due_at, sent_at, \
        expires_at from notice where org = $1 and (id < $2 or $2 = '') order by id desc limit $3";
    ONE = "select id, channel, recipient, subject, body, link, state, error, attempts, created_at, due_at, sent_at, \
        expires_at from notice where org = $1 and id = $2";
    AGAIN = "update notice set state = 'pending', due_at = $3, expires_at = $4, attempts = 0, error = null \
        where org = $1 and id = $2 and state in ('kept', 'failed')";
    KEEP = "update notice set state = 'kept' where channel = $1 and state = 'pending'";
}

/// By which way a notice goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    /// To a mail address.
    Mail,
    /// To a number.
    Sms,
}

impl Channel {
    fn as_str(self) -> &'static str {
        match self {
            Self::Mail => "mail",
            Self::Sms => "sms",
        }
    }

    /// Whether the operator named a provider for it.
    #[must_use]
    pub fn has_provider(self, config: &Config) -> bool {
        match self {
            Self::Mail => config.mail.server.is_some(),
            Self::Sms => config.sms.url.is_some(),
        }
    }
}

/// What became of a notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// There was no provider: it waits for somebody who hands it over.
    Kept,
    /// It is being sent, or will be tried again.
    Pending,
    /// A provider took it.
    Sent,
    /// It was refused for good, or its time was up.
    Failed,
}

impl State {
    /// As it is stored, and shown.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::Pending => "pending",
            Self::Sent => "sent",
            Self::Failed => "failed",
        }
    }

    fn read(text: &str) -> Self {
        match text {
            "pending" => Self::Pending,
            "sent" => Self::Sent,
            "failed" => Self::Failed,
            _ => Self::Kept,
        }
    }
}

/// A notice about to be written.
#[derive(Debug, Clone)]
pub struct NewNotice {
    channel: Channel,
    recipient: String,
    subject: String,
    body: String,
    link: Option<Secret>,
    until_ms: Option<i64>,
    about: Option<String>,
}

impl NewNotice {
    /// A mail. What is no single line in the address or the subject becomes one; a text longer than 64 KiB is cut.
    #[must_use]
    pub fn mail(to: &str, subject: &str, body: &str) -> Self {
        let subject = cut(&one_line(subject), MAX_SUBJECT).to_owned();
        let recipient = cut(&one_line(to), MAX_RECIPIENT).to_owned();
        Self { channel: Channel::Mail, recipient, subject, body: plain(body), link: None, until_ms: None, about: None }
    }

    /// An SMS.
    #[must_use]
    pub fn sms(to: &str, text: &str) -> Self {
        Self { channel: Channel::Sms, ..Self::mail(to, "", text) }
    }

    /// Puts a link that opens something at the end of the text as it is now, good until a time (UTC milliseconds):
    /// after it the notice is not sent any more.
    #[must_use]
    pub fn with_link(mut self, url: impl Into<Secret>, until_ms: i64) -> Self {
        self.body.retain(|c| c != LINK_PLACE);
        self.body.push(LINK_PLACE);
        self.link = Some(url.into());
        self.until(until_ms)
    }

    /// Adds to the text.
    #[must_use]
    pub fn and(mut self, more: &str) -> Self {
        self.body.push_str(&plain(more));
        self
    }

    /// What it tells of: [`withdraw_notices_write`] takes it back by that name.
    #[must_use]
    pub fn about(mut self, what: impl Into<String>) -> Self {
        self.about = Some(what.into());
        self
    }

    /// After this time (UTC milliseconds) there is no point in sending it.
    #[must_use]
    pub fn until(mut self, until_ms: i64) -> Self {
        self.until_ms = Some(until_ms);
        self
    }
}

/// A text without control characters, but for line ends and tabs.
fn plain(text: &str) -> String {
    let text: String = text.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect();
    cut(&text, MAX_BODY).to_owned()
}

/// A text in one line: what ends a line could begin a header of somebody else's.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') { ' ' } else { c }).collect()
}

fn cut(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max)]
}

/// A notice in the outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// `ntc_...`, in the order of time.
    pub id: String,
    /// By which way.
    pub channel: Channel,
    /// A mail address or a number.
    pub recipient: String,
    /// Of a mail; empty for an SMS.
    pub subject: String,
    /// What became of it.
    pub state: State,
    /// Why it is not sent, in words of ours or of the provider.
    pub reason: Option<String>,
    /// How often it was tried.
    pub attempts: i64,
    /// UTC milliseconds.
    pub created_at: i64,
    /// When it is tried next, while it is pending; UTC milliseconds.
    pub due_at: i64,
    /// When a provider took it; UTC milliseconds.
    pub sent_at: Option<i64>,
    /// After this it is not sent any more; UTC milliseconds.
    pub expires_at: i64,
    /// With [`LINK_PLACE`] where the link comes.
    body: String,
    /// While it is good and was not sent.
    link: Option<Secret>,
}

impl Notice {
    /// The text, its link replaced by a word of why it is not there when it was sent or is not good any more. A link
    /// may sign somebody in: show this to whoever could have made it.
    #[must_use]
    pub fn text(&self) -> String {
        let gone = if self.state == State::Sent { "(the link was sent)" } else { "(the link is not good any more)" };
        self.body.replace(LINK_PLACE, self.link.as_ref().map_or(gone, Secret::expose))
    }

    /// The text with this word in place of its link.
    #[must_use]
    pub fn text_without_link(&self, instead: &str) -> String {
        self.body.replace(LINK_PLACE, instead)
    }

    /// Somebody else's words about it, without the link that they may repeat.
    fn without_link(&self, words: &str) -> String {
        match self.link.as_ref().map(Secret::expose).filter(|link| !link.is_empty()) {
            Some(link) => words.replace(link, "(link)"),
            None => words.to_owned(),
        }
    }

    /// Whether the text has a link, good or not.
    fn has_link(&self) -> bool {
        self.body.contains(LINK_PLACE)
    }

    /// Whether it could be sent again: it was not sent, and a link in it is still good.
    #[must_use]
    pub fn can_be_sent_again(&self) -> bool {
        matches!(self.state, State::Kept | State::Failed) && (!self.has_link() || self.link.is_some())
    }

    fn read(row: &Row, secrets: &Secrets, now_ms: i64) -> Result<Self, DbError> {
        let expires_at = row.int("expires_at")?;
        let sealed = row.opt_text("link")?.filter(|_| expires_at > now_ms);
        Ok(Self {
            id: row.text("id")?,
            channel: if row.text("channel")? == "sms" { Channel::Sms } else { Channel::Mail },
            recipient: row.text("recipient")?,
            subject: row.text("subject")?,
            state: State::read(&row.text("state")?),
            reason: row.opt_text("error")?,
            attempts: row.int("attempts")?,
            created_at: row.int("created_at")?,
            due_at: row.int("due_at")?,
            sent_at: row.opt_int("sent_at")?,
            expires_at,
            body: row.text("body")?,
            // What another key sealed is as good as gone.
            link: sealed.and_then(|sealed| secrets.open_sealed(LINK_PURPOSE, &sealed).ok()),
        })
    }
}

/// What a provider is handed.
#[derive(Debug)]
struct Letter<'a> {
    /// The notice's id: the same each time it is sent.
    id: &'a str,
    to: &'a str,
    subject: &'a str,
    text: &'a str,
    /// UTC milliseconds.
    now_ms: i64,
}

/// What a provider made of a letter.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Outcome {
    /// It is the provider's now.
    Sent,
    /// It will never take it.
    Refused(String),
    /// It may take it later.
    Later(String),
    /// It was handed over, and nothing came back: it may have gone out.
    Unknown(String),
    /// There is no provider to be spoken with: others need not be tried for a while either.
    Unreachable(String),
}

/// Carries notices away.
trait Provider: Send + Sync + 'static {
    /// Hands one over.
    fn send<'a>(&'a self, letter: &'a Letter<'a>) -> BoxFuture<'a, Outcome>;
}

/// The write that takes back what waits to be sent and is not true any more: commit it with what has changed.
#[must_use]
pub fn withdraw_notices_write(org: &str, about: &str) -> Write {
    Write::new(WITHDRAW, args![org, about, "withdrawn: what it tells has changed"])
}

/// The write that erases what somebody was told, by the address or number it went to.
#[must_use]
pub fn erase_notices_write(org: &str, recipient: &str) -> Write {
    Write::new(ERASE_TO, args![org, recipient])
}

/// The write that erases what was told of something, whoever it went to.
#[must_use]
pub fn erase_notices_about_write(org: &str, about: &str) -> Write {
    Write::new(ERASE_ABOUT, args![org, about])
}

impl Kernel {
    /// The write that puts a notice into the outbox; commit it with what it tells about. `org` may be empty: such a
    /// notice is in nobody's outbox.
    ///
    /// # Errors
    /// When a link cannot be sealed.
    pub fn notice_write(&self, org: &str, new: NewNotice) -> Result<Write, RecordError> {
        let now_ms = self.clock.now_ms();
        let link = new.link.map(|link| self.secrets.seal(LINK_PURPOSE, link.expose())).transpose()?;
        let state = if new.channel.has_provider(&self.config) { State::Pending } else { State::Kept };
        let args = args![
            self.ids.new("ntc", now_ms),
            org,
            new.channel.as_str(),
            new.recipient,
            new.subject,
            new.body,
            link,
            state.as_str(),
            now_ms,
            new.until_ms.unwrap_or(now_ms + LIFE_MS),
            new.about
        ];
        Ok(Write::new(INSERT, args).waking(Wake::Notices))
    }

    /// The organisation's notices, the newest first, from before `before` (`""` = from the newest).
    ///
    /// # Errors
    /// When the store fails.
    pub async fn notices(&self, org: &str, before: &str, limit: i64) -> Result<Vec<Notice>, RecordError> {
        let now_ms = self.clock.now_ms();
        let rows = self.db.all(LIST, args![org, before, limit]).await?;
        Ok(rows.iter().map(|row| Notice::read(row, &self.secrets, now_ms)).collect::<Result<_, _>>()?)
    }

    /// What somebody was told, by the address or number it went to, the oldest first; the first thousand.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn notices_to(&self, org: &str, recipient: &str) -> Result<Vec<Notice>, DbError> {
        let now_ms = self.clock.now_ms();
        let rows = self.db.all(TO, args![org, recipient]).await?;
        rows.iter().map(|row| Notice::read(row, &self.secrets, now_ms)).collect()
    }

    /// What was told of something, oldest first, at most 1000.
    ///
    /// # Errors
    /// What the store says.
    pub async fn notices_about(&self, org: &str, about: &str) -> Result<Vec<Notice>, DbError> {
        let now_ms = self.clock.now_ms();
        let rows = self.db.all(ABOUT, args![org, about]).await?;
        rows.iter().map(|row| Notice::read(row, &self.secrets, now_ms)).collect()
    }

    /// Sends a notice that was kept, or that failed.
    ///
    /// # Errors
    /// When there is none of this id, it is sent or on its way, there is no provider, or its link is not good any more.
    pub async fn send_notice_again(&self, org: &str, id: &str) -> Result<(), RecordError> {
        let now_ms = self.clock.now_ms();
        let row = self.db.one(ONE, args![org, id]).await?.ok_or_else(|| RecordError::not_found("notice", id))?;
        let notice = Notice::read(&row, &self.secrets, now_ms)?;
        if !notice.channel.has_provider(&self.config) {
            let section = notice.channel.as_str();
            return Err(RecordError::invalid(
                "id",
                format!("there is no provider: the operator names one in [{section}]"),
            ));
        }
        if !notice.can_be_sent_again() {
            let why =
                if notice.has_link() { "the link in it is not good any more: make a new one" } else { "it was sent" };
            return Err(RecordError::invalid("id", why));
        }
        // A link's time stays its time.
        let until_ms = if notice.has_link() { notice.expires_at } else { now_ms + LIFE_MS };
        let again = Write::guarded(AGAIN, args![org, id, now_ms, until_ms]).waking(Wake::Notices);
        self.db.writer().commit(vec![again]).await?;
        Ok(())
    }

    /// Sets a courier to work for each channel that has a provider. What waits for a provider that is gone is kept.
    pub(crate) fn start_notices(&self) {
        for channel in [Channel::Mail, Channel::Sms] {
            match provider(channel, self) {
                Some(Ok(provider)) => {
                    self.tasks.spawn(Courier::new(self.clone(), channel, provider).run(self.stop.clone()));
                }
                Some(Err(error)) => {
                    tracing::error!(error, channel = channel.as_str(), "notices wait: the provider cannot be used");
                }
                None => {
                    let db = self.db.clone();
                    self.tasks.spawn(async move {
                        if let Err(error) = db.run(KEEP, args![channel.as_str()]).await {
                            tracing::error!(%error, channel = channel.as_str(), "notices are not looked through");
                        }
                    });
                }
            }
        }
    }
}

fn provider(channel: Channel, kernel: &Kernel) -> Option<Result<Arc<dyn Provider>, String>> {
    let config = &kernel.config;
    match channel {
        Channel::Mail => config.mail.server.is_some().then(|| Ok(Arc::new(mail::Mail::new(config)?) as _)),
        Channel::Sms => {
            config.sms.url.is_some().then(|| Ok(Arc::new(sms::Sms::new(config, kernel.egress.clone())?) as _))
        }
    }
}

/// Asks a channel's provider whether it is there and takes our credentials, without sending anything: what it is like,
/// or what is wrong. `None` when no provider is named.
pub async fn try_provider(channel: Channel, config: &Config) -> Option<Result<String, String>> {
    if !channel.has_provider(config) {
        return None;
    }
    Some(match channel {
        Channel::Mail => match mail::Mail::new(config) {
            Ok(mail) => mail.examine().await,
            Err(error) => Err(error),
        },
        Channel::Sms => {
            let egress = crate::egress::Egress::new(&config.egress).map_err(|error| error.to_string());
            match egress.and_then(|egress| sms::Sms::new(config, egress)) {
                Ok(sms) => sms.examine().await,
                Err(error) => Err(error),
            }
        }
    })
}
