//! The error codes of this desk.

kernel::error_codes! {
    CANNOT_SUPERVISE = "cannot_supervise", 409, "The call cannot be supervised now",
        "A call is supervised while two parties are connected, by one extension at a time that takes no part in it; to whisper, one of the two must be a phone of the organisation. The detail says what is missing.";
}
