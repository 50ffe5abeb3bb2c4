//! What is kept of a call: its recording, and messages for a person's box.
//!
//! Invariant: every row that says `recording` is followed by one that says ready, left or failed,
//! or is deleted; what a crash leaves open is repaired at the next start ([`crate::recovery`]).
//! A leg records one file at a time, so a message interrupts the call's recording, which goes on in
//! a second file.

use kernel::db::Write;
use kernel::{Kernel, Shelf, args};
use serde_json::json;
use voice::leg::{PlayId, Playable, RecordCommand, RecordingId};

use crate::driver::{CallEvent, LeaveVoicemail, RecordAction, RecordingEvent, VoicemailEvent};
use crate::live::Live;
use crate::records;
use crate::store;

/// Shortest message that is kept, in seconds.
const MIN_MESSAGE_S: f64 = 1.0;

/// The state of what is kept.
#[derive(Default)]
pub(crate) struct Keeping {
    recording: Option<Recording>,
    /// Recordings that were ended and are still being completed.
    completing: Vec<RecordingId>,
    message: Option<Message>,
    /// Begin when the call is answered.
    once_answered: bool,
    sensitive: bool,
    /// Messages without a word in them: their files go.
    rubbish: Vec<(String, String)>,
    /// The call is over; give completion up at this time.
    until_ms: Option<i64>,
}

struct Recording {
    id: RecordingId,
    paused: bool,
    /// Paused because of a secret, not by the driver.
    paused_for_secret: bool,
}

struct Message {
    wish: LeaveVoicemail,
    stage: Stage,
    /// The call was being recorded before.
    resume_recording: bool,
}

enum Stage {
    Beep(PlayId),
    Taking { id: RecordingId, until_ms: i64, spoken: bool },
    Completing { id: RecordingId, spoken: bool },
}

impl Keeping {
    pub(crate) fn is_sensitive(&self) -> bool {
        self.sensitive
    }

    /// The call is being recorded, or will be as soon as it can.
    pub(crate) fn is_recording(&self) -> bool {
        self.recording.is_some()
            || self.once_answered
            || self.message.as_ref().is_some_and(|message| message.resume_recording)
    }

    /// Something is still being completed.
    pub(crate) fn is_waiting(&self) -> bool {
        self.recording.is_some() || !self.completing.is_empty() || self.message.is_some()
    }

    pub(crate) fn has_rubbish(&self) -> bool {
        !self.rubbish.is_empty()
    }

    pub(crate) fn deadline_ms(&self) -> Option<i64> {
        let message = self.message.as_ref().and_then(|message| match message.stage {
            Stage::Taking { until_ms, .. } => Some(until_ms),
            _ => None,
        });
        let completing = self.until_ms.filter(|_| self.is_waiting());
        [message, completing].into_iter().flatten().min()
    }

    /// A recording has ended, and its file is being completed.
    pub(crate) fn complete(&mut self, recording: RecordingId) {
        self.completing.push(recording);
    }

    /// The caller speaks.
    pub(crate) fn heard_voice(&mut self) {
        if let Some(Message { stage: Stage::Taking { spoken, .. }, .. }) = &mut self.message {
            *spoken = true;
        }
    }

    /// The legs are gone: what was being written is being completed now.
    pub(crate) fn call_ended(&mut self, until_ms: i64) {
        self.until_ms = Some(until_ms);
        self.once_answered = false;
        match self.message.take() {
            Some(Message {
                wish, stage: Stage::Taking { id, spoken, .. } | Stage::Completing { id, spoken }, ..
            }) => {
                let stage = Stage::Completing { id, spoken };
                self.message = Some(Message { wish, stage, resume_recording: false });
            }
            Some(Message { stage: Stage::Beep(_), .. }) | None => {}
        }
        if let Some(recording) = self.recording.take() {
            self.completing.push(recording.id);
        }
    }

    /// Deletes the files of empty messages.
    pub(crate) async fn throw_away(&mut self, kernel: &Kernel) {
        while let Some((org, name)) = self.rubbish.last() {
            if let Err(error) = kernel.files.delete(Shelf::Voicemail, org, name).await {
                tracing::warn!(%org, %name, %error, "an empty message could not be deleted");
            }
            self.rubbish.pop();
        }
    }
}

impl Live {
    // ---------------------------------------------------------------- the call's recording

    pub(crate) fn record(&mut self, action: RecordAction) {
        match action {
            RecordAction::Start if !self.model.is_established() => self.keeping.once_answered = !self.is_ending(),
            RecordAction::Start => self.start_recording(),
            RecordAction::Stop => self.stop_recording(),
            RecordAction::Pause => self.pause_recording(true, false),
            RecordAction::Resume => self.pause_recording(false, false),
        }
    }

