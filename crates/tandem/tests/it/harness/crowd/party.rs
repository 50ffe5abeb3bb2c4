//! One call of a phone of the crowd: it goes through its manner act by act and answers meanwhile
//! what the server says.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::super::message::{Dialog, Message, response, session_description};
use super::naming;
use super::{Act, Shared, Took};

/// RFC 3261's T1: what is not answered is sent again after it, then at twice the time.
const T1: Duration = Duration::from_millis(500);
/// Timer B and H: then the other side is gone.
const GIVE_UP: Duration = Duration::from_secs(32);
/// How long late repetitions are answered after the end.
const LINGER: Duration = Duration::from_secs(4);

/// How far a call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Early,
    Up,
    Over,
}

/// Something that is sent again until it is answered.
struct Pending {
    text: String,
    /// What ends the wait: `ACK`, or the method of the request that was sent.
    until: &'static str,
    next: Instant,
    pause: Duration,
    give_up: Instant,
}

/// One side of one call.
pub(super) struct Party {
    shared: Arc<Shared>,
    dialog: Dialog,
    inbox: mpsc::Receiver<Message>,
    /// The INVITE: the server's when we are called, ours when we call.
    invite: Message,
    calls: bool,
    stage: Stage,
    /// Sent again when the INVITE is repeated.
    last_answer: Option<String>,
    pending: Option<Pending>,
    cseq: u32,
    vanished: bool,
    tag: String,
    /// Whose phone it is.
    number: String,
}

impl Party {
    /// A phone that is called.
    pub(super) fn called(shared: Arc<Shared>, invite: Message, inbox: mpsc::Receiver<Message>) -> Self {
        let tag = shared.word("c");
        let dialog = Dialog {
            call_id: invite.call_id().to_owned(),
            from: format!("{};tag={tag}", invite.header("To")),
            to: invite.header("From").to_owned(),
            target: invite.contact().to_owned(),
            local: shared.address,
        };
        let number = invite.number().to_owned();
        Self::new(shared, dialog, invite, inbox, tag, number, false)
    }

    /// A phone that calls `number`, at the server.
    pub(super) fn calling(shared: Arc<Shared>, from: &str, number: &str, inbox: mpsc::Receiver<Message>) -> Self {
        let tag = shared.word("p");
        let dialog = Dialog {
            call_id: tag.clone(),
            from: format!("<sip:{from}@{}>;tag={tag}", shared.address),
            to: format!("<sip:{number}@{}>", shared.server()),
            target: format!("sip:{number}@{}", shared.server()),
            local: shared.address,
        };
        let offer = description(&shared, from);
        let text = dialog.request("INVITE", 1, &format!("{tag}i"), "application/sdp", &offer);
        let invite = Message::read(text.as_bytes()).expect("our own INVITE");
        let mut party = Self::new(shared, dialog, invite, inbox, tag, from.to_owned(), true);
        party.repeat(text, "INVITE");
        party
    }

    fn new(
        shared: Arc<Shared>,
        dialog: Dialog,
        invite: Message,
        inbox: mpsc::Receiver<Message>,
        tag: String,
        number: String,
        calls: bool,
    ) -> Self {
        Self {
            shared,
            dialog,
            inbox,
            invite,
            calls,
            stage: Stage::Early,
            last_answer: None,
            pending: None,
            cseq: 1,
            vanished: false,
            tag,
            number,
        }
    }

    pub(super) fn call_id(&self) -> &str {
        &self.dialog.call_id
    }

    /// Lives until the call is over and late repetitions are answered.
    pub(super) async fn live(mut self, manner: Vec<Act>) {
        for act in manner {
            if self.stage == Stage::Over {
                break;
            }
            self.act(act).await;
        }
        if self.stage == Stage::Early && !self.calls && self.last_answer.is_none() {
            // Who never says a word hears no CANCEL either (RFC 3261 9.1), only repetitions.
            self.shared.count_out(&self.dialog.call_id);
            self.attend(GIVE_UP).await;
            self.stage = Stage::Over;
        }
        while self.stage != Stage::Over {
            self.attend(GIVE_UP).await;
        }
        self.shared.hush(&self.dialog.call_id);
        self.attend(LINGER).await;
        self.shared.leave(&self.dialog.call_id);
    }

