//! Comparisons of a list with its tests: every operation of the API and who may call it, what it
//! does with bad input, every verb of the command line.

mod authorisation;
mod bad_input;
mod console;
mod operations;
mod verbs;
