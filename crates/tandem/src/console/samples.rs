//! Flows to start from.

/// A flow to start from.
pub(super) struct Sample {
    /// In addresses.
    pub(super) key: &'static str,
    pub(super) name: &'static str,
    /// What it does, in a sentence.
    pub(super) about: &'static str,
    pub(super) text: &'static str,
}

/// All of them, the simplest first.
pub(super) const ALL: &[Sample] = &[
    Sample {
        key: "greeting",
        name: "Greeting",
        about: "Says a sentence and hangs up. The shortest way to hear a flow.",
        text: include_str!("../../web/flows/greeting.json"),
    },
    Sample {
        key: "menu",
        name: "Menu",
        about: "Asks for a key and goes on by it; repeats itself when nothing is pressed.",
        text: include_str!("../../web/flows/menu.json"),
    },
    Sample {
        key: "lookup",
        name: "Ask and look up",
        about: "Asks for four digits, hands them to a URL of yours, and answers by what it said.",
        text: include_str!("../../web/flows/lookup.json"),
    },
    Sample {
        key: "reception",
        name: "Reception",
        about: "Connects a colleague; who is not there has a voicemail box. Change the number to one of yours.",
        text: include_str!("../../web/flows/reception.json"),
    },
    Sample {
        key: "empty",
        name: "Untitled",
        about: "Nothing but the frame.",
        text: include_str!("../../web/flows/empty.json"),
    },
];

/// The sample of this key.
pub(super) fn find(key: &str) -> Option<&'static Sample> {
    ALL.iter().find(|sample| sample.key == key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flows::{Purpose, check, lenient};

    #[test]
    fn every_sample_is_a_good_flow() {
        for sample in ALL {
            let body = lenient::read(sample.text.as_bytes()).unwrap();
            assert!(!body.lenient, "{} is plain JSON", sample.key);
            let checked = check(&body.value, Purpose::Save, 0);
            assert!(checked.flow.is_some(), "{}: {:?}", sample.key, checked.report);
            assert_eq!(checked.report.warnings, [], "{}", sample.key);
        }
    }
}
