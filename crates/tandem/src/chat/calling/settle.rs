//! What happened to a call becomes durable and is told: its row and its message change in one commit.
//!
//! Invariant: news is written before the call goes on; a store that is away for a while makes it late, not lost.

use std::sync::Arc;

use calls::concerning::recordings_of;
use kernel::DbError;
use voice::cause::Cause;

use super::super::ChatError;
use super::super::hub::{News as Told, What};
use super::model::{News, Recording, RoomCall, State};
use super::{ChatCalls, store};

/// Pause before news that the store did not take is written again, milliseconds.
const AFTER_FAILURE_MS: i64 = 500;
/// How often it is looked whether a recording is complete, and how many times at most, milliseconds.
const LOOK_FOR_RECORDING_MS: i64 = 250;
const MAX_LOOKS: usize = 240;
/// Calls that are settled in one go after a stop.
const PORTION: i64 = 200;
/// States of a recording.
const READY: &str = "ready";
const UNDER_WAY: &str = "recording";

impl ChatCalls {
    /// Writes news down, however often it takes, and gives the call as it is then; none when it is gone.
    pub(super) async fn note(&self, of: &RoomCall, news: &News) -> Option<RoomCall> {
        loop {
            match self.try_note(of, news).await {
                Ok(now) => return now,
                Err(ChatError::Db(DbError::Conflict)) => {}
                // Its room was erased.
                Err(ChatError::NotFound) => return None,
                Err(error) => {
                    tracing::error!(org = %of.org, room = %of.room, call = %of.id, %error, "news of a chat's call");
                    let kernel = self.kernel();
                    let pause = kernel.clock.sleep_until(kernel.clock.now_ms() + AFTER_FAILURE_MS);
                    kernel.stop.run_until_cancelled(pause).await?;
                }
            }
        }
    }

    async fn try_note(&self, of: &RoomCall, news: &News) -> Result<Option<RoomCall>, ChatError> {
        let Some(mut call) = store::call(&self.kernel().db, &of.org, &of.room, &of.id).await? else { return Ok(None) };
        if !call.apply(news, self.now_ms()) {
            return Ok(Some(call));
        }
        let write = store::change_write(&call);
        let room = self.chats().room_of_desk(&call.org, &call.room).await?;
        let told = self.chats().rewrite(&room, call.seq, call.body(), vec![write]).await?;
        if let Some(message) = told {
            self.chats().hub().tell(Told::of(&room, What::Edited(Arc::new(message))));
        }
        call.revision += 1;
        Ok(Some(call))
    }

    /// Somebody wants the end of a call, wherever it is: on this node at once, on another when that looks.
    pub(super) async fn unwanted(&self, call: &RoomCall) -> Result<(), ChatError> {
        self.note(call, &News::Unwanted).await;
        self.hang_up(call);
        Ok(())
    }

    pub(super) fn hang_up(&self, call: &RoomCall) {
        let cause = if call.state == State::Ringing { Cause::Canceled } else { Cause::Normal };
        self.calls().pair_handle(&call.org, &call.id).into_iter().for_each(|handle| handle.hang_up(cause));
    }

    /// No line came of it.
    pub(super) async fn line_failed(&self, call: &RoomCall) {
        self.here().remove(&call.id);
        self.note(call, &News::Cut).await;
    }

    /// The line is gone: the call is over, and its recording lands when it is complete.
    pub(super) async fn over(&self, call: &RoomCall, cause: Cause) {
        self.here().remove(&call.id);
        let now = self.note(call, &News::Over(cause)).await;
        if let Some(now) = now.filter(|now| now.recording == Recording::Awaited) {
            let calls = self.clone();
            self.kernel().tasks.spawn(async move { calls.land(&now).await });
        }
    }

    /// Waits until a recording is complete, and lets it land. What a stop leaves waiting, the next start lands.
    async fn land(&self, call: &RoomCall) {
        let kernel = self.kernel();
        for _ in 0..MAX_LOOKS {
            let found = recordings_of(kernel, &call.org, &call.id).await;
            match found {
                Ok(all) if all.iter().any(|recording| recording.state == UNDER_WAY) => {}
                Ok(all) => {
                    let ready = all.into_iter().find(|recording| recording.state == READY);
                    let landed = ready.map(|recording| (recording.id.into(), recording.seconds));
                    self.note(call, &News::Recorded(landed)).await;
                    return;
                }
                Err(error) => {
                    tracing::error!(org = %call.org, call = %call.id, %error, "a recording cannot be looked for")
                }
            }
            let pause = kernel.clock.sleep_until(kernel.clock.now_ms() + LOOK_FOR_RECORDING_MS);
            if kernel.stop.run_until_cancelled(pause).await.is_none() {
                return;
            }
        }
        tracing::warn!(org = %call.org, call = %call.id, "its recording was not complete in time; the next start looks again");
    }
}

/// After a stop: what went on has failed, what was recorded lands.
pub(super) async fn recover(calls: &ChatCalls) -> Result<(), DbError> {
    let kernel = calls.kernel();
    let mut after = (String::new(), String::new());
    loop {
        let page = store::unsettled(&kernel.db, &kernel.node, calls.0.started_ms, &after, PORTION).await?;
        let Some(last) = page.last() else { return Ok(()) };
        after = (last.org.to_string(), last.id.to_string());
        for call in page {
            tracing::warn!(org = %call.org, room = %call.room, call = %call.id, "a chat's call was cut by the last stop");
            let cut = calls.note(&call, &News::Cut).await;
            if let Some(cut) = cut.filter(|cut| cut.recording == Recording::Awaited) {
                calls.land(&cut).await;
            }
        }
    }
}
