//! Attachments: a place is asked for, filled by its signed address, and named by a message.
//!
//! Invariant: a file is reached by whoever may see its room, and by nobody else; a message names only files that stand in
//! its own room, with the name and type that we noted. The signed address takes one file, once, for a short time.

use std::borrow::Cow;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use kernel::files::{FilesError, OpenFile, Shelf};
use kernel::{DbError, Write};
use serde_json::{Value, json};

use super::super::access::{Act, Asker, limit_key};
use super::super::model::{Body, Draft, Id, Kind, Refused, Room, Sender, Side};
use super::super::store as rooms;
use super::super::{ChatError, ChatSettings, Chats};
use super::{media, store};

/// So long a signed address takes its file, milliseconds.
const ADDRESS_LIFE_MS: i64 = 10 * 60_000;
/// What never came is forgotten after so long, milliseconds.
const FORGET_MS: i64 = 24 * 3_600_000;

/// A file in a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// The organisation.
    pub org: Id,
    /// 24 hexadecimal digits.
    pub id: Id,
    /// The room.
    pub room: Id,
    /// Who brought it.
    pub sender: Sender,
    /// As it was called, without what could lead elsewhere.
    pub name: String,
    /// As it is offered.
    pub media_type: String,
    /// Bytes.
    pub size: i64,
}

impl Attachment {
    /// What a message says that names it.
    #[must_use]
    pub fn body(&self) -> Value {
        json!({"file": &*self.id, "name": self.name, "type": self.media_type, "size": self.size})
    }

    /// Whether it is shown where it stands.
    #[must_use]
    pub fn is_picture(&self) -> bool {
        self.media_type.starts_with("image/")
    }

    /// A message names it from now on; if another one does already, nothing of the commit is written.
    pub(in crate::chat) fn named_by_write(&self, message: &str) -> Write {
        store::name_file_write(&self.org, &self.id, message)
    }

    /// The headers of its content: how it is offered, and under which name.
    #[must_use]
    pub fn disposition(&self) -> String {
        media::disposition(if self.is_picture() { "inline" } else { "attachment" }, &self.name)
    }
}

/// Content that a message brings along itself (document 002, IMAGE).
#[derive(Clone, Debug)]
pub struct Carried {
    /// As it is called.
    pub name: String,
    /// The bytes.
    pub content: Bytes,
}

/// A file that somebody wants to bring.
#[derive(Clone, Debug)]
pub struct NewFile {
    /// As the sender calls it.
    pub name: String,
    /// As the sender takes it to be.
    pub media_type: String,
    /// Bytes.
    pub size: i64,
}

/// A place for a file.
#[derive(Clone, Debug)]
pub struct AwaitedFile {
    /// As it is known so far.
    pub file: Attachment,
    /// Where its content goes: a path with its signature, a secret.
    pub path: String,
    /// Until when, UTC milliseconds.
    pub until_ms: i64,
}

/// The path at which a file's content is taken.
fn path(id: &str) -> String {
    format!("/v1/chat/uploads/{id}")
}

/// The path at which a file is read.
pub(in crate::chat) fn file_path(id: &str) -> String {
    format!("/v1/chat/files/{id}")
}

impl Chats {
    /// Makes a place for a file in a room.
    ///
    /// # Errors
    /// [`ChatError`]: whoever may not write there, a file too large, a limit.
    pub async fn await_file(&self, asker: &Asker, room: &str, new: NewFile) -> Result<AwaitedFile, ChatError> {
        let (room, settings) = self.reach(asker, room, Act::Send { claims_support: false }).await?;
        room.takes_messages()?;
        let max = i64::try_from(settings.limits.upload_bytes).unwrap_or(i64::MAX);
        if new.size < 1 {
            return Err(ChatError::Field("/size", Refused::FileSize { max }));
        }
        if new.size > max {
            return Err(Refused::FileSize { max }.into());
        }
        let now_ms = self.now_ms();
        if asker.side() == Side::Visitor {
            self.meter().upload(&limit_key(asker, &room), &settings.limits, now_ms)?;
        }
        let file = Attachment {
            org: room.org.clone(),
            id: self.kernel().ids.document_id(now_ms).into(),
            room: room.id.clone(),
            sender: asker.sender(&room),
            name: media::name(&new.name),
            media_type: media::noted(&[], &new.media_type),
            size: new.size,
        };
        let until_ms = now_ms + ADDRESS_LIFE_MS;
        let path = self.kernel().secrets.sign_path(&path(&file.id), until_ms);
        for late in store::drop_late(&self.kernel().db, &room.org, &room.id, now_ms - FORGET_MS).await? {
            self.remove_content(&room.org, &late).await;
        }
        match self.kernel().db.writer().commit(vec![store::insert_file_write(&file, now_ms)]).await {
            Err(DbError::Conflict) => return Err(ChatError::NotFound),
            done => done?,
        };
        Ok(AwaitedFile { file, path, until_ms })
    }

