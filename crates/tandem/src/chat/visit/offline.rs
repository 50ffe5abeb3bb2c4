//! A message that is left while nobody is there: a room of its own, and a mail to whoever answers.
//!
//! Invariant: the room with its message comes first: when the mail cannot be written, the message is not lost.

use kernel::notice::NewNotice;

use super::super::access::Asker;
use super::super::model::{Draft, Refused};
use super::super::{ChatError, Chats, Opened};
use super::mail_about;
use super::open::{Door, Wish};

/// Longest address of a page that is told, characters.
const MAX_PAGE: usize = 500;

/// What somebody leaves.
#[derive(Clone, Debug)]
pub struct Left {
    /// What it says.
    pub message: String,
    /// The page that it was left at, as the browser says.
    pub page: String,
}

impl Chats {
    /// Leaves a message.
    ///
    /// # Errors
    /// [`ChatError`]: no name or address, a limit, a message that may not stand in a room.
    pub async fn leave_message(&self, door: &Door, wish: &Wish, left: &Left) -> Result<Opened, ChatError> {
        let said = |text: &Option<String>| text.clone().filter(|text| !text.trim().is_empty());
        let name = said(&wish.name).ok_or(ChatError::Field("/name", Refused::NoName))?;
        let email = said(&wish.email).ok_or(ChatError::Field("/email", Refused::Email))?;
        let cid = wish.once.as_deref().map(Into::into);
        let draft = Draft { author: name.trim().to_owned(), cid, ..Draft::text(left.message.trim()) };
        if left.message.trim().is_empty() {
            return Err(ChatError::Field("/message", Refused::Empty));
        }
        draft.check(&door.chat.limits).map_err(|refused| match refused {
            Refused::Author => ChatError::Field("/name", refused),
            refused => ChatError::Field("/message", refused),
        })?;
        let opened = self.visit(door, &Wish { is_fresh: true, is_offline: true, ..wish.clone() }).await?;
        let visitor = self.visitor(&door.org, &opened.visitor).await?;
        self.send(&Asker::from(&visitor), &opened.room.id, draft).await?;
        // Of a message that is sent again, its mail has gone already, unless the server stopped between the two.
        let is_told =
            !opened.created && !self.kernel().notices_about(&door.org, &mail_about(&opened.room.id)).await?.is_empty();
        if let Some(to) = door.widget.offline_email.as_ref().filter(|_| !is_told) {
            let page: String = left.page.chars().filter(|c| !c.is_control()).take(MAX_PAGE).collect();
            let body = format!(
                "{name} <{email}> left a message for {}.\n\n{}\n\nPage: {page}\nRoom: {}\n",
                door.title(),
                left.message.trim(),
                opened.room.id
            );
            let subject = format!("Message from {name}");
            let notice = self
                .kernel()
                .notice_write(&door.org, NewNotice::mail(to, &subject, &body).about(mail_about(&opened.room.id)))?;
            self.kernel().db.writer().commit(vec![notice]).await?;
        }
        Ok(opened)
    }
}
