//! Notices: mail and SMS to people, as rows. Without a provider they stay, and the console's outbox page shows them.
//!
//! Invariant: a notice is written in the commit of what it tells about, so that neither exists without the other.

use crate::args;
use crate::db::{Row, Write};
use crate::kernel::Kernel;
use crate::record::RecordError;

/// Longest text of a notice, in bytes.
const MAX_BODY: usize = 64 * 1024;

crate::statements! {
    INSERT = "insert into notice (id, org, channel, recipient, subject, body, state, created_at) \
        values ($1, $2, $3, $4, $5, $6, 'kept', $7)";
    LIST = "select id, channel, recipient, subject, body, created_at from notice \
        where org = $1 and (id < $2 or $2 = '') order by id desc limit $3";
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
    /// The text.
    pub body: String,
    /// UTC milliseconds.
    pub created_at: i64,
}

impl Kernel {
    /// The write that puts a notice into the outbox; commit it with what it tells about. A text longer than 64 KiB is
    /// cut.
    pub fn notice_write(&self, org: &str, channel: Channel, recipient: &str, subject: &str, body: &str) -> Write {
        let now_ms = self.clock.now_ms();
        let body = &body[..body.floor_char_boundary(MAX_BODY)];
        let id = self.ids.new("ntc", now_ms);
        Write::new(INSERT, args![id, org, channel.as_str(), recipient, subject, body, now_ms])
    }

    /// The organisation's notices, the newest first, from before `before` (`""` = from the newest).
    ///
    /// # Errors
    /// When the store fails.
    pub async fn notices(&self, org: &str, before: &str, limit: i64) -> Result<Vec<Notice>, RecordError> {
        let rows = self.db.all(LIST, args![org, before, limit]).await?;
        rows.iter().map(read).collect()
    }
}

fn read(row: &Row) -> Result<Notice, RecordError> {
    let channel = match row.text("channel")?.as_str() {
        "sms" => Channel::Sms,
        _ => Channel::Mail,
    };
    Ok(Notice {
        id: row.text("id")?,
        channel,
        recipient: row.text("recipient")?,
        subject: row.text("subject")?,
        body: row.text("body")?,
        created_at: row.int("created_at")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::testing;

    #[tokio::test]
    async fn notices_are_kept_in_order_and_by_organisation() {
        for kernel in testing::each().await {
            for n in 1..=3 {
                let subject = format!("Message {n}");
                let write =
                    kernel.notice_write("org_a", Channel::Mail, "ann@x.org", &subject, "é".repeat(40_000).as_str());
                kernel.db.writer().commit(vec![write]).await.unwrap();
                kernel.hand.advance(1);
            }
            let sms = kernel.notice_write("org_b", Channel::Sms, "+442071838750", "", "123456");
            kernel.db.writer().commit(vec![sms]).await.unwrap();

            let newest = kernel.notices("org_a", "", 2).await.unwrap();
            let subjects: Vec<_> = newest.iter().map(|notice| notice.subject.as_str()).collect();
            assert_eq!(subjects, ["Message 3", "Message 2"]);
            assert_eq!(newest[0].body.len(), MAX_BODY);
            let oldest = kernel.notices("org_a", &newest[1].id, 2).await.unwrap();
            assert_eq!(oldest.len(), 1);
            let other = kernel.notices("org_b", "", 10).await.unwrap();
            assert_eq!((other.len(), other[0].channel), (1, Channel::Sms));
        }
    }

    #[tokio::test]
    async fn every_statement_prepares_on_both_engines() {
        for db in crate::db::testing::TestDb::each().await {
            assert_eq!(db.unpreparable(&[ALL]).await, Vec::<String>::new());
        }
    }
}
