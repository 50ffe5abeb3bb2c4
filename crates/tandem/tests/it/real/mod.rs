//! Stories with real clients: baresip, linphonec, sipp, pocketsphinx. `./test --quick` leaves them out.

mod audio;
mod demo;
mod keys;
mod sample;
mod speech;
mod steps;
mod trunk;
