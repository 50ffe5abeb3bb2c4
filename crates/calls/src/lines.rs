//! People with a phone: an extension and its first SIP credential, made together with the person.
//!
//! Invariant: a password is shown once and kept as HA1 hashes only; (domain, user name) and
//! (organisation, number) lead to one extension. Source: docs/contracts/platform.md, "device
//! credential"; RFC 8760 for SHA-256.

use kernel::db::{DbError, Row, Write};
use kernel::person::NewPerson;
use kernel::{Kernel, Org, RecordError, Role, Secret, args};
use md5::{Digest, Md5};
use sha2::Sha256;

use crate::directory;
use crate::numbers;

/// Ends the domain of extensions whose number is taken at the server's own address.
pub(crate) const LOCAL_SUFFIX: &str = ".localhost";
/// Realm of the server's own address.
const LOCAL_REALM: &str = "tandem";
/// Letters and digits of a SIP password: more than 140 bits.
const PASSWORD_CHARS: usize = 24;
/// Digits of an extension's or team's number.
pub(crate) const NUMBER_DIGITS: std::ops::RangeInclusive<usize> = 2..=7;

kernel::statements! {
    /// Whether a number is free at the server's own address.
    TAKEN_AT_DOMAIN = "select id from extension where domain = $1 and number = $2";
    /// Whether a number is taken inside the organisation.
    TAKEN_INSIDE = "select kind from voice_number where org = $1 and number = $2";
    /// A number inside the organisation.
    NUMBER_INSERT = "insert into voice_number (org, number, kind, target) values ($1, $2, $3, $4)";
    /// An extension.
    EXTENSION_INSERT = "insert into extension (id, org, number, domain, person, name, created_at) values ($1, $2, $3, $4, $5, $6, $7)";
    /// A digest credential.
    CREDENTIAL_INSERT = "insert into sip_credential (id, org, extension, domain, username, realm, ha1_md5, ha1_sha256, created_at)
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    /// Whether whoever calls in vain may leave a message.
    SET_VOICEMAIL = "update extension set voicemail = $3 where org = $1 and number = $2";
    /// A person's phones sign in no more.
    FORGET_CREDENTIALS = "delete from sip_credential where org = $1 and extension in
        (select id from extension where org = $1 and person = $2)";
    /// The first line by which an extension registers.
    LINE_OF = "select l.id, l.domain, l.username, l.realm from sip_credential l
        join extension e on e.id = l.extension and e.org = l.org
        where l.org = $1 and e.number = $2 and l.revoked_at is null order by l.id limit 1";
    /// A line gets another password.
    RENEW_LINE = "update sip_credential set ha1_md5 = $3, ha1_sha256 = $4 where org = $1 and id = $2";
    /// The extensions of an organisation.
    EXTENSIONS = "select number, person, name, domain, voicemail from extension where org = $1 order by number limit 5000";
    EXTENSIONS_OF = "select number, person, name, domain, voicemail from extension where org = $1 and person = $2 \
        order by number limit 5000";
}

/// A person to be made, with or without a phone.
#[derive(Debug, Default)]
pub struct NewUser {
    /// Name for people.
    pub name: String,
    /// Unique in the organisation.
    pub email: Option<String>,
    /// Absent = owner for the organisation's first person, else member.
    pub role: Option<Role>,
    /// Absent = signs in by link only.
    pub password: Option<Secret>,
    /// The number that rings this person.
    pub extension: Option<String>,
}

/// What a softphone needs.
#[derive(Debug)]
pub struct SipAccount {
    /// Digest user name: the extension.
    pub username: String,
    /// Shown once.
    pub password: Secret,
    /// Domain, and registrar, of the address of record.
    pub domain: String,
}

/// A person that was made.
#[derive(Debug)]
pub struct CreatedUser {
    /// `per_...`
    pub id: String,
    /// What the person may do.
    pub role: Role,
    /// The personal token, shown once.
    pub auth_token: Secret,
    /// The number that rings this person.
    pub extension: Option<String>,
    /// Present with an extension.
    pub sip: Option<SipAccount>,
}

/// One extension of an organisation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtensionEntry {
    /// Its number.
    pub number: String,
    /// The person it rings.
    pub person: String,
    /// Shown to whom it calls.
    pub name: String,
    /// `""` is the server's own address.
    pub domain: String,
    /// Whether whoever calls in vain may leave a message.
    pub voicemail: bool,
}

