//! What an application decides about its chat, as it stands in the application's settings.
//!
//! Invariant: what is stored was checked, so that reading never fails; a value of an older release that no longer is
//! one is taken for the default. Secrets are sealed before they are stored.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kernel::limit::Rate;
use kernel::secret::SecretError;
use kernel::{Secret, Secrets};
use url::Url;

use super::calling::Allowed;
use super::model::Id;

/// Purpose under which identity secrets are sealed.
pub const IDENTITY_SECRET_PURPOSE: &str = "app.chat_identity_secret";
/// The settings by name.
pub const SETTING_NAMES: [&str; 19] = [
    "identity",
    "compat_shape",
    "allowed_origins",
    IDENTITY_SECRETS[0],
    IDENTITY_SECRETS[1],
    "limit_sessions_per_minute",
    "limit_conversations_per_hour",
    "limit_messages_per_minute",
    "limit_messages_burst",
    "limit_sockets",
    "limit_characters",
    "limit_uploads_per_hour",
    "limit_upload_bytes",
    "chat_assign",
    "limit_calls_per_hour",
    "chat_calls",
    "chat_record",
    "chat_record_shared",
    "chat_push_text",
];
/// Two live ones, so that they can be changed without a gap.
pub const IDENTITY_SECRETS: [&str; 2] = ["identity_secret", "identity_secret_next"];
/// Lengths of an identity secret, bytes.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 16..=512;
/// Most origins.
const MAX_ORIGINS: usize = 50;
/// The greatest rate or number that a limit can be set to.
const MAX_LIMIT: u32 = 1_000_000;
/// Most characters of a message: what a frame can carry.
const MAX_CHARACTERS: usize = 16_000;
/// Largest attachment that can be allowed, bytes.
const MAX_UPLOAD_BYTES: u64 = 100 * 1024 * 1024;

/// How a visitor is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Identity {
    /// Anybody may do what document 002 shows, without a key: for trying its samples.
    Open,
    /// The token that came with the room; the room's id alone lets a visitor send and read there.
    #[default]
    Token,
    /// The application vouches for each visitor.
    Verified,
}

impl Identity {
    /// The word of the setting.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Token => "token",
            Self::Verified => "verified",
        }
    }
}

/// In which shape documented routes answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum CompatShape {
    /// As document 002 prints it.
    #[default]
    Documented,
    /// As the service behind the document answered.
    Observed,
}

impl CompatShape {
    /// The word of the setting.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Documented => "documented",
            Self::Observed => "observed",
        }
    }
}

/// How rooms find whoever answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Assign {
    /// They are given to whoever takes chats and is free.
    #[default]
    Auto,
    /// People take them.
    Manual,
}

impl Assign {
    /// The word of the setting.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Manual => "manual",
        }
    }
}

/// What visitors may use up. 0 of a rate = no limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// New visitors from one address.
    pub sessions_per_minute: u32,
    /// New rooms of one visitor.
    pub conversations_per_hour: u32,
    /// Messages of one visitor in the long run.
    pub messages_per_minute: u32,
    /// Messages of one visitor at once.
    pub messages_burst: u32,
    /// Sockets of one visitor at once.
    pub sockets: u32,
    /// Longest message, characters.
    pub characters: usize,
    /// Attachments of one visitor.
    pub uploads_per_hour: u32,
    /// Largest attachment, bytes.
    pub upload_bytes: u64,
    /// Calls that one visitor asks for.
    pub calls_per_hour: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            sessions_per_minute: 10,
            conversations_per_hour: 6,
            messages_per_minute: 30,
            messages_burst: 10,
            sockets: 5,
            characters: 8_000,
            uploads_per_hour: 20,
            upload_bytes: 10 * 1024 * 1024,
            calls_per_hour: 3,
        }
    }
}

impl Limits {
    /// New visitors from one address.
    #[must_use]
    pub fn sessions(&self) -> Rate {
        Rate::per_minute(self.sessions_per_minute)
    }

    /// New rooms of one visitor.
    #[must_use]
    pub fn conversations(&self) -> Rate {
        Rate::per_hour(self.conversations_per_hour)
    }

    /// Messages of one visitor.
    #[must_use]
    pub fn messages(&self) -> Rate {
        Rate::per_minute(self.messages_per_minute).bursting(self.messages_burst)
    }