    /// The settings of the application in whose room a file is awaited.
    ///
    /// # Errors
    /// [`ChatError::NotFound`], or what the store says.
    pub(super) async fn settings_for(&self, file: &Attachment) -> Result<Arc<ChatSettings>, ChatError> {
        let room = rooms::room(&self.kernel().db, &file.org, &file.room).await?.ok_or(ChatError::NotFound)?;
        self.settings(&room.org, &room.app).await
    }

    /// The file that a signed address awaits.
    ///
    /// # Errors
    /// [`ChatError::NotFound`] when the address is not ours, is over, or was used.
    pub async fn awaited_file(&self, id: &str, until_ms: i64, signature: &str) -> Result<Attachment, ChatError> {
        if !self.kernel().secrets.path_is_signed(&path(id), until_ms, signature, self.now_ms()) {
            return Err(ChatError::NotFound);
        }
        store::awaited(&self.kernel().db, id).await?.ok_or(ChatError::NotFound)
    }

    /// Takes the content of a file; what is larger than was announced is refused, and nothing stays of it. Whoever comes
    /// first claims the place, so that nobody puts other content under a name that is known; who fails gives it back.
    ///
    /// # Errors
    /// [`Refused::FileSize`], [`ChatError::NotFound`] when somebody was faster, or what the disk or the store says.
    pub async fn take_file<E>(
        &self,
        file: Attachment,
        content: impl Stream<Item = Result<Bytes, E>> + Send + Unpin,
    ) -> Result<Attachment, ChatError>
    where
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let db = &self.kernel().db;
        let (org, id) = (file.org.clone(), file.id.clone());
        match db.writer().commit(vec![store::claim_file_write(&org, &id)]).await {
            Ok(_) => {}
            Err(DbError::Conflict) => return Err(ChatError::NotFound),
            Err(error) => return Err(error.into()),
        }
        let taken = self.take_claimed(file, content).await;
        if taken.is_err() {
            db.writer().commit(vec![store::unclaim_file_write(&org, &id)]).await?;
        }
        taken
    }

    async fn take_claimed<E>(
        &self,
        file: Attachment,
        content: impl Stream<Item = Result<Bytes, E>> + Send + Unpin,
    ) -> Result<Attachment, ChatError>
    where
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let mut head = Vec::with_capacity(media::HEAD);
        let noting = content.map(|part| {
            let part = part.map_err(io::Error::other)?;
            let missing = media::HEAD.saturating_sub(head.len()).min(part.len());
            head.extend(part.iter().take(missing));
            Ok(part)
        });
        let max = u64::try_from(file.size).unwrap_or_default();
        let files = &self.kernel().files;
        let stored = files.put_stream(Shelf::Chat, &file.org, &file.id, std::pin::pin!(noting), max).await;
        let size = match stored {
            Ok(size) => i64::try_from(size).unwrap_or(i64::MAX),
            Err(FilesError::Io(error)) if error.kind() == io::ErrorKind::FileTooLarge => {
                return Err(Refused::FileSize { max: file.size }.into());
            }
            Err(error) => return Err(ChatError::Failed(error.to_string())),
        };
        let file = Attachment { media_type: media::noted(&head, &file.media_type), size, ..file };
        match self.kernel().db.writer().commit(vec![store::stored_write(&file)]).await {
            Ok(_) => Ok(file),
            Err(DbError::Conflict) => {
                // Its room was erased meanwhile, and with it the row; else another one has brought it.
                if store::file(&self.kernel().db, &file.org, &file.id).await?.is_none() {
                    self.remove_content(&file.org, &file.id).await;
                }
                Err(ChatError::NotFound)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Keeps content that came in a message itself.
    ///
    /// # Errors
    /// What the disk or the store says.
    pub(in crate::chat) async fn keep_file(
        &self,
        room: &Room,
        sender: Sender,
        carried: Carried,
    ) -> Result<Attachment, ChatError> {
        let Carried { name, content } = carried;
        let now_ms = self.now_ms();
        let file = Attachment {
            org: room.org.clone(),
            id: self.kernel().ids.document_id(now_ms).into(),
            room: room.id.clone(),
            sender,
            name: media::name(&name),
            media_type: media::noted(&content, media::BYTES),
            size: i64::try_from(content.len()).unwrap_or(i64::MAX),
        };
        let kept = self.kernel().files.put(Shelf::Chat, &file.org, &file.id, content).await;
        kept.map_err(|error| ChatError::Failed(error.to_string()))?;
        match self.kernel().db.writer().commit(vec![store::insert_stored_write(&file, now_ms)]).await {
            Ok(_) => Ok(file),
            Err(error) => {
                self.remove_content(&file.org, &file.id).await;
                Err(if matches!(error, DbError::Conflict) { ChatError::NotFound } else { error.into() })
            }
        }
    }

    /// Deletes a file whose message was not sent; if one names it after all, it stays.
    pub(in crate::chat) async fn forget_unsent(&self, file: &Attachment) {
        let Attachment { org, id, .. } = file;
        match store::forget_unnamed(&self.kernel().db, org, id).await {
            Ok(true) => self.remove_content(org, id).await,
            Ok(false) => {}
            Err(error) => tracing::error!(%org, file = %id, %error, "the row of an attachment without a message stays"),
        }
    }

    /// Removes the content of a file that nobody is given any more.
    pub(in crate::chat) async fn remove_content(&self, org: &Id, id: &str) {
        if let Err(error) = self.kernel().files.delete(Shelf::Chat, org, id).await {
            tracing::error!(%org, file = id, %error, "an attachment could not be removed");
        }
    }

    /// A file that the asker may see, and its content.
    ///
    /// # Errors
    /// [`ChatError::NotFound`], or what the disk or the store says.
    pub async fn file(&self, asker: &Asker, id: &str) -> Result<(Attachment, OpenFile), ChatError> {
        let file = store::file(&self.kernel().db, asker.org(), id).await?.ok_or(ChatError::NotFound)?;
        let (room, _) = self.reach(asker, &file.room, Act::See).await?;
        self.note_reading(asker, &room).await?;
        self.open_file(file).await
    }

    /// A file by an address that an export holds, and its content.
    ///
    /// # Errors
    /// [`ChatError::NotFound`] when the address is not ours or is over, or what the disk or the store says.
    pub async fn signed_file(
        &self,
        id: &str,
        until_ms: i64,
        signature: &str,
    ) -> Result<(Attachment, OpenFile), ChatError> {
        if !self.kernel().secrets.path_is_signed(&file_path(id), until_ms, signature, self.now_ms()) {
            return Err(ChatError::NotFound);
        }
        let file = store::signed_file(&self.kernel().db, id).await?.ok_or(ChatError::NotFound)?;
        let read = self.kernel().audit_write(&file.org, "signed_url", "chat.read", &file.room);
        self.kernel().db.writer().commit(vec![read]).await?;
        self.open_file(file).await
    }

    async fn open_file(&self, file: Attachment) -> Result<(Attachment, OpenFile), ChatError> {
        match self.kernel().files.read(Shelf::Chat, &file.org, &file.id).await {
            Ok(content) => Ok((file, content)),
            Err(FilesError::Missing) => Err(ChatError::NotFound),
            Err(error) => Err(ChatError::Failed(error.to_string())),
        }
    }

    /// A message that names a file, as it may stand in a room: with the file's own name and type, and the file. Others
    /// pass.
    ///
    /// # Errors
    /// [`Refused::NoFile`] for a file that does not stand in this room, that somebody else brought, or that a message
    /// names already: it goes when its message is taken back.
    pub(in crate::chat) async fn with_file<'a>(
        &self,
        room: &Room,
        sender: &Sender,
        draft: &'a Draft,
    ) -> Result<(Cow<'a, Draft>, Option<Attachment>), ChatError> {
        let Some(id) = named_file(draft.kind, &draft.body) else { return Ok((Cow::Borrowed(draft), None)) };
        let found = store::unnamed_file(&self.kernel().db, &room.org, &id).await?;
        let is_theirs = |file: &Attachment| file.room == room.id && file.sender == *sender;
        let file = found.filter(is_theirs).ok_or(Refused::NoFile)?;
        let kind = if file.is_picture() { Kind::Image } else { Kind::File };
        let body = Body::try_from(&file.body()).map_err(|_| Refused::NoFile)?;
        Ok((Cow::Owned(Draft { kind, body, ..draft.clone() }), Some(file)))
    }
}

/// From this commit on nobody is given the file of a message that is taken back; its content goes after it.
pub(in crate::chat) fn forget_file_write(org: &Id, id: &str) -> Write {
    store::delete_file_write(org, id)
}

/// The file that a message of pictures and files names.
pub(in crate::chat) fn named_file(kind: Kind, body: &Body) -> Option<String> {
    if !matches!(kind, Kind::Image | Kind::File) {
        return None;
    }
    body.value().get("file").and_then(Value::as_str).map(str::to_owned)
}