/// Makes a person, and with an extension its number and first SIP credential, in one commit.
///
/// # Errors
/// A field that is refused or taken.
pub async fn create_user(kernel: &Kernel, org: &Org, new: NewUser) -> Result<CreatedUser, RecordError> {
    let NewUser { name, email, role, password, extension } = new;
    if let Some(number) = &extension {
        check_number(kernel, &org.id, "extension", number).await?;
    }
    let mut draft = kernel.draft_person(&org.id, NewPerson { name, email, role, password }).await?;
    let mut sip = None;
    if let Some(number) = &extension {
        let line = draft_line(kernel, org, number, &draft.person.id, &draft.person.name).await?;
        draft.writes.extend(line.writes);
        draft.writes.push(directory::bump());
        sip = Some(line.account);
    }
    kernel.db.writer().commit(draft.writes).await.map_err(|error| match error {
        DbError::Duplicate(_) => {
            RecordError::Taken { field: "extension", value: extension.clone().unwrap_or_default() }
        }
        other => RecordError::Db(other),
    })?;
    directory::changed(kernel);
    Ok(CreatedUser { id: draft.person.id, role: draft.person.role, auth_token: draft.auth_token, extension, sip })
}

/// Gives a person that is there an extension, with its first SIP credential: its only one, or one more.
///
/// # Errors
/// A number that is refused or taken, or [`RecordError::NotFound`] when the organisation has no such person at work.
pub async fn add_extension(kernel: &Kernel, org: &Org, person: &str, number: &str) -> Result<SipAccount, RecordError> {
    let person = kernel.person(&org.id, person).await?;
    if person.disabled_at.is_some() {
        return Err(RecordError::NotFound { what: "person", name: person.id });
    }
    check_number(kernel, &org.id, "extension", number).await?;
    let mut line = draft_line(kernel, org, number, &person.id, &person.name).await?;
    line.writes.push(directory::bump());
    kernel.db.writer().commit(line.writes).await.map_err(|error| match error {
        DbError::Duplicate(_) => RecordError::Taken { field: "extension", value: number.to_owned() },
        other => RecordError::Db(other),
    })?;
    directory::changed(kernel);
    Ok(line.account)
}

/// Ends a membership: no credential of the person is good any more, and its phones are gone at their next registration.
/// The number stays taken, so that nobody else gets the calls.
///
/// # Errors
/// [`RecordError::NotFound`] when the organisation has no such person, or it is disabled already.
pub async fn disable_user(kernel: &Kernel, org: &str, person: &str) -> Result<(), RecordError> {
    kernel.disable_person(org, person).await?;
    let writes = vec![Write::new(FORGET_CREDENTIALS, args![org, person]), directory::bump()];
    kernel.db.writer().commit(writes).await.map_err(RecordError::Db)?;
    directory::changed(kernel);
    Ok(())
}

/// Gives the first line of an extension another password; the old one is good no more.
///
/// # Errors
/// [`RecordError::NotFound`] when the organisation has no such extension, or none that registers.
pub async fn renew_password(kernel: &Kernel, org: &str, extension: &str) -> Result<SipAccount, RecordError> {
    let row = kernel.db.one(LINE_OF, args![org, extension]).await.map_err(RecordError::Db)?;
    let row = row.ok_or_else(|| RecordError::NotFound { what: "extension", name: extension.to_owned() })?;
    let text = |column| row.text(column).map_err(RecordError::Db);
    let (id, domain, username, realm) = (text("id")?, text("domain")?, text("username")?, text("realm")?);
    let password = new_password(kernel);
    let [md5, sha256] = hashes(&username, &realm, &password);
    let writes = vec![Write::new(RENEW_LINE, args![org, id, md5, sha256]), directory::bump()];
    kernel.db.writer().commit(writes).await.map_err(RecordError::Db)?;
    directory::changed(kernel);
    let domain = if domain.is_empty() { own_address(kernel) } else { domain };
    Ok(SipAccount { username, password: Secret::new(password), domain })
}

/// The extensions of an organisation, by number.
///
/// # Errors
/// What the store says.
pub async fn extensions(kernel: &Kernel, org: &str) -> Result<Vec<ExtensionEntry>, DbError> {
    kernel.db.all(EXTENSIONS, args![org]).await?.iter().map(entry).collect()
}

/// The extensions of one person, by number.
///
/// # Errors
/// What the store says.
pub async fn extensions_of(kernel: &Kernel, org: &str, person: &str) -> Result<Vec<ExtensionEntry>, DbError> {
    kernel.db.all(EXTENSIONS_OF, args![org, person]).await?.iter().map(entry).collect()
}