    /// Attachments of one visitor.
    #[must_use]
    pub fn uploads(&self) -> Rate {
        Rate::per_hour(self.uploads_per_hour)
    }

    /// Calls that one visitor asks for.
    #[must_use]
    pub fn calls(&self) -> Rate {
        Rate::per_hour(self.calls_per_hour)
    }
}

/// The settings of one application.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ChatSettings {
    /// How a visitor is known.
    pub identity: Identity,
    /// In which shape documented routes answer.
    pub compat_shape: CompatShape,
    /// Pages that may use the chat, beside our own: `https://shop.example`. `*` = any.
    pub allowed_origins: Vec<String>,
    /// Secrets by which the application vouches for a visitor, sealed for [`IDENTITY_SECRET_PURPOSE`].
    pub identity_secrets: Vec<String>,
    /// What visitors may use up.
    pub limits: Limits,
    /// How rooms find whoever answers.
    pub assign: Assign,
    /// Which calls may be begun in a chat.
    pub calls: Allowed,
    /// Calls are recorded, once both have heard that they are.
    pub records_calls: bool,
    /// Visitors may hear the recordings of their calls.
    pub shares_recordings: bool,
    /// What browsers are told while no page is open holds the words of the message.
    pub pushes_text: bool,
}

impl ChatSettings {
    /// Those of an application that was ended: it vouches for nobody any more, and no page is its own, so that its rooms
    /// are opened by their visitors' tokens and by those who answer, not by their ids.
    #[must_use]
    pub fn ended() -> Self {
        Self { identity: Identity::Verified, ..Self::default() }
    }

    /// The settings of an application as they are stored.
    #[must_use]
    pub fn read(stored: &BTreeMap<String, String>) -> Self {
        let mut settings = Self::default();
        for name in SETTING_NAMES {
            if let Some(value) = stored.get(name) {
                // Checked when it was stored.
                let _ = settings.set(name, value);
            }
        }
        settings
    }

    /// Whether `value` is one of the setting `name`, which must be one of [`SETTING_NAMES`]. An empty value puts a
    /// setting back to its default. A secret is checked before it is sealed.
    ///
    /// # Errors
    /// What is expected, for people.
    pub fn check(name: &str, value: &str) -> Result<(), &'static str> {
        if value.is_empty() {
            return Ok(());
        }
        if IDENTITY_SECRETS.contains(&name) && !SECRET_BYTES.contains(&value.len()) {
            return Err("a secret of 16 to 512 bytes");
        }
        Self::default().set(name, value)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), &'static str> {
        let limits = &mut self.limits;
        match name {
            "identity" => {
                self.identity = [Identity::Open, Identity::Token, Identity::Verified]
                    .into_iter()
                    .find(|identity| identity.as_str() == value)
                    .ok_or("open, token or verified")?;
            }
            "compat_shape" => {
                self.compat_shape = [CompatShape::Documented, CompatShape::Observed]
                    .into_iter()
                    .find(|shape| shape.as_str() == value)
                    .ok_or("documented or observed")?;
            }
            "chat_assign" => {
                self.assign = [Assign::Auto, Assign::Manual]
                    .into_iter()
                    .find(|assign| assign.as_str() == value)
                    .ok_or("auto or manual")?;
            }
            "allowed_origins" => self.allowed_origins = origins(value)?,
            secret if IDENTITY_SECRETS.contains(&secret) => self.identity_secrets.push(value.to_owned()),
            "limit_sessions_per_minute" => limits.sessions_per_minute = number(value, MAX_LIMIT)?,
            "limit_conversations_per_hour" => limits.conversations_per_hour = number(value, MAX_LIMIT)?,
            "limit_messages_per_minute" => limits.messages_per_minute = number(value, MAX_LIMIT)?,
            "limit_messages_burst" => limits.messages_burst = number(value, MAX_LIMIT)?,
            "limit_sockets" => limits.sockets = number(value, MAX_LIMIT)?,
            "limit_characters" => limits.characters = number(value, MAX_CHARACTERS).and_then(some)?,
            "limit_uploads_per_hour" => limits.uploads_per_hour = number(value, MAX_LIMIT)?,
            "limit_upload_bytes" => limits.upload_bytes = number(value, MAX_UPLOAD_BYTES).and_then(some)?,
            "limit_calls_per_hour" => limits.calls_per_hour = number(value, MAX_LIMIT)?,
            "chat_calls" => self.calls = Allowed::parse(value).ok_or("off, browser, phone or both")?,
            "chat_record" => self.records_calls = flag(value)?,
            "chat_record_shared" => self.shares_recordings = flag(value)?,
            "chat_push_text" => self.pushes_text = flag(value)?,
            _ => return Err("no setting of chat"),
        }
        Ok(())
    }

    /// The live secrets by which the application vouches for a visitor.
    ///
    /// # Errors
    /// One that another `secret.key` sealed.
    pub fn open_identity_secrets(&self, secrets: &Secrets) -> Result<Vec<Secret>, SecretError> {
        self.identity_secrets.iter().map(|sealed| secrets.open_sealed(IDENTITY_SECRET_PURPOSE, sealed)).collect()
    }

    /// What whoever set this ought to be told, for people.
    #[must_use]
    pub fn warnings(&self) -> Vec<&'static str> {
        match self.identity {
            Identity::Open => vec![
                "identity=open: whoever reaches this server reads and writes every chat of this application without a \
                key; it is for trying samples on this machine",
            ],
            Identity::Verified if self.identity_secrets.is_empty() => {
                vec!["identity=verified without identity_secret: no visitor can open a chat"]
            }
            Identity::Token | Identity::Verified => Vec::new(),
        }
    }

    /// Whether a page of this origin may use the chat, beside our own pages: under `open` with an empty list, any.
    #[must_use]
    pub fn allows_origin(&self, origin: &str) -> bool {
        (self.identity == Identity::Open && self.allowed_origins.is_empty())
            || self.allowed_origins.iter().any(|allowed| allowed == "*" || allowed.eq_ignore_ascii_case(origin))
    }
}

