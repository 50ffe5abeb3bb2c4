//! What the line of a chat's call tells, and the look after calls whose room is closed, erased, or left on another node.

use std::time::Duration;

use calls::pairing::{PairDesk, PairEvent, PairSide};
use futures_util::{FutureExt as _, future::BoxFuture};
use kernel::Write;
use tokio::time::interval;

use super::super::ChatError;
use super::line::line_of;
use super::model::{Mode, News, RoomCall};
use super::{ChatCalls, Place, store};

/// How often it is looked after the calls of this node.
const LOOK: Duration = Duration::from_secs(3);
/// How long whoever answered first waits for the visitor's page, and how often that is looked for, milliseconds.
const PAGE_PATIENCE_MS: i64 = 10_000;
const LOOK_FOR_PAGE_MS: i64 = 100;

/// A chat that is on a call.
pub(super) struct OnCall {
    calls: ChatCalls,
    call: RoomCall,
}

impl OnCall {
    pub(super) fn new(calls: ChatCalls, call: &RoomCall) -> Self {
        Self { calls, call: call.clone() }
    }

    async fn hear(&self, event: PairEvent) {
        let news = match event {
            PairEvent::FirstAnswered => return self.await_page().await,
            PairEvent::SecondRinging => return,
            PairEvent::Bridged { at_ms } => News::Joined(at_ms),
            PairEvent::Unbridged { talked_ms, .. } => News::Parted(talked_ms),
            PairEvent::NotReached { who, cause } => {
                let is_inside = who == PairSide::First || self.call.mode == Mode::Browser;
                News::NotReached { cause, is_inside }
            }
            PairEvent::Ended { cause } => return self.calls.over(&self.call, cause).await,
        };
        let now = self.calls.note(&self.call, &news).await;
        // It was called off while the other one answered.
        if matches!(news, News::Joined(_)) && now.is_none_or(|now| !now.state.is_live() || now.is_unwanted) {
            self.calls.hang_up(&self.call);
        }
    }

    /// A page that was asked to open its phone needs a moment; nobody is rung before it is there.
    async fn await_page(&self) {
        if self.call.mode != Mode::Browser {
            return;
        }
        let (kernel, line) = (self.calls.kernel(), line_of(&self.call.room));
        let until_ms = kernel.clock.now_ms() + PAGE_PATIENCE_MS;
        while !self.calls.calls().directory().is_party_online(&self.call.org, &line) {
            let now_ms = kernel.clock.now_ms();
            if now_ms >= until_ms {
                return;
            }
            let pause = kernel.clock.sleep_until(now_ms + LOOK_FOR_PAGE_MS);
            if kernel.stop.run_until_cancelled(pause).await.is_none() {
                return;
            }
        }
    }
}

impl PairDesk for OnCall {
    fn news<'a>(&'a self, _call_id: &'a str, event: PairEvent) -> BoxFuture<'a, Vec<Write>> {
        // Written here and not with the line's own rows: the message and its room may change at the same time.
        async move {
            self.hear(event).await;
            Vec::new()
        }
        .boxed()
    }
}

/// Looks after the calls of this node until it stops.
pub(super) async fn run(calls: ChatCalls) {
    let stop = calls.kernel().stop.clone();
    let mut every = interval(LOOK);
    while stop.run_until_cancelled(every.tick()).await.is_some() {
        let here: Vec<_> = calls.here().iter().map(|(call, place)| (call.clone(), place.clone())).collect();
        for (call, place) in here {
            if let Err(error) = calls.look_after(&call, &place).await {
                tracing::warn!(org = %place.org, %call, %error, "a chat's call cannot be looked after now");
            }
        }
    }
}

impl ChatCalls {
    /// Ends a call whose room is closed or gone, or that is not wanted any more.
    async fn look_after(&self, id: &str, place: &Place) -> Result<(), ChatError> {
        let handle = self.calls().pair_handle(&place.org, id);
        let Some(call) = store::call(&self.kernel().db, &place.org, &place.room, id).await? else {
            handle.into_iter().for_each(|handle| handle.hang_up(voice::cause::Cause::Normal));
            return Ok(());
        };
        let is_open = match self.chats().room_of_desk(&place.org, &place.room).await {
            Ok(room) => room.is_open(),
            Err(ChatError::NotFound) => false,
            Err(error) => return Err(error),
        };
        if call.state.is_live() && !is_open {
            return self.unwanted(&call).await;
        }
        if call.is_unwanted {
            self.hang_up(&call);
        }
        Ok(())
    }

    /// A room was closed on this node: its call ends.
    pub(in crate::chat) async fn room_closed(&self, org: &str, room: &str) -> Result<(), ChatError> {
        match store::live_of_room(&self.kernel().db, org, room).await? {
            Some(call) => self.unwanted(&call).await,
            None => Ok(()),
        }
    }
}
