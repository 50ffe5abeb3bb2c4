//! Tests of the desk's shell: real calls on scripted legs, a real database, a clock that the test turns.

mod any_moment;
mod callbacks;
mod orders;
mod runs;
mod stage;