fn flag(value: &str) -> Result<bool, &'static str> {
    value.parse().map_err(|_| "true or false")
}

fn number<T: std::str::FromStr + PartialOrd>(value: &str, most: T) -> Result<T, &'static str> {
    let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    value.parse().ok().filter(|number| digits && *number <= most).ok_or("a whole number, not too large")
}

/// A size of which 0 would refuse everything.
fn some<T: Default + PartialEq>(number: T) -> Result<T, &'static str> {
    if number == T::default() { Err("a whole number from 1, not too large") } else { Ok(number) }
}

/// Origins joined by commas; each is written as browsers write it.
fn origins(value: &str) -> Result<Vec<String>, &'static str> {
    const EXPECTED: &str = "origins such as https://shop.example joined by commas, at most 50, or *";
    let origin = |text: &str| {
        let text = text.trim();
        if text == "*" {
            return Some(text.to_owned());
        }
        let url = Url::parse(text).ok()?;
        let is_web = matches!(url.scheme(), "http" | "https" | "chrome-extension" | "moz-extension");
        let is_bare = matches!(url.path(), "" | "/") && url.query().is_none() && url.fragment().is_none();
        let host = url.host_str().filter(|_| is_web && is_bare && url.username().is_empty())?;
        let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        Some(format!("{}://{host}{port}", url.scheme()))
    };
    let origins: Option<Vec<String>> = value.split(',').map(origin).collect();
    origins.filter(|origins| origins.len() <= MAX_ORIGINS).ok_or(EXPECTED)
}

/// How old remembered settings may be, milliseconds. Another process (the command line) may have changed them.
const FRESH_MS: i64 = 1_000;
/// Applications whose settings are remembered.
const MAX_REMEMBERED: usize = 10_000;

/// Settings that were read a moment ago.
#[derive(Debug, Default)]
pub(super) struct Remembered(Mutex<HashMap<Id, Known>>);

#[derive(Debug)]
struct Known {
    org: Id,
    settings: Arc<ChatSettings>,
    since_ms: i64,
}

