//! A chat by mail.
//!
//! Invariant: it holds what the visitor saw and nothing else; so many an hour are sent for one room and from one address,
//! so that nobody's mail box is filled by way of ours.

use std::net::IpAddr;

use kernel::notice::NewNotice;
use kernel::zones::{Zone, minute_text, parse_zone};

use super::super::access::{Act, Asker};
use super::super::model::{Kind, Message, Refused, Room, Side};
use super::super::{ChatError, Chats};
use super::mail_about;
use super::settings::{self, WidgetSettings};
use super::words;

/// Bytes of a transcript, a little below what a notice carries; the beginning of a longer chat is left out.
const MAX_BYTES: usize = 60 * 1024;
/// Messages that are read at once.
const PAGE: i64 = 100;
/// Messages of a chat that are looked at.
const MAX_MESSAGES: usize = 5_000;

impl Chats {
    /// Sends a room's messages to an address, in the words of a language and the times of a zone (else the application's
    /// own); `from` is where the wish came from.
    ///
    /// # Errors
    /// [`ChatError`]: a room that is not the asker's, no address, a limit.
    pub async fn send_transcript(
        &self,
        asker: &Asker,
        room: &str,
        email: &str,
        (locale, zone): (&str, &str),
        from: IpAddr,
    ) -> Result<(), ChatError> {
        let (room, _) = self.reach(asker, room, Act::See).await?;
        let email = settings::email(email).ok_or(Refused::Email)?;
        let now_ms = self.now_ms();
        self.meter().mail(&room.id, from, now_ms)?;
        let app = self.kernel().app(&room.org, &room.app).await?;
        let WidgetSettings { title, zone: own, .. } = WidgetSettings::read(&app.settings);
        let (zone, name) = zone_of(zone, own, app.settings.get("widget_zone"));
        let title = if title.is_empty() { app.name } else { title };
        self.note_reading(asker, &room).await?;
        let messages = self.newest(&room).await?;
        let subject = words::say(locale, "mail_subject").replace("{title}", &title);
        let notice =
            NewNotice::mail(&email, &subject, &text(&messages, locale, &zone, name)).about(mail_about(&room.id));
        self.kernel().db.writer().commit(vec![self.kernel().notice_write(&room.org, notice)?]).await?;
        Ok(())
    }

    /// The messages of a room in order, the newest if there are more than a mail takes.
    async fn newest(&self, room: &Room) -> Result<Vec<Message>, ChatError> {
        let mut messages: Vec<Message> = Vec::new();
        let (mut before, mut bytes) = (i64::MAX, 0);
        while messages.len() < MAX_MESSAGES && bytes <= MAX_BYTES {
            let page = self.messages_before(room, before, PAGE).await?;
            let Some(first) = page.first() else { break };
            before = first.seq;
            bytes += page.iter().map(words_in).sum::<usize>();
            messages.splice(0..0, page);
        }
        Ok(messages)
    }
}

/// The visitor's zone, if it is one, or the application's; and its name.
fn zone_of<'a>(wish: &'a str, own: Option<Zone>, own_name: Option<&'a String>) -> (Option<Zone>, &'a str) {
    match parse_zone(wish) {
        Some(zone) => (Some(zone), wish),
        None => (own, own_name.map_or("UTC", String::as_str)),
    }
}

/// Bytes that a message takes at least, but for what stands around its words; of a file its name alone is told.
fn words_in(message: &Message) -> usize {
    message.body.as_ref().filter(|_| message.kind == Kind::Text).map_or(0, |body| body.words().len())
}

/// One message a paragraph, as the visitor saw them, under the zone of their times.
fn text(messages: &[Message], locale: &str, zone: &Option<Zone>, zone_name: &str) -> String {
    let mut paragraphs: Vec<String> = Vec::new();
    let mut bytes = 0;
    for message in messages.iter().rev() {
        let paragraph = paragraph(message, locale, zone.as_ref());
        bytes += paragraph.len() + 2;
        if bytes > MAX_BYTES {
            break;
        }
        paragraphs.push(paragraph);
    }
    paragraphs.push(zone_name.to_owned());
    paragraphs.reverse();
    paragraphs.join("\n\n")
}

