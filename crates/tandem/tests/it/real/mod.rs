//! Stories with real clients: baresip, linphonec, sipp, pocketsphinx. `./test --quick` leaves them out.

mod audio;
mod browser_calls;
mod browser_phone;
mod browser_sip;
mod conference;
mod demo;
mod gaps;
mod garbage;
mod keys;
mod own_numbers;
mod parties;
mod recording;
mod sample;
mod speech;
mod srtp;
mod steps;
mod streams;
mod trunk;
mod vanished;
