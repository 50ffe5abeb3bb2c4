//! Stories with real clients: baresip, linphonec, sipp, pocketsphinx. `./test --quick` leaves them out.

mod audio;
mod demo;
mod gaps;
mod keys;
mod own_numbers;
mod sample;
mod speech;
mod srtp;
mod steps;
mod trunk;
mod vanished;
