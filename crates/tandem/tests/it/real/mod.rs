//! Stories with real clients: baresip, linphonec, sipp, pocketsphinx. `./test --quick` leaves them out.

mod demo;
mod sample;
mod steps;