impl Remembered {
    fn known(&self) -> MutexGuard<'_, HashMap<Id, Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn get(&self, org: &Id, app: &Id, now_ms: i64) -> Option<Arc<ChatSettings>> {
        let all = self.known();
        let known = all.get(app).filter(|known| known.org == *org);
        known.filter(|known| (0..FRESH_MS).contains(&(now_ms - known.since_ms))).map(|known| known.settings.clone())
    }

    pub(super) fn put(&self, org: &Id, app: &Id, settings: ChatSettings, now_ms: i64) -> Arc<ChatSettings> {
        let settings = Arc::new(settings);
        let mut known = self.known();
        if known.len() >= MAX_REMEMBERED {
            known.clear();
        }
        known.insert(app.clone(), Known { org: org.clone(), settings: settings.clone(), since_ms: now_ms });
        settings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_is_read_and_what_is_wrong_is_named() {
        let stored = [
            ("identity", "verified"),
            ("compat_shape", "observed"),
            ("allowed_origins", "https://Shop.example/, http://localhost:8080,chrome-extension://abc"),
            ("identity_secret", "sealed 1"),
            ("identity_secret_next", "sealed 2"),
            ("limit_messages_per_minute", "0"),
            ("limit_upload_bytes", "1000"),
            ("chat_calls", "both"),
            ("chat_record", "true"),
            ("chat_push_text", "true"),
            ("veto_url", "another desk's"),
        ];
        let stored = stored.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let settings = ChatSettings::read(&stored);
        assert_eq!((settings.identity, settings.compat_shape), (Identity::Verified, CompatShape::Observed));
        assert_eq!(settings.identity_secrets, ["sealed 1", "sealed 2"]);
        assert_eq!((settings.limits.messages_per_minute, settings.limits.upload_bytes), (0, 1_000));
        assert_eq!(settings.limits.sockets, Limits::default().sockets);
        assert!(settings.calls.phone && settings.records_calls && !settings.shares_recordings);
        assert!(settings.pushes_text && !ChatSettings::default().pushes_text, "no words leave unless it was said so");
        for good in ["https://shop.example", "http://localhost:8080", "chrome-extension://abc"] {
            assert!(settings.allows_origin(good), "{good}");
        }
        for bad in ["http://shop.example", "https://shop.example:444", "https://evil.example", "null", ""] {
            assert!(!settings.allows_origin(bad), "{bad}");
        }
        assert!(!ChatSettings::default().allows_origin("https://shop.example"), "our own pages only");
        for (name, wrong) in [
            ("identity", "opened"),
            ("compat_shape", "both"),
            ("allowed_origins", "shop.example"),
            ("allowed_origins", "https://shop.example/path"),
            ("allowed_origins", "javascript:alert(1)"),
            ("identity_secret", "short"),
            ("chat_calls", "yes"),
            ("chat_record", "1"),
            ("chat_push_text", "1"),
            ("limit_sockets", "-1"),
            ("limit_sockets", "+1"),
            ("limit_characters", "1000000"),
            ("limit_characters", "0"),
            ("limit_upload_bytes", "0"),
        ] {
            assert!(ChatSettings::check(name, wrong).is_err(), "{name}={wrong}");
        }
        assert!(SETTING_NAMES.iter().all(|name| ChatSettings::check(name, "").is_ok()), "back to the default");
        assert!(
            ChatSettings::check("limit_sockets", "7").is_ok() && ChatSettings::check("allowed_origins", "*").is_ok()
        );
    }

    #[test]
    fn what_is_dangerous_or_of_no_use_is_told() {
        let read = |settings: &[(&str, &str)]| {
            let stored = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            ChatSettings::read(&stored).warnings().join(" ")
        };
        assert_eq!(read(&[]), "");
        assert!(read(&[("identity", "open")]).starts_with("identity=open:"));
        assert!(read(&[("identity", "verified")]).contains("without identity_secret"));
        assert_eq!(read(&[("identity", "verified"), ("identity_secret_next", "sealed")]), "");
    }

    #[test]
    fn what_is_remembered_is_fresh_and_of_one_organisation() {
        let remembered = Remembered::default();
        let (org, app): (Id, Id) = ("org".into(), "app".into());
        remembered.put(&org, &app, ChatSettings::default(), 1_000);
        assert!(remembered.get(&org, &app, 1_999).is_some());
        assert!(remembered.get(&org, &app, 2_000).is_none() && remembered.get(&org, &app, 999).is_none());
        assert!(remembered.get(&"other".into(), &app, 1_000).is_none());
    }
}