    async fn act(&mut self, act: Act) {
        self.shared.remember(&self.dialog.call_id, format!("{act:?} to {}", self.invite.start()));
        match act {
            Act::Wait(pause) => self.attend(pause).await,
            Act::Trying => self.answer("100 Trying", ""),
            Act::Ring => self.answer("180 Ringing", ""),
            Act::EarlyMedia => {
                let answer = description(&self.shared, &self.number);
                self.answer("183 Session Progress", &answer);
            }
            Act::Answer => {
                let answer = description(&self.shared, &self.number);
                self.answer("200 OK", &answer);
                self.stage = Stage::Up;
                self.took(Took::Answered);
            }
            Act::Refuse(status) => {
                self.answer(&format!("{status} No"), "");
                self.stage = Stage::Over;
                self.took(Took::Refused);
            }
            Act::Key(symbol) => {
                self.request("INFO", "application/dtmf-relay", &format!("Signal={symbol}\r\nDuration=160\r\n"));
                self.settle().await;
            }
            Act::Speak => {
                self.established().await;
                if let Some(media) = self.invite.media().filter(|_| !self.calls).or_else(|| self.answered_media()) {
                    self.shared.speak(&self.dialog.call_id, media);
                }
            }
            Act::Established => self.established().await,
            Act::Refer(to) => {
                let refer = self.dialog.request("REFER", self.cseq + 1, &self.branch(), "", "");
                let refer = refer.replace(
                    "Content-Length",
                    &format!("Refer-To: <sip:{to}@{}>\r\nContent-Length", self.shared.server()),
                );
                self.cseq += 1;
                self.repeat(refer, "REFER");
            }
            Act::Hangup => self.hang_up(),
            Act::Vanish => {
                self.vanished = true;
                self.stage = Stage::Over;
                self.pending = None;
                self.took(Took::Vanished);
            }
        }
    }

    /// Waits until the call stands, or is over.
    async fn established(&mut self) {
        let until = Instant::now() + GIVE_UP;
        while self.stage == Stage::Early && Instant::now() < until {
            self.attend(Duration::from_millis(20)).await;
        }
        self.settle().await;
    }

    /// Waits until nothing of ours is unanswered.
    async fn settle(&mut self) {
        while self.pending.is_some() && self.stage != Stage::Over {
            self.attend(Duration::from_millis(10)).await;
        }
    }

    fn answered_media(&self) -> Option<std::net::SocketAddr> {
        Message::read(self.last_answer.as_deref()?.as_bytes())?.media()
    }

    /// BYE, CANCEL or a refusal, as the call stands.
    fn hang_up(&mut self) {
        match (self.stage, self.calls) {
            (Stage::Over, _) => {}
            (Stage::Up, _) => {
                self.request("BYE", "", "");
                self.took(Took::HungUp);
            }
            (Stage::Early, false) => {
                self.answer("603 Decline", "");
                self.stage = Stage::Over;
                self.took(Took::Refused);
            }
            (Stage::Early, true) => {
                let cancel = self.dialog.request("CANCEL", 1, &format!("{}i", self.tag), "", "");
                self.repeat(cancel, "CANCEL");
                self.took(Took::HungUp);
            }
        }
    }

    /// Handles what comes and repeats what is unanswered, for a while or until the end.
    async fn attend(&mut self, pause: Duration) {
        let end = Instant::now() + pause;
        let ends_early = self.stage != Stage::Over;
        loop {
            if ends_early && self.stage == Stage::Over {
                return;
            }
            let wake = self.pending.as_ref().map_or(end, |pending| pending.next.min(end));
            match timeout_at(wake, self.inbox.recv()).await {
                Ok(Some(message)) => self.hear(&message),
                Ok(None) => return sleep_until(end).await,
                Err(_) if Instant::now() >= end => return,
                Err(_) => self.resend(),
            }
        }
    }

    fn resend(&mut self) {
        let Some(pending) = &mut self.pending else { return };
        if Instant::now() >= pending.give_up {
            self.pending = None;
            self.stage = Stage::Over;
            return;
        }
        pending.pause = (pending.pause * 2).min(Duration::from_secs(4));
        pending.next = Instant::now() + pending.pause;
        let text = pending.text.clone();
        self.send(&text);
    }

    fn hear(&mut self, message: &Message) {
        if self.vanished {
            return;
        }
        self.shared.remember(&self.dialog.call_id, format!("heard {}", message.start()));
        match message.status() {
            Some(status) => self.hear_response(status, message),
            None => self.hear_request(message),
        }
    }

