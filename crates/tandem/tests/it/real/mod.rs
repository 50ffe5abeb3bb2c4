//! Stories with real clients: baresip, linphonec, sipp, pocketsphinx. `./test --quick` leaves them out.

mod audio;
mod browser_calls;
mod browser_phone;
mod browser_sip;
mod conference;
mod demo;
mod first_word;
mod forms;
mod gaps;
mod garbage;
mod keys;
mod lit_flow;
mod own_numbers;
mod parties;
mod party_page;
mod queue;
mod recording;
mod sample;
mod speech;
mod srtp;
mod steps;
mod streams;
mod tabs;
mod trunk;
mod vanished;
mod walk;