fn paragraph(message: &Message, locale: &str, zone: Option<&Zone>) -> String {
    let own = |key| words::say(locale, key).to_owned();
    let author = match message.sender.side() {
        Side::Visitor => own("you"),
        Side::Support if message.author.is_empty() => own("support"),
        Side::Support => message.author.clone(),
    };
    let words = match (&message.body, message.kind) {
        (None, _) => own("deleted"),
        (Some(body), Kind::Image | Kind::File) => {
            let name = body.value().get("name").and_then(|name| name.as_str().map(str::to_owned));
            format!("[{}]", name.unwrap_or_else(|| "…".to_owned()))
        }
        (Some(body), _) => body.words().into_owned(),
    };
    let at = zone.and_then(|zone| minute_text(message.created_ms, zone)).unwrap_or_default();
    format!("{at} – {author}\n{words}")
}

#[cfg(test)]
mod tests {
    use super::super::super::model::{Body, Draft, Sender};
    use super::*;

    fn message(seq: i64, sender: Sender, author: &str, body: Option<Body>) -> Message {
        Message {
            room: "r".into(),
            seq,
            id: "m".into(),
            cid: None,
            sender,
            kind: Kind::Text,
            body,
            side: Body::from(false),
            author: author.to_owned(),
            created_ms: 0,
            edited_ms: None,
            deleted_ms: None,
        }
    }

    #[test]
    fn a_transcript_says_who_said_what() {
        let file = Body::try_from(&serde_json::json!({"file": "f", "name": "a.pdf"})).unwrap();
        let messages = [
            message(1, Sender::Visitor("v".into()), "Client", Some(Body::text("Hello"))),
            message(2, Sender::Person("p".into()), "Fay", None),
            Message { kind: Kind::File, ..message(3, Sender::App("a".into()), "", Some(file)) },
        ];
        let own = "Asia/Tokyo".to_owned();
        let at = "1970-01-01 01:00";
        let expected = format!(
            "Europe/Berlin\n\n{at} – Sie\nHello\n\n{at} – Fay\nDiese Nachricht wurde gelöscht\n\n{at} – Support\n[a.pdf]"
        );
        assert_eq!(text(&messages, "de", &parse_zone("Europe/Berlin"), "Europe/Berlin"), expected);
        let (zone, name) = zone_of("Moon/Base", parse_zone("Asia/Tokyo"), Some(&own));
        assert_eq!(
            (zone.and_then(|zone| minute_text(0, &zone)), name),
            (Some("1970-01-01 09:00".to_owned()), "Asia/Tokyo")
        );
    }

    #[test]
    fn of_a_long_chat_the_end_is_sent() {
        let long = "x".repeat(1_000);
        let messages: Vec<Message> =
            (1..=100).map(|seq| message(seq, Sender::System, "", Some(Body::text(&format!("{seq} {long}"))))).collect();
        let text = text(&messages, "en", &parse_zone("UTC"), "UTC");
        assert!(text.len() <= MAX_BYTES && text.contains("\n100 x") && !text.contains("\n1 x"));
    }

    #[tokio::test]
    async fn no_more_of_a_long_chat_is_read_than_a_mail_takes() {
        let stage = crate::chat::tests::stage::Stage::sqlite(&[]).await;
        let (opened, _) = stage.room().await;
        let long = "x".repeat(MAX_BYTES / 50);
        for _ in 0..=PAGE * 2 {
            stage.chats.send(&stage.application(), &opened.room.id, Draft::text(&long)).await.unwrap();
        }
        let newest = stage.chats.newest(&opened.room).await.unwrap();
        assert_eq!((newest.len(), newest.last().unwrap().seq), (100, PAGE * 2 + 1));
    }
}
