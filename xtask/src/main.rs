//! Chores of the project itself; the tests of this crate keep the house: floors and habits.
#![forbid(unsafe_code)]

#[cfg(test)]
mod floors;
#[cfg(test)]
mod habits;
#[cfg(test)]
mod sources;

fn main() {}