    pub(crate) fn record_once_answered(&mut self) {
        if std::mem::take(&mut self.keeping.once_answered) {
            self.start_recording();
        }
    }

    pub(crate) fn sensitive(&mut self, on: bool) {
        if self.keeping.sensitive != on {
            self.keeping.sensitive = on;
            self.pause_recording(on, true);
        }
    }

    fn start_recording(&mut self) {
        if self.is_ending() || self.keeping.recording.is_some() {
            return;
        }
        if let Some(message) = &mut self.keeping.message {
            message.resume_recording = true;
            return;
        }
        let Some(id) = self.begin_file("rec", Shelf::Recordings) else { return };
        self.recording_begins(&id);
        self.keeping.recording = Some(Recording { id, paused: false, paused_for_secret: false });
        if self.keeping.sensitive {
            self.pause_recording(true, true);
        }
    }

    /// Begins a file with the standing party; `None` when there is nobody or no place for it.
    fn begin_file(&mut self, prefix: &'static str, shelf: Shelf) -> Option<RecordingId> {
        let id: RecordingId = self.calls.kernel().ids.new(prefix, self.now_ms()).into();
        let party = self.standing()?;
        match self.calls.kernel().files.place(shelf, &self.model.org, &records::file_name(&id)) {
            Ok(path) => {
                let rate = party.recording_rate();
                party.leg.record(RecordCommand::Start { id: id.clone(), path, rate });
                Some(id)
            }
            Err(error) => {
                tracing::error!(call = %self.model.id, %error, "no place for a recording");
                self.emit("recording.failed", None, json!({"id": &*id, "error": "no place for the file"}));
                None
            }
        }
    }

    fn stop_recording(&mut self) {
        self.keeping.once_answered = false;
        if let Some(message) = &mut self.keeping.message {
            message.resume_recording = false;
        }
        if let Some(recording) = self.keeping.recording.take() {
            if let Some(party) = self.standing() {
                party.leg.record(RecordCommand::Stop);
            }
            self.keeping.completing.push(recording.id);
        }
    }

    fn pause_recording(&mut self, pause: bool, for_secret: bool) {
        let Some(recording) = &mut self.keeping.recording else { return };
        // A pause that the driver asked for outlasts a secret's.
        if recording.paused == pause || (for_secret && !pause && !recording.paused_for_secret) {
            return;
        }
        recording.paused = pause;
        recording.paused_for_secret = pause && for_secret;
        let id = recording.id.clone();
        if let Some(party) = self.standing() {
            party.leg.record(if pause { RecordCommand::Pause } else { RecordCommand::Resume });
        }
        let kind = if pause { "recording.paused" } else { "recording.resumed" };
        self.emit(kind, None, json!({"id": &*id}));
    }

    // ---------------------------------------------------------------- a message

    pub(crate) fn voicemail(&mut self, wish: LeaveVoicemail) {
        if self.is_ending() || self.keeping.message.is_some() {
            return;
        }
        let resume_recording = self.keeping.recording.is_some();
        self.stop_recording();
        if wish.beep {
            let play = self.play(Playable::Beep, 1);
            self.keeping.message = Some(Message { wish, stage: Stage::Beep(play), resume_recording });
        } else {
            self.take_message(wish, resume_recording);
        }
    }

    /// The beep was heard; true when the play was ours.
    pub(crate) fn beep_ended(&mut self, play: PlayId) -> bool {
        match self.keeping.message.take_if(|message| matches!(message.stage, Stage::Beep(beep) if beep == play)) {
            Some(message) => {
                self.take_message(message.wish, message.resume_recording);
                true
            }
            None => false,
        }
    }

    fn take_message(&mut self, wish: LeaveVoicemail, resume_recording: bool) {
        let Some(id) = self.begin_file("vm", Shelf::Voicemail) else {
            return self.tell(CallEvent::Voicemail(VoicemailEvent::Nothing));
        };
        self.listen_silence(Some(wish.silence_ms));
        self.journal.row(Write::new(
            store::VOICEMAIL_INSERT,
            args![
                &*id,
                &self.model.org,
                &wish.extension,
                &self.model.id,
                &self.model.node,
                self.model.shown(self.customer_number()),
                records::file_name(&id),
                self.now_ms(),
            ],
        ));
        let until_ms = self.now_ms() + wish.max_ms;
        let stage = Stage::Taking { id, until_ms, spoken: false };
        self.keeping.message = Some(Message { wish, stage, resume_recording });
    }

