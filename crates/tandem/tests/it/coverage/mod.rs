//! Comparisons of a list with its tests: every operation of the API and who may call it.

mod authorisation;
