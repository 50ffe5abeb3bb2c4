//! What a client's frame does, and what answers it.

use super::follow::Frame;
use super::wire::{Down, Refusal, Up, Which};
use crate::chat::model::{Id, Mark};
use crate::chat::{Asker, ChatError, Chats};
use kernel::Problem;

/// Who says it.
#[derive(Clone)]
pub(super) struct Orders {
    pub(super) chats: Chats,
    pub(super) asker: Asker,
    /// The own listener: whoever types need not hear of it.
    pub(super) listener: u64,
}

impl Orders {
    /// Carries a frame out; the answer, if there is one. `hello` is the socket's own.
    pub(super) async fn obey(self, up: Up) -> Option<Frame> {
        let about = place(&up);
        let answer = match self.carry_out(up).await {
            Ok(answer) => answer,
            Err(error) => {
                let problem = Problem::from(error);
                if problem.status().is_server_error() {
                    tracing::error!(reason = problem.detail.as_deref().unwrap_or_default(), "a frame of a chat failed");
                }
                let (room, cid) = about?;
                Some(Down::Error(Refusal::from(problem).about(&room, cid.as_ref())).write())
            }
        };
        answer.map(Into::into)
    }

    async fn carry_out(&self, up: Up) -> Result<Option<String>, ChatError> {
        let Self { chats, asker, listener } = self;
        match up {
            Up::Send { room, draft } => {
                let cid = draft.cid.clone();
                let ack = chats.send(asker, &room, draft).await?;
                Ok(cid.map(|cid| Down::ack(&room, &cid, &ack).write()))
            }
            Up::Typing { room, on, draft } => {
                chats.typing(asker, &room, on, draft.as_deref(), Some(*listener)).await?;
                Ok(None)
            }
            Up::Mark { room, seq, is_read } => {
                let mark = Mark { delivered_seq: seq, read_seq: if is_read { seq } else { 0 } };
                chats.mark(asker, &room, mark).await?;
                Ok(None)
            }
            Up::Edit { room, which, body } => {
                let seq = self.seq_of(&room, which).await?;
                chats.edit(asker, &room, seq, body).await?;
                Ok(None)
            }
            Up::Delete { room, which } => {
                let seq = self.seq_of(&room, which).await?;
                chats.delete(asker, &room, seq).await?;
                Ok(None)
            }
            Up::Ping => Ok(Some(Down::Pong.write())),
            Up::Hello { .. } => Ok(None),
        }
    }

    async fn seq_of(&self, room: &Id, which: Which) -> Result<i64, ChatError> {
        match which {
            Which::Seq(seq) => Ok(seq),
            Which::Id(id) => self.chats.seq_of(&self.asker, room, &id).await,
        }
    }
}

/// The room that a frame is about, and the sender's name of its message.
fn place(up: &Up) -> Option<(Id, Option<Id>)> {
    match up {
        Up::Send { room, draft } => Some((room.clone(), draft.cid.clone())),
        Up::Typing { room, .. } | Up::Mark { room, .. } | Up::Edit { room, .. } | Up::Delete { room, .. } => {
            Some((room.clone(), None))
        }
        Up::Hello { .. } | Up::Ping => None,
    }
}