    /// The message is over, by silence, key or time; false when none is being taken.
    pub(crate) fn message_ended(&mut self) -> bool {
        let Some(message) = &mut self.keeping.message else { return false };
        let Stage::Taking { id, spoken, .. } = &message.stage else { return false };
        message.stage = Stage::Completing { id: id.clone(), spoken: *spoken };
        self.listen_silence(None);
        if let Some(party) = self.standing() {
            party.leg.record(RecordCommand::Stop);
        }
        true
    }

    pub(crate) fn keeping_tick(&mut self, now_ms: i64) {
        let due = matches!(
            &self.keeping.message,
            Some(Message { stage: Stage::Taking { until_ms, .. }, .. }) if *until_ms <= now_ms
        );
        if due {
            self.message_ended();
        }
        if self.keeping.until_ms.is_some_and(|until| until <= now_ms) {
            self.give_up_keeping();
        }
    }

    /// Voice said nothing of a file for too long: the rows say so, the repair at the next start may
    /// still find it.
    fn give_up_keeping(&mut self) {
        self.keeping.message = None;
        for id in std::mem::take(&mut self.keeping.completing) {
            self.recording_failed(&id, "the file was not completed in time");
        }
    }

    // ---------------------------------------------------------------- what became of files

    pub(crate) fn recording_ready(&mut self, id: &RecordingId, seconds: f64, channels: u16, sha256: &str) {
        if self.is_message(id) {
            return self.message_ready(id, seconds, sha256);
        }
        self.forget_recording(id);
        let now_ms = self.now_ms();
        self.journal.row(Write::new(
            store::RECORDING_READY,
            args![&**id, &self.model.org, seconds, i64::from(channels), sha256, now_ms],
        ));
        let url = records::signed_url(self.calls.kernel(), &records::recording_path(id), now_ms);
        let data = json!({
            "id": &**id, "url": url, "seconds": seconds, "channels": channels, "sha256": sha256,
        });
        self.emit("recording.ready", None, data);
        self.tell(CallEvent::Recording(RecordingEvent::Ready { id: id.to_string(), seconds }));
    }

    pub(crate) fn recording_failed(&mut self, id: &RecordingId, error: &str) {
        if self.is_message(id) {
            return self.drop_message(id);
        }
        self.forget_recording(id);
        self.journal.row(Write::new(store::RECORDING_FAILED, args![&**id, &self.model.org, self.now_ms()]));
        self.emit("recording.failed", None, json!({"id": &**id, "error": error}));
        let event = RecordingEvent::Failed { id: id.to_string(), error: error.to_owned() };
        self.tell(CallEvent::Recording(event));
    }

    fn forget_recording(&mut self, id: &RecordingId) {
        self.keeping.completing.retain(|known| known != id);
        self.keeping.recording.take_if(|recording| recording.id == *id);
    }

    fn is_message(&self, id: &RecordingId) -> bool {
        matches!(
            &self.keeping.message,
            Some(Message { stage: Stage::Taking { id: taking, .. } | Stage::Completing { id: taking, .. }, .. })
                if taking == id
        )
    }

    fn message_ready(&mut self, id: &RecordingId, seconds: f64, sha256: &str) {
        let spoken = matches!(
            &self.keeping.message,
            Some(Message { stage: Stage::Taking { spoken: true, .. } | Stage::Completing { spoken: true, .. }, .. })
        );
        if !spoken || seconds < MIN_MESSAGE_S {
            return self.drop_message(id);
        }
        let Some(message) = self.keeping.message.take() else { return };
        let now_ms = self.now_ms();
        self.journal.row(Write::new(store::VOICEMAIL_LEFT, args![&**id, &self.model.org, seconds, sha256, now_ms]));
        let from = self.model.shown(self.customer_number());
        let left = records::LeftMessage { id, extension: &message.wish.extension, from: &from, seconds, sha256 };
        let data = left.data(self.calls.kernel(), now_ms);
        self.journal.event_of(&self.model, "voicemail.left", id, data);
        self.message_over(VoicemailEvent::Left { id: id.to_string(), seconds }, message.resume_recording);
    }

    fn drop_message(&mut self, id: &RecordingId) {
        let Some(message) = self.keeping.message.take() else { return };
        self.journal.row(Write::new(store::VOICEMAIL_DELETE, args![&self.model.org, &**id]));
        self.keeping.rubbish.push((self.model.org.to_string(), records::file_name(id)));
        self.message_over(VoicemailEvent::Nothing, message.resume_recording);
    }

    fn message_over(&mut self, event: VoicemailEvent, resume_recording: bool) {
        self.tell(CallEvent::Voicemail(event));
        if resume_recording {
            self.start_recording();
        }
    }
}