fn entry(row: &Row) -> Result<ExtensionEntry, DbError> {
    Ok(ExtensionEntry {
        number: row.text("number")?,
        person: row.text("person")?,
        name: row.text("name")?,
        domain: row.text("domain")?,
        voicemail: row.bool("voicemail")?,
    })
}

/// Whether whoever calls an extension in vain may leave a message in its box; false when there is
/// no such extension.
///
/// # Errors
/// What the store says.
pub async fn set_voicemail(kernel: &Kernel, org: &str, extension: &str, on: bool) -> Result<bool, DbError> {
    let writes = vec![Write::new(SET_VOICEMAIL, args![org, extension, on]), directory::bump()];
    let rows = kernel.db.writer().commit(writes).await?;
    directory::changed(kernel);
    Ok(rows.first().is_some_and(|rows| *rows > 0))
}

struct LineDraft {
    account: SipAccount,
    writes: Vec<Write>,
}

async fn draft_line(
    kernel: &Kernel,
    org: &Org,
    number: &str,
    person: &str,
    name: &str,
) -> Result<LineDraft, RecordError> {
    let now_ms = kernel.clock.now_ms();
    let (stored, shown) = domain_for(kernel, org, number).await?;
    let realm = if stored.is_empty() { LOCAL_REALM } else { stored.as_str() };
    let password = new_password(kernel);
    let [md5, sha256] = hashes(number, realm, &password);
    let extension = kernel.ids.new("ext", now_ms);
    let credential = kernel.ids.new("line", now_ms);
    let writes = vec![
        Write::new(NUMBER_INSERT, args![&org.id, number, "person", &extension]),
        Write::new(EXTENSION_INSERT, args![&extension, &org.id, number, &stored, person, name, now_ms]),
        Write::new(
            CREDENTIAL_INSERT,
            args![&credential, &org.id, &extension, &stored, number, realm, md5, sha256, now_ms,],
        ),
    ];
    let account = SipAccount { username: number.to_owned(), password: Secret::new(password), domain: shown };
    Ok(LineDraft { account, writes })
}

/// The domain as it is stored and as a phone is told: the organisation's own; else the server's
/// address while the number is free there; else one made from the slug.
async fn domain_for(kernel: &Kernel, org: &Org, number: &str) -> Result<(String, String), RecordError> {
    if !org.sip_domain.is_empty() {
        return Ok((org.sip_domain.clone(), org.sip_domain.clone()));
    }
    let taken = kernel.db.one(TAKEN_AT_DOMAIN, args!["", number]).await.map_err(RecordError::Db)?;
    if taken.is_some() {
        let domain = format!("{}{LOCAL_SUFFIX}", org.slug);
        return Ok((domain.clone(), domain));
    }
    Ok((String::new(), own_address(kernel)))
}

/// The server's own address, as a phone is told it.
fn own_address(kernel: &Kernel) -> String {
    kernel.config.public_ip.map_or_else(|| "127.0.0.1".to_owned(), |ip| ip.to_string())
}

/// HA1 by MD5 and by SHA-256 (RFC 8760).
fn hashes(username: &str, realm: &str, password: &str) -> [String; 2] {
    let secret = format!("{username}:{realm}:{password}");
    [kernel::secret::hex(&Md5::digest(&secret)), kernel::secret::hex(&Sha256::digest(&secret))]
}

fn new_password(kernel: &Kernel) -> String {
    let mut password = String::new();
    while password.len() < PASSWORD_CHARS {
        let token = kernel.ids.token();
        password.extend(token.chars().filter(char::is_ascii_alphanumeric));
    }
    password.truncate(PASSWORD_CHARS);
    password
}

/// A number that a person or team may have: digits, not an emergency number, and free.
pub(crate) async fn check_number(
    kernel: &Kernel,
    org: &str,
    field: &'static str,
    number: &str,
) -> Result<(), RecordError> {
    let invalid = |message: &str| Err(RecordError::Invalid { field, message: message.to_owned() });
    if !NUMBER_DIGITS.contains(&number.len()) || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return invalid("a number inside an organisation has 2 to 7 digits");
    }
    if numbers::is_emergency(number) {
        return invalid("this is an emergency number; choose another");
    }
    match kernel.db.one(TAKEN_INSIDE, args![org, number]).await.map_err(RecordError::Db)? {
        Some(_) => Err(RecordError::Taken { field, value: number.to_owned() }),
        None => Ok(()),
    }
}
