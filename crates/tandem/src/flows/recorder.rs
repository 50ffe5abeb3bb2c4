//! The wish and the need of a call's recording: the author starts, stops, pauses; a sensitive step hides what is
//! said meanwhile (contracts/flows.md "record"). Invariant: an effect only when what is recorded changes.

use super::effect::{Effect, RecordAction};

/// State of the recording.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Recorder {
    on: bool,
    paused_by_author: bool,
    hidden: bool,
}

impl Recorder {
    /// What the author's `record` step or the flow's `record` field asks for.
    pub(crate) fn author(&mut self, action: RecordAction, out: &mut Vec<Effect>) {
        let before = *self;
        match action {
            RecordAction::Start => {
                *self = Self {
                    on: true,
                    paused_by_author: false,
                    ..before
                }
            }
            RecordAction::Stop => {
                *self = Self {
                    on: false,
                    paused_by_author: false,
                    ..before
                }
            }
            RecordAction::Pause => self.paused_by_author = self.on,
            RecordAction::Resume => self.paused_by_author = false,
        }
        self.tell(before, out);
    }

    /// A sensitive step begins or ends.
    pub(crate) fn hide(&mut self, hidden: bool, out: &mut Vec<Effect>) {
        let before = *self;
        self.hidden = hidden;
        self.tell(before, out);
    }

    fn paused(self) -> bool {
        self.paused_by_author || self.hidden
    }

    fn tell(self, before: Self, out: &mut Vec<Effect>) {
        if self.on && !before.on {
            out.push(Effect::Record(RecordAction::Start));
            if self.paused() {
                out.push(Effect::Record(RecordAction::Pause));
            }
        } else if !self.on && before.on {
            out.push(Effect::Record(RecordAction::Stop));
        } else if self.on && self.paused() != before.paused() {
            out.push(Effect::Record(if self.paused() {
                RecordAction::Pause
            } else {
                RecordAction::Resume
            }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use RecordAction::{Pause, Resume, Start, Stop};

    fn told(act: impl FnOnce(&mut Recorder, &mut Vec<Effect>)) -> Vec<RecordAction> {
        let (mut recorder, mut out) = (Recorder::default(), Vec::new());
        act(&mut recorder, &mut out);
        out.iter()
            .filter_map(|effect| {
                if let Effect::Record(action) = effect {
                    Some(*action)
                } else {
                    None
                }
            })
            .collect()
    }

    #[test]
    fn repeated_wishes_change_nothing() {
        let actions = told(|r, out| {
            [Start, Start, Pause, Pause, Resume, Resume, Stop, Stop]
                .into_iter()
                .for_each(|a| r.author(a, out))
        });
        assert_eq!(actions, [Start, Pause, Resume, Stop]);
        assert_eq!(told(|r, out| r.author(Pause, out)), []);
    }

    #[test]
    fn a_sensitive_step_never_resumes_what_the_author_paused() {
        let actions = told(|r, out| {
            r.author(Start, out);
            r.hide(true, out);
            r.author(Pause, out);
            r.hide(false, out);
            r.author(Resume, out);
        });
        assert_eq!(actions, [Start, Pause, Resume]);
        let while_hidden = told(|r, out| {
            r.hide(true, out);
            r.author(Start, out);
            r.author(Resume, out);
            r.hide(false, out);
        });
        assert_eq!(while_hidden, [Start, Pause, Resume]);
    }
}
