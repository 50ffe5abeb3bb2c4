//! One file a document: its examples, word for word, against the server. The fixtures are the documents' own requests.

mod d000;
mod d000_tokens;
mod d002;
mod d002_rules;
mod d003;
mod d003_auth;
mod d003_saved;