    fn hear_request(&mut self, request: &Message) {
        match request.method() {
            "ACK" => self.pending.take_if(|pending| pending.until == "ACK").map_or((), drop),
            "INVITE" if !request.is_inside() => {
                if let Some(answer) = &self.last_answer {
                    self.send(answer);
                }
            }
            "INVITE" => {
                let answer = description(&self.shared, &self.number);
                self.reply(request, "200 OK", &answer);
            }
            "CANCEL" => {
                self.reply(request, "200 OK", "");
                if self.stage == Stage::Early {
                    self.answer("487 Request Terminated", "");
                    self.stage = Stage::Over;
                    self.took(Took::Cancelled);
                }
            }
            "BYE" => {
                self.reply(request, "200 OK", "");
                if self.stage != Stage::Over {
                    self.stage = Stage::Over;
                    self.pending = None;
                    self.took(Took::EndedByServer);
                }
            }
            _ => self.reply(request, "200 OK", ""),
        }
    }

    fn hear_response(&mut self, status: u16, response: &Message) {
        let method = response.method().to_owned();
        if method == "INVITE" {
            return self.hear_answer(status, response);
        }
        if status >= 200 {
            self.pending.take_if(|pending| pending.until == method);
            if method == "BYE" {
                self.stage = Stage::Over;
            }
        }
    }

    /// An answer to our INVITE.
    fn hear_answer(&mut self, status: u16, response: &Message) {
        // A provisional answer ends the repetitions, not the wait (RFC 3261 17.1.1.2).
        self.pending.take_if(|pending| pending.until == "INVITE");
        match status {
            100..200 => {}
            200..300 => {
                self.dialog.to = response.header("To").to_owned();
                self.dialog.target = response.contact().to_owned();
                self.send(&self.dialog.request("ACK", 1, &self.branch(), "", ""));
                if self.stage == Stage::Early {
                    self.stage = Stage::Up;
                    self.last_answer = Some(response.text().to_owned());
                    self.took(Took::Answered);
                    // The CANCEL crossed the answer: then it is a BYE.
                    if self.pending.as_ref().is_some_and(|pending| pending.until == "CANCEL") {
                        self.pending = None;
                        self.request("BYE", "", "");
                    }
                }
            }
            _ => {
                let ack = Dialog { to: response.header("To").to_owned(), ..self.dialog.clone() };
                self.send(&ack.request("ACK", 1, &format!("{}i", self.tag), "", ""));
                if self.stage == Stage::Early {
                    self.stage = Stage::Over;
                    self.pending = None;
                    self.took(Took::EndedByServer);
                }
            }
        }
    }

    /// Answers the INVITE; a final answer is repeated until its ACK.
    fn answer(&mut self, status: &str, body: &str) {
        let text = response(&self.invite, status, &self.tag, self.shared.address, body);
        self.last_answer = Some(text.clone());
        if status.starts_with('1') {
            self.send(&text);
        } else {
            self.repeat(text, "ACK");
        }
    }

    fn reply(&self, request: &Message, status: &str, body: &str) {
        self.send(&response(request, status, &self.tag, self.shared.address, body));
    }

    fn request(&mut self, method: &'static str, kind: &str, body: &str) {
        self.cseq += 1;
        let text = self.dialog.request(method, self.cseq, &self.branch(), kind, body);
        self.repeat(text, method);
    }

    fn branch(&self) -> String {
        self.shared.word("b")
    }

    fn repeat(&mut self, text: String, until: &'static str) {
        self.send(&text);
        let now = Instant::now();
        self.pending = Some(Pending { text, until, next: now + T1, pause: T1, give_up: now + GIVE_UP });
    }

    fn send(&self, text: &str) {
        if self.shared.tells_numbers.load(Ordering::Relaxed) {
            self.shared.send(&naming::told(text, &self.number));
        } else {
            self.shared.send(text);
        }
    }

    fn took(&self, what: Took) {
        self.shared.note(what);
    }
}

/// What a phone says of its audio.
fn description(shared: &Shared, number: &str) -> String {
    let plain = session_description(shared.rtp);
    if shared.tells_numbers.load(Ordering::Relaxed) { naming::described(&plain, number) } else { plain }
}
