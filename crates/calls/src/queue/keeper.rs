//! The keeper of an organisation's floor: does what needs waiting, in a task that ends when nothing is left to keep.
//!
//! Invariant: its clock waits for nothing but the time, so that whoever has waited long enough leaves however slow the
//! store is; a keeper that panics is followed by another.

use std::sync::Arc;

use kernel::db::{DbError, Write};

use super::floor::Input;
use super::floors::{OrgFloor, rules_of};
use super::people;

/// How often the phones of agents are looked at while somebody waits, in milliseconds: a phone that registers is offered
/// the next caller so much later.
const LOOK_MS: i64 = 500;
/// Pause before rows that could not be written are written again, or another keeper follows one that panicked, in
/// milliseconds.
const RETRY_MS: u64 = 1_000;

impl OrgFloor {
    /// Tells the keeper that something has changed; starts one if there is something to keep.
    pub(super) fn wake(&self) {
        let keep = {
            let mut state = self.lock();
            let wanted = !state.floor.is_empty() || !state.unsaved.is_empty();
            wanted && !std::mem::replace(&mut state.kept, true)
        };
        self.time_news.notify_one();
        self.book_news.notify_one();
        if keep {
            self.start_keeper();
        }
    }

    fn start_keeper(&self) {
        let floor = self.own.upgrade().filter(|_| tokio::runtime::Handle::try_current().is_ok());
        let Some(floor) = floor else {
            // The process ends.
            self.lock().kept = false;
            return;
        };
        let kernel = self.house.kernel.clone();
        self.house.kernel.tasks.spawn(async move { kernel.stop.run_until_cancelled(floor.kept()).await });
    }

    /// One keeper after the other until nothing is left to keep.
    async fn kept(self: Arc<Self>) {
        let kernel = &self.house.kernel;
        loop {
            let (floor, stop) = (self.clone(), kernel.stop.clone());
            let keeper = kernel.tasks.spawn(async move { stop.run_until_cancelled(floor.keeper()).await });
            match keeper.await {
                Ok(_) => return,
                Err(error) => {
                    tracing::error!(org = %self.org, %error, "the keeper of the queues is followed by another")
                }
            }
            kernel.clock.sleep(RETRY_MS).await;
        }
    }

    async fn keeper(&self) {
        tokio::select! {
            () = self.keep_time() => {}
            () = self.keep_books() => {}
        }
    }

    /// Tells the floor what time it is whenever that matters.
    async fn keep_time(&self) {
        let clock = &self.house.kernel.clock;
        loop {
            let deadline_ms = self.lock().floor.deadline_ms(clock.now_ms());
            tokio::select! {
                () = self.time_news.notified() => {}
                () = clock.sleep_until(deadline_ms.unwrap_or(i64::MAX)), if deadline_ms.is_some() => {
                    self.note(vec![Input::Tick], &[]);
                    self.book_news.notify_one();
                }
            }
        }
    }

    /// Writes down what people say, and looks at agents' phones while somebody waits; until nothing is left to keep.
    async fn keep_books(&self) {
        let clock = &self.house.kernel.clock;
        loop {
            self.save().await;
            if let Err(error) = self.look().await {
                tracing::warn!(org = %self.org, %error, "the agents of a queue could not be looked at");
            }
            let look_ms = {
                let mut state = self.lock();
                if state.unsaved.is_empty() && state.floor.is_empty() {
                    state.kept = false;
                    return;
                }
                state.floor.anyone_waits().then_some(clock.now_ms() + LOOK_MS)
            };
            tokio::select! {
                () = self.book_news.notified() => {}
                () = clock.sleep_until(look_ms.unwrap_or(i64::MAX)), if look_ms.is_some() => {}
            }
        }
    }

    /// Looks at the teams that somebody waits for, and at the phones of their members.
    async fn look(&self) -> Result<(), DbError> {
        #[cfg(test)]
        self.trouble.befall().await;
        self.house.directory.refresh().await?;
        let teams = self.lock().floor.wanted_teams();
        let (mut inputs, mut agents) = (Vec::new(), Vec::new());
        for id in teams {
            if let Some(team) = self.house.directory.team(&self.org, &id).await? {
                inputs.extend(self.newcomers(&team.members).await?);
                inputs.push(rules_of(&team));
                agents.extend(team.members);
            }
        }
        // All at once: the callers are gone through once, however many members there are.
        self.note(inputs, &agents);
        self.time_news.notify_one();
        Ok(())
    }

    async fn save(&self) {
        let unsaved = std::mem::take(&mut self.lock().unsaved);
        if unsaved.is_empty() {
            return;
        }
        let writes: Vec<Write> = unsaved.iter().map(|(person, said)| people::keep(&self.org, person, said)).collect();
        if let Err(error) = self.house.kernel.db.writer().commit(writes).await {
            tracing::warn!(org = %self.org, %error, "what agents said could not be written down; it is tried again");
            self.lock().keep_older(unsaved);
            self.house.kernel.clock.sleep(RETRY_MS).await;
        }
    }
}

/// What befalls a keeper's next look, in a test.
#[cfg(test)]
#[derive(Default)]
pub(crate) struct Trouble(std::sync::atomic::AtomicU8);

#[cfg(test)]
impl Trouble {
    pub(crate) const NONE: u8 = 0;
    /// It panics, once.
    pub(crate) const PANIC: u8 = 1;
    /// The store answers no more.
    pub(crate) const STALL: u8 = 2;

    pub(super) fn set(&self, trouble: u8) {
        self.0.store(trouble, std::sync::atomic::Ordering::SeqCst);
    }

    async fn befall(&self) {
        use std::sync::atomic::Ordering::SeqCst;
        if self.0.compare_exchange(Self::PANIC, Self::NONE, SeqCst, SeqCst).is_ok() {
            panic!("as the test wants it");
        }
        if self.0.load(SeqCst) == Self::STALL {
            std::future::pending::<()>().await;
        }
    }
}
